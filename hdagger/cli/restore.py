"""``hdagger restore``: a damaged picture becomes posterior samples and a report."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from torch import Tensor

from ..errors import SettingError
from ..measurement import Measurement, noise_deviation
from ..media import read_picture, whole_folder
from .damages import Blur, Colorize, Damages, Denoise, Kernel, Mask, SigmaY, Upscale
from .progress import progress


def restore(
    picture: Annotated[Path, typer.Argument(help="Damaged picture, or a measurement .npz.")],
    mask: Mask = None,
    upscale: Upscale = None,
    kernel: Kernel = "box",
    blur: Blur = None,
    colorize: Colorize = False,
    denoise: Denoise = None,
    sigma_y: SigmaY = None,
    method: Annotated[
        str, typer.Option(help="auto, ddrm, pigdm, projection, reconstruction, dps or ddim.")
    ] = "auto",
    steps: Annotated[
        int | None, typer.Option(help="Network evaluations a sample; by default enough.")
    ] = None,
    samples: Annotated[int, typer.Option(help="How many to draw.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the noise; the same seed, the same samples.")] = 0,
    prior: Annotated[str, typer.Option(help="A bundled prior, or a .safetensors file.")] = "photo",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what comes out.")] = Path(
        "restored"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Restore a picture: draw samples of what it may have been.

    Say what happened to it, once or more; say nothing, and holes (transparent pixels) or
    noise are found. What comes out: *samples/\\*.png*, *mean.png*, *std.png*, *samples.npz*
    (floats, without loss), *summary.json*, *recipe.toml*, *report.html*.

    Examples:

        hdagger restore noisy.png

        hdagger restore scan.png --mask scratches.png

        hdagger restore small.png --upscale 4 --sigma-y 0.02 -o large

        hdagger restore shaken.png --blur motion:15,30 --sigma-y 0.05 --method pigdm
    """
    from ..report import verdict, write_restoration
    from ..restoration import Recipe, restore

    if steps is not None and steps < 1:
        raise SettingError(f"Wanted 1 step or more, but got --steps {steps}. Try --steps 20.")
    recipe = Recipe(method, steps or 0, samples, seed, prior)
    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y)
    measurement, given, found = understand(picture, damages)
    with whole_folder(out) as folder:
        if found:
            Console(stderr=True).print(found)
        with progress(f"{recipe.samples} samples") as watch:
            drawn = restore(recipe, measurement, watch)
        summary = write_restoration(folder, given, drawn, recipe.to_toml())
    if as_json:
        print(json.dumps(summary))
    else:
        print(f"{verdict(summary)}\n{out / 'report.html'}")


def understand(path: Path, damages: Damages) -> tuple[Measurement, Tensor, str]:
    """What was measured, a picture of it, and what was found out about it beyond what was said."""
    operator, noise = damages.operator(), damages.noise()
    if path.suffix == ".npz":
        if operator != "none" or noise is not None:
            raise SettingError(
                f"Wanted no damage beside a measurement, since {path} says what happened, but got "
                f"{operator}. Leave the options out."
            )
        measurement = Measurement.load(path)
        return measurement, measurement.y.clamp(-1, 1), ""
    picture = read_picture(path)
    y = picture.pixels
    arrays = damages.arrays()
    if damages.colorize and len(y) == 3:
        raise SettingError(
            f"Wanted a gray picture to colour, but {path} has colours. Save it as grayscale."
        )
    found = ""
    if not picture.opaque.all():
        if "mask" not in operator:
            operator = "mask" if operator == "none" else f"{operator} | mask"
        arrays["mask"] = arrays.get("mask", ~picture.opaque) | ~picture.opaque
        found = (
            f"Found {int((~picture.opaque).sum())} transparent pixels: they are taken as missing."
        )
    if operator == "none" and noise is None:
        noise = noise_deviation(y)
        found = f"Found noise of {noise * 127.5:.1f} of 255."
        if noise < 2 * picture.rounding or noise * 127.5 < 1:
            raise SettingError(
                f"Wanted a damaged picture, but {path} has no holes and next to no noise "
                f"({noise * 127.5:.2f} of 255). Say what happened to it: --mask, --upscale, "
                "--blur, --colorize or --denoise."
            )
    if noise is None:
        noise = picture.rounding if damages.blur is not None else 0.0
    return Measurement(y, operator, noise, arrays), y, found
