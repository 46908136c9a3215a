"""A .jpg file as a measurement: the numbers that it holds, and what it says about the picture.

The numbers are read by jpeglib (``pip install 'hdagger[jpeg]'``); without it they are derived
again from the decoded picture, which gets chroma and what was cut off at white only nearly right.
"""

import importlib.util
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from ...errors import FileError
from ...files import brief, check_file
from ...measurement import Measurement
from ...operators.spectral import Inpainting
from .arguments import split_boundary
from .files import read_picture
from .jpeg import Jpeg
from .notes import orientation_of
from .turn import Turn
from .words import Stage, operator_for_data, parse, signal_shape_for

LONGEST_READING = 120
"""Seconds for the numbers of one file; 50 megapixels take about three."""


@dataclass(frozen=True)
class JpegFile:
    """What a .jpg file holds.

    Attributes:
        numbers: Its quantised coefficients, ``(count,)``; see :class:`JpegTransform`.
        jpeg: Its encoder, for the picture as stored, before it is turned upright.
        arrays: Its tables and sampling factors, for the operator ``jpeg``.
        decoded: The picture that it shows, upright, ``(channels, height, width)`` in [-1, 1].
        turn: What turns the stored picture upright.
        extras: EXIF, ICC profile, XMP and comment, for :func:`write_picture`.
        exact: Whether the numbers are the file's own.
    """

    numbers: Float[Tensor, " count"]
    jpeg: Jpeg
    arrays: dict[str, Tensor]
    decoded: Float[Tensor, "channels height width"]
    turn: Turn
    extras: dict[str, Any]
    exact: bool

    def measurement(
        self,
        before: str,
        missing: Bool[Tensor, "height width"] | None,
        kernel: Float[Tensor, "rows columns"] | None = None,
    ) -> Measurement:
        """The file as data of ``before | jpeg``, or of ``before | jpeg | mask``.

        Args:
            before: What happened before the picture was encoded, to the upright picture;
                ``"none"`` for nothing.
            missing: True where the upright picture is not to be believed. What shares its
                chroma with such a pixel is not believed either.
            kernel: That of a blur before, for the upright picture.

        Returns:
            In the frame of the stored picture, whose blocks the file has.
        """
        arrays: dict[str, Tensor] = dict(self.arrays)
        if kernel is not None:
            arrays["kernel"] = self.turn.kernel_back(kernel)
        before = text_back(before, self.turn)
        text = "jpeg" if before == "none" else f"{before} | jpeg"
        y = self.numbers
        if missing is not None:
            across, down = self.jpeg.transform.most
            hidden = self.turn.back(missing)[None].double()
            size = hidden.shape[1:]
            hidden = torch.nn.functional.max_pool2d(hidden, (down, across), ceil_mode=True)
            hidden = hidden.repeat_interleave(down, 1).repeat_interleave(across, 2)
            arrays["mask"] = hidden[0, : size[0], : size[1]] > 0
            mask = Inpainting((~arrays["mask"]).expand(self.jpeg.signal_shape))
            y, text = mask(self.jpeg.decode(y[None]))[0], f"{text} | mask"
        signal_shape = signal_shape_for(text, self.jpeg.signal_shape, arrays)
        return Measurement(y, text, 0.0, arrays, signal_shape)


def text_back(text: str, turn: Turn) -> str:
    """What does to the stored picture what ``text`` does to the upright one.

    Example:
        >>> text_back("motion:15,30 | average:2", Turn(6))
        'motion:15,120 | average:2'
    """
    if turn == Turn():
        return text
    return " | ".join(str(_stage_back(stage, turn)) for stage in parse(text))


def _stage_back(stage: Stage, turn: Turn) -> Stage:
    if stage.name != "motion":
        return stage
    said, boundary = split_boundary(stage.argument)
    length, _, angle = said.partition(",")
    try:
        degrees = float(angle or 0)
    except ValueError:
        return stage
    if not math.isfinite(degrees):
        return stage
    rest = "" if boundary == "unknown" else f",{boundary}"
    return Stage("motion", f"{length},{turn.angle_back(degrees):g}{rest}")


def is_jpeg(path: Path) -> bool:
    """Whether a file begins as a JPEG does, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def read_jpeg(path: Path) -> JpegFile:
    """Reads a .jpg file: baseline or progressive, 8 bits, gray, YCbCr or RGB.

    Raises:
        FileError: It is broken, cut off, CMYK, or of a kind that is not read.
    """
    check_file(path, "a .jpg file")
    picture = read_picture(path)
    decoded, extras = picture.lean, dict(picture.extras)
    with Image.open(path, formats=("JPEG",)) as image:
        turn = Turn(orientation_of(image))
        layers: list[tuple[int, int, int, int]] = image.layer  # pyright: ignore[reportAttributeAccessIssue]
        quantization: dict[int, list[int]] = image.quantization  # pyright: ignore[reportAttributeAccessIssue]
        ids = bytes(layer[0] for layer in layers)
        is_rgb = image.info.get("adobe_transform") == 0 or ids == b"RGB"
        shape = (len(layers), image.height, image.width)
    tables = torch.tensor([quantization[table] for *_, table in layers]).view(-1, 8, 8)
    arrays = {"jpeg_tables": tables, "jpeg_sampling": torch.tensor([l[1:3] for l in layers])}
    if is_rgb and shape[0] == 3:
        arrays["jpeg_rgb"] = torch.tensor(True)
    jpeg = operator_for_data("jpeg", shape, arrays)
    assert isinstance(jpeg, Jpeg)
    numbers = _numbers(path)
    if numbers is None:
        again = jpeg.encode(turn.back(picture.pixels)[None])[0]
        return JpegFile(again, jpeg, arrays, decoded, turn, extras, exact=False)
    if numbers.shape != jpeg.data_shape:
        raise FileError(
            f"Wanted {jpeg.data_shape[0]} numbers for a JPEG of {shape[2]} x {shape[1]}, but "
            f"{path} holds {len(numbers)}. Save it again as JPEG, or as PNG."
        )
    return JpegFile(numbers, jpeg, arrays, decoded, turn, extras, exact=True)


def _numbers(path: Path) -> Tensor | None:
    """The coefficients in the file, component after component; None without jpeglib.

    libjpeg says what is broken on the standard error of its process, and may end it: so it runs
    in one of its own, whose standard error is read.
    """
    if importlib.util.find_spec("jpeglib") is None:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-P", Path(__file__).with_name("jpeg_numbers.py"), path.resolve()],
            capture_output=True,
            timeout=LONGEST_READING,
            check=False,
        )
        said = done.stderr[:4096].decode(errors="replace").splitlines()
        if done.returncode or said:
            raise ValueError(said[-1] if said else f"libjpeg ended with {done.returncode}")
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise FileError(
            f"Wanted a whole JPEG, but {path} is broken ({brief(error)}). Copy the file again."
        ) from error
    return torch.from_numpy(np.frombuffer(done.stdout, np.int16).astype(np.float32))
