"""A file and what was said of it become a measurement, and a way back to such a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import FileError, SettingError, ShapeError
from ...files import brief, check_file
from ...measurement import Measurement
from ...samples import PosteriorSamples
from .arguments import BLURS, split_file
from .files import read_picture
from .hints import noise_deviation
from .jpeg import quality_of
from .jpeg_file import is_jpeg, read_jpeg
from .masks import read_mask
from .options import Damages
from .turn import Turn
from .words import data_in, parse, picture_of, signal_shape_for
from .writing import write_picture

MOST_TAPS = 1001
"""Rows and columns of a kernel, at most."""


def read_kernel(path: Path) -> Tensor:
    """The kernel that a picture shows, white on black, or a .npy file holds, with sum 1.

    Raises:
        FileError: It cannot be read.
        SettingError: It is black, too large, or has numbers that make no kernel.
    """
    if path.suffix == ".npy":
        kernel = read_matrix(path)
    else:
        kernel = read_picture(path).pixels.mean(dim=0) + 1
    if kernel.ndim != 2 or max(kernel.shape) > MOST_TAPS:
        raise SettingError(
            f"Wanted a kernel of two axes of at most {MOST_TAPS}, but {path} has "
            f"{tuple(kernel.shape)}. Crop it."
        )
    if not kernel.isfinite().all() or kernel.sum() <= 0:
        raise SettingError(
            f"Wanted a kernel with something in it, but {path} is black, or not finite. "
            "Draw it white on black."
        )
    return kernel / kernel.sum()


def read_matrix(path: Path) -> Tensor:
    """A .npy file of numbers; nothing in it is executed.

    Raises:
        FileError: It is not such a file.
    """
    check_file(path, "a kernel")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype.kind not in "uif" or array.size > MOST_TAPS**2:
            raise ValueError(f"{array.shape} of {array.dtype}")
        return torch.from_numpy(np.array(array, dtype=np.float64))
    except (OSError, ValueError, EOFError) as error:
        raise FileError(
            f"Wanted a kernel of numbers, but {path} is none ({brief(error)}). "
            "Write it with numpy.save."
        ) from error


READERS: Mapping[str, Callable[[Path], Tensor]] = {"mask": read_mask, "kernel": read_kernel}
"""What reads the file that a word names."""


@dataclass(frozen=True)
class Reading:
    """What a file and the options say.

    Attributes:
        measurement: What was measured.
        given: A picture of it, upright, ``(channels, height, width)``.
        found: What was found out beyond what was said, in a sentence; may be empty.
        turn: What turns a restored picture upright.
        bits: Of a value, in the file.
        extras: What the file carries along, for ``write_picture``.
    """

    measurement: Measurement
    given: Tensor
    found: str = ""
    turn: Turn = field(default_factory=Turn)
    bits: int = 8
    extras: Mapping[str, Any] = field(default_factory=dict)

    def upright(self, samples: PosteriorSamples) -> PosteriorSamples:
        """The samples as the picture is looked at."""
        return samples.mapped(self.turn)

    def write(self, path: Path, pixels: Tensor) -> None:
        """Writes a picture with the depth of the file that was given and what it carries."""
        write_picture(path, pixels, self.bits, self.extras)


def read(path: Path, damages: Damages) -> Reading:
    """What was measured, from a measurement file, a .jpg file or any other picture.

    Raises:
        HDaggerError: The file cannot be read, or what is said does not fit it.
    """
    if path.suffix == ".npz":
        if damages != Damages():
            raise SettingError(
                f"Wanted no damage beside a measurement, since {path} says what happened, but got "
                f"{damages.text}. Leave the options out."
            )
        measurement = Measurement.load(path)
        return Reading(measurement, picture_of(measurement).clamp(-1, 1))
    text, arrays = with_files(damages.text)
    if damages.noise is None and damages.operator is None and is_jpeg(path):
        return _from_jpeg(path, text, arrays, damages)
    return _from_pixels(path, text, arrays, damages)


def with_files(text: str) -> tuple[str, dict[str, Tensor]]:
    """A text form without the names of files, and what those files hold."""
    stages, arrays = [], {}
    for stage in parse(text):
        file, stage = split_file(stage)
        if file and stage.name in arrays:
            raise SettingError(f"Wanted one {stage.name}, but got two in {text!r}. Join them.")
        if file:
            arrays[stage.name] = READERS[stage.name](Path(file))
        stages.append(stage)
    return " | ".join(map(str, stages)), arrays


def _from_jpeg(path: Path, text: str, arrays: dict[str, Tensor], damages: Damages) -> Reading:
    file = read_jpeg(path)
    if damages.colorize and file.jpeg.signal_shape[0] == 3:
        raise _has_colours(path)
    missing = arrays.pop("mask", None)
    before = " | ".join(str(stage) for stage in parse(text) if stage.name != "mask") or "none"
    size = " x ".join(map(str, file.decoded.shape[1:]))
    if missing is not None and missing.shape != file.decoded.shape[1:]:
        raise ShapeError(
            f"Wanted a mask of {size}, as {path} has, but got "
            f"{' x '.join(map(str, missing.shape))}. Draw it over the picture itself."
        )
    measurement = file.measurement(before, missing, arrays.get("kernel"))
    found = f"Found a JPEG of {size}, of quality {quality_of(file.arrays['jpeg_tables'][0])}"
    source = "" if file.exact else ", its numbers derived from the decoded picture"
    return Reading(measurement, file.decoded, f"{found}{source}.", file.turn, extras=file.extras)


def _from_pixels(path: Path, text: str, arrays: dict[str, Tensor], damages: Damages) -> Reading:
    picture = read_picture(path)
    names = {stage.name for stage in parse(text)}
    if damages.colorize and len(picture.pixels) == 3:
        raise _has_colours(path)
    found, noise = "", damages.noise
    if not picture.opaque.all():
        if "mask" not in names:
            text = "mask" if text == "none" else f"{text} | mask"
        arrays["mask"] = arrays.get("mask", ~picture.opaque) | ~picture.opaque
        found = (
            f"Found {int((~picture.opaque).sum())} transparent pixels: they are taken as missing."
        )
    if text == "none" and noise is None:
        noise = noise_deviation(picture.pixels)
        found = f"Found noise of {noise * 127.5:.1f} of 255."
        if noise < 2 * picture.rounding or noise * 127.5 < 1:
            raise SettingError(
                f"Wanted a damaged picture, but {path} has no holes and next to no noise "
                f"({noise * 127.5:.2f} of 255). Say what happened to it: --mask, --upscale, "
                "--blur, --colorize, --denoise or --operator."
            )
    if noise is None:
        noise = picture.rounding if names & {*BLURS, "kernel"} else 0.0
    given = picture.lean
    signal_shape = signal_shape_for(text, tuple(given.shape), arrays)
    y = data_in(given, text, arrays)
    return Reading(
        Measurement(y, text, noise, arrays, signal_shape),
        given,
        found,
        bits=picture.bits,
        extras=picture.extras,
    )


def _has_colours(path: Path) -> SettingError:
    return SettingError(
        f"Wanted a gray picture to colour, but {path} has colours. Save it as grayscale."
    )
