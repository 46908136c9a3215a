"""A .jpg file as a measurement: the numbers that it holds, and what it says about the picture.

The numbers are read by jpeglib (``pip install 'hdagger[jpeg]'``); without it they are derived
again from the decoded picture, which gets chroma and what was cut off at white only nearly right.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, PngImagePlugin
from torch import Tensor

from ...errors import FileError
from ...files import check_file
from ...measurement import Measurement
from ...operators.spectral import Inpainting
from .files import Turn, read_picture
from .jpeg import Jpeg
from .words import operator_for_data, signal_shape_for


@dataclass(frozen=True)
class JpegFile:
    """What a .jpg file holds.

    Attributes:
        numbers: Its quantised coefficients, ``(count,)``; see :class:`JpegTransform`.
        jpeg: Its encoder, for the picture as stored, before it is turned upright.
        arrays: Its tables and sampling factors, for the operator ``jpeg``.
        decoded: The picture that it shows, upright, ``(channels, height, width)`` in [-1, 1].
        turn: What turns the stored picture upright.
        extras: EXIF, ICC profile and comment, as arguments of ``Image.save`` for PNG.
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
        self, before: str, missing: Bool[Tensor, "height width"] | None
    ) -> Measurement:
        """The file as data of ``before | jpeg``, or of ``before | jpeg | mask``.

        Args:
            before: What happened before the picture was encoded; ``"none"`` for nothing.
            missing: True where the upright picture is not to be believed. What shares its
                chroma with such a pixel is not believed either.
        """
        arrays: dict[str, Tensor] = dict(self.arrays)
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
        signal_shape = signal_shape_for(text, self.jpeg.signal_shape)
        return Measurement(y, text, 0.0, arrays, signal_shape)


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
    decoded = read_picture(path).pixels
    with Image.open(path) as image:
        exif = image.getexif()
        turn = Turn(exif.pop(0x0112, 1))
        layers: list[tuple[int, int, int, int]] = image.layer  # pyright: ignore[reportAttributeAccessIssue]
        quantization: dict[int, list[int]] = image.quantization  # pyright: ignore[reportAttributeAccessIssue]
        ids = bytes(layer[0] for layer in layers)
        is_rgb = image.info.get("adobe_transform") == 0 or ids == b"RGB"
        shape = (len(layers), image.height, image.width)
        extras = _extras(image, exif)
    tables = torch.tensor([quantization[table] for *_, table in layers]).view(-1, 8, 8)
    arrays = {"jpeg_tables": tables, "jpeg_sampling": torch.tensor([l[1:3] for l in layers])}
    if is_rgb and shape[0] == 3:
        arrays["jpeg_rgb"] = torch.tensor(True)
    jpeg = operator_for_data("jpeg", shape, arrays)
    assert isinstance(jpeg, Jpeg)
    numbers = _numbers(path)
    if numbers is None:
        again = jpeg.encode(turn.back(decoded)[None])[0]
        return JpegFile(again, jpeg, arrays, decoded, turn, extras, exact=False)
    if numbers.shape != jpeg.data_shape:
        raise FileError(
            f"Wanted {jpeg.data_shape[0]} numbers for a JPEG of {shape[2]} x {shape[1]}, but "
            f"{path} holds {len(numbers)}. Save it again as JPEG, or as PNG."
        )
    return JpegFile(numbers, jpeg, arrays, decoded, turn, extras, exact=True)


def _numbers(path: Path) -> Tensor | None:
    """The coefficients in the file, component after component; None without jpeglib."""
    try:
        import jpeglib
    except ImportError:
        return None
    with _libjpeg_messages() as messages:
        try:
            file = jpeglib.read_dct(str(path))
            parts = [file.Y, file.Cb, file.Cr]
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise FileError(
                f"Wanted a whole JPEG, but {path} is broken ({error}). Copy the file again."
            ) from error
    if messages:
        raise FileError(
            f"Wanted a whole JPEG, but {path} is broken ({messages[0]}). Copy the file again."
        )
    flat = [part.reshape(-1) for part in parts if part is not None]
    return torch.from_numpy(np.concatenate(flat).astype(np.float64))


@contextmanager
def _libjpeg_messages() -> Iterator[list[str]]:
    """What libjpeg, which writes to the standard error of the process, has to say."""
    messages: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            messages += file.read(4096).decode(errors="replace").splitlines()


def _extras(image: Image.Image, exif: Image.Exif) -> dict[str, Any]:
    notes = PngImagePlugin.PngInfo()
    comment = image.info.get("comment")
    if comment:
        is_bytes = isinstance(comment, bytes)
        notes.add_text("Comment", comment.decode("latin-1") if is_bytes else comment)
    if isinstance(image.info.get("xmp"), bytes):
        notes.add_itxt("XML:com.adobe.xmp", image.info["xmp"].decode("utf-8", "replace"))
    extras: dict[str, Any] = {"pnginfo": notes}
    if len(exif):
        extras["exif"] = exif.tobytes()
    if image.info.get("icc_profile"):
        extras["icc_profile"] = image.info["icc_profile"]
    return extras
