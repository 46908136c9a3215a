"""``hdagger degrade``: a clean picture becomes a damaged one and its measurement."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingError
from ..media import read_picture, to_image, whole_folder
from .damages import Blur, Colorize, Damages, Denoise, Kernel, Mask, SigmaY, Upscale


def degrade(
    picture: Annotated[Path, typer.Argument(help="Clean picture.")],
    mask: Mask = None,
    upscale: Upscale = None,
    kernel: Kernel = "box",
    blur: Blur = None,
    colorize: Colorize = False,
    denoise: Denoise = None,
    sigma_y: SigmaY = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what comes out.")] = Path(
        "degraded"
    ),
) -> None:
    """Damage a clean picture, to see how well it is restored.

    The options are those of *restore*, and do what it undoes. What comes out: *damaged.png*
    to look at and *measurement.npz* to restore, which holds the data without rounding, the
    operator and the noise.

    Examples:

        hdagger degrade clean.png --upscale 4

        hdagger degrade clean.png --blur gauss:2 --sigma-y 0.1 -o blurred

        hdagger restore blurred/measurement.npz
    """
    from ..restoration import measure

    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y)
    operator, noise = damages.operator(), damages.noise() or 0.0
    if operator == "none" and noise == 0:
        raise SettingError(
            "Wanted a damage, but got none. Give --mask, --upscale, --blur, --colorize, "
            "--denoise or --sigma-y."
        )
    x = read_picture(picture).pixels
    measurement = measure(x, operator, damages.arrays(), noise, seed)
    with whole_folder(out) as folder:
        measurement.save(folder / "measurement.npz")
        to_image(measurement.y).save(folder / "damaged.png")
    print(f"{out / 'measurement.npz'}: {operator}, sigma_y {noise:g}")
