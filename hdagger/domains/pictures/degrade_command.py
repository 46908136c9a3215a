"""``hdagger degrade``: a clean picture becomes a damaged one and its measurement."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import SettingError
from ...files import whole_folder
from .damages import Blur, Colorize, Damages, Denoise, Kernel, Mask, OperatorText, SigmaY, Upscale
from .files import read_picture, to_image


def degrade(
    picture: Annotated[Path, typer.Argument(help="Clean picture.")],
    mask: Mask = None,
    upscale: Upscale = None,
    kernel: Kernel = "box",
    blur: Blur = None,
    colorize: Colorize = False,
    denoise: Denoise = None,
    sigma_y: SigmaY = None,
    operator: OperatorText = None,
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

        hdagger degrade clean.png --operator "average:2 | jpeg:10"

        hdagger restore blurred/measurement.npz
    """
    from ...restoration import measure
    from .words import picture_of

    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y, operator)
    text, noise = damages.operator(), damages.noise() or 0.0
    if text == "none" and noise == 0:
        raise SettingError(
            "Wanted a damage, but got none. Give --mask, --upscale, --blur, --colorize, "
            "--denoise, --sigma-y or --operator."
        )
    x = read_picture(picture).pixels
    measurement = measure(x, text, damages.arrays(), noise, seed)
    with whole_folder(out) as folder:
        measurement.save(folder / "measurement.npz")
        to_image(picture_of(measurement)).save(folder / "damaged.png")
    print(f"{out / 'measurement.npz'}: {text}, sigma_y {noise:g}")
