"""``hdagger restore``: a damaged picture becomes posterior samples and a report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...files import whole_folder
from ...measurement import Measurement
from ...progress import progress
from .damages import Blur, Colorize, Damages, Denoise, Kernel, Mask, OperatorText, SigmaY, Upscale
from .files import Turn, read_picture
from .hints import noise_deviation
from .jpeg import quality_of
from .jpeg_file import is_jpeg, read_jpeg
from .words import data_in, picture_of, signal_shape_for


def restore(
    picture: Annotated[Path, typer.Argument(help="Damaged picture, or a measurement .npz.")],
    mask: Mask = None,
    upscale: Upscale = None,
    kernel: Kernel = "box",
    blur: Blur = None,
    colorize: Colorize = False,
    denoise: Denoise = None,
    sigma_y: SigmaY = None,
    operator: OperatorText = None,
    method: Annotated[
        str,
        typer.Option(
            help="auto, ddrm, pigdm, cells, tmpd, projection, reconstruction, dps or ddim."
        ),
    ] = "auto",
    steps: Annotated[
        int | None, typer.Option(help="Network evaluations a sample; by default enough.")
    ] = None,
    samples: Annotated[int, typer.Option(help="How many to draw.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the noise; the same seed, the same samples.")] = 0,
    prior: Annotated[
        str, typer.Option(help="One of hdagger priors, or a .safetensors file.")
    ] = "photo",
    label: Annotated[
        int | None, typer.Option(help="Restore towards this class, if the prior knows classes.")
    ] = None,
    guidance: Annotated[
        float, typer.Option(help="How far towards the class; 1 is the plain conditional prior.")
    ] = 1.0,
    save_memory: Annotated[
        bool, typer.Option(help="Less memory for a large network's gradient, a third more time.")
    ] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what comes out.")] = Path(
        "restored"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Restore a picture: draw samples of what it may have been.

    Say what happened to it, once or more; say nothing, and a .jpg file's own tables, holes
    (transparent pixels) or noise are found. What comes out: *samples/\\*.png*, *mean.png*,
    *std.png*, *samples.npz* (floats, without loss), *summary.json*, *recipe.toml*,
    *report.html*.

    Examples:

        hdagger restore noisy.png

        hdagger restore old.jpg -o out

        hdagger restore old.jpg --mask holes.png --upscale 2

        hdagger restore scan.png --mask scratches.png

        hdagger restore small.png --upscale 4 --sigma-y 0.02 -o large

        hdagger restore shaken.png --blur motion:15,30 --sigma-y 0.05 --method pigdm
    """
    from ...report import checked, verdict, write_restoration
    from ...restoration import Recipe, restore

    if steps is not None and steps < 1:
        raise SettingError(f"Wanted 1 step or more, but got --steps {steps}. Try --steps 20.")
    recipe = Recipe(method, steps or 0, samples, seed, prior, label, guidance, save_memory)
    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y, operator)
    known = understand(picture, damages)
    with whole_folder(out) as folder:
        if known.found:
            Console(stderr=True).print(known.found)
        with progress(f"{recipe.samples} samples") as watch:
            drawn = restore(recipe, known.measurement, watch)
        drawn = replace(drawn, draws=known.turn(drawn.draws))
        summary = write_restoration(folder, known.given, drawn, recipe.to_toml(), known.extras)
    if as_json:
        print(json.dumps(summary))
    else:
        print(f"{verdict(summary)}\n{checked(summary)}\n{out / 'report.html'}")


@dataclass(frozen=True)
class Understood:
    """What a file and the options say.

    Attributes:
        measurement: What was measured.
        given: A picture of it, upright.
        found: What was found out beyond what was said, in a sentence; may be empty.
        turn: What turns a restored picture upright.
        extras: What the file carries along, as arguments of ``Image.save``.
    """

    measurement: Measurement
    given: Tensor
    found: str
    turn: Turn = field(default_factory=Turn)
    extras: Mapping[str, Any] = field(default_factory=dict)


def understand(path: Path, damages: Damages) -> Understood:
    """What was measured, from a measurement file, a .jpg file or any other picture."""
    operator, noise = damages.operator(), damages.noise()
    if path.suffix == ".npz":
        if operator != "none" or noise is not None:
            raise SettingError(
                f"Wanted no damage beside a measurement, since {path} says what happened, but got "
                f"{operator}. Leave the options out."
            )
        measurement = Measurement.load(path)
        return Understood(measurement, picture_of(measurement).clamp(-1, 1), "")
    if noise is None and damages.text is None and is_jpeg(path):
        return _from_jpeg(path, operator.removesuffix("mask").rstrip(" |") or "none", damages)
    return _from_pixels(path, operator, noise, damages)


def _from_jpeg(path: Path, before: str, damages: Damages) -> Understood:
    file = read_jpeg(path)
    if damages.colorize and file.jpeg.signal_shape[0] == 3:
        raise _has_colours(path)
    arrays = damages.arrays()
    missing = arrays.pop("mask", None)
    size = " x ".join(map(str, file.decoded.shape[1:]))
    if missing is not None and missing.shape != file.decoded.shape[1:]:
        raise ShapeError(
            f"Wanted a mask of {size}, as {path} has, but got "
            f"{' x '.join(map(str, missing.shape))}. Draw it over the picture itself."
        )
    measurement = file.measurement(before, missing)
    measurement.arrays.update(arrays)
    found = f"Found a JPEG of {size}, of quality {quality_of(file.arrays['jpeg_tables'][0])}"
    source = "" if file.exact else ", its numbers derived from the decoded picture"
    return Understood(measurement, file.decoded, f"{found}{source}.", file.turn, file.extras)


def _from_pixels(path: Path, operator: str, noise: float | None, damages: Damages) -> Understood:
    picture = read_picture(path)
    arrays = damages.arrays()
    if damages.colorize and len(picture.pixels) == 3:
        raise _has_colours(path)
    found = ""
    if not picture.opaque.all():
        if "mask" not in operator:
            operator = "mask" if operator == "none" else f"{operator} | mask"
        arrays["mask"] = arrays.get("mask", ~picture.opaque) | ~picture.opaque
        found = (
            f"Found {int((~picture.opaque).sum())} transparent pixels: they are taken as missing."
        )
    if operator == "none" and noise is None:
        noise = noise_deviation(picture.pixels)
        found = f"Found noise of {noise * 127.5:.1f} of 255."
        if noise < 2 * picture.rounding or noise * 127.5 < 1:
            raise SettingError(
                f"Wanted a damaged picture, but {path} has no holes and next to no noise "
                f"({noise * 127.5:.2f} of 255). Say what happened to it: --mask, --upscale, "
                "--blur, --colorize, --denoise or --operator."
            )
    if noise is None:
        noise = picture.rounding if damages.blur is not None else 0.0
    signal_shape = signal_shape_for(operator, tuple(picture.pixels.shape))
    y = data_in(picture.pixels, operator, arrays)
    return Understood(Measurement(y, operator, noise, arrays, signal_shape), picture.pixels, found)


def _has_colours(path: Path) -> SettingError:
    return SettingError(
        f"Wanted a gray picture to colour, but {path} has colours. Save it as grayscale."
    )
