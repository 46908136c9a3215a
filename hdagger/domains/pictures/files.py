"""Reading the pictures users have; everything that comes from a file is bounded.

A picture is a float64 tensor ``(channels, height, width)`` in [-1, 1]. Pillow reads the files.
Of 16 bits in three channels it keeps the upper eight, so it is asked twice: once as the file is,
and once with the two bytes of each value exchanged, which gives the lower eight. That takes no
other library, and what is compressed, interlaced or broken is Pillow's to see.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from ...errors import FileError
from ...files import brief, check_file
from .notes import extras_of, orientation_of
from .turn import Turn

MOST_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM", "GIF")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")


@dataclass(frozen=True)
class Picture:
    """A picture as it was in its file, upright.

    Attributes:
        pixels: ``(channels, height, width)`` in [-1, 1]; 1 channel or 3. Under a transparent
            place they are what the file has there.
        opaque: True where the file's alpha is at least half, ``(height, width)``.
        rounding: Standard deviation of the file's rounding, in the units of ``pixels``.
        bits: 16 where 8 would lose something of the file, otherwise 8.
        extras: What the file says beside: colour profile, EXIF, XMP and comment, for
            :func:`~hdagger.domains.pictures.writing.write_picture`.
    """

    pixels: Float[Tensor, "channels height width"]
    opaque: Bool[Tensor, "height width"]
    rounding: float
    bits: int = 8
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lean(self) -> Float[Tensor, "channels height width"]:
        """Its pixels, in float32 if that holds all that the file says: half of the memory."""
        return self.pixels.float() if self.rounding > 1e-8 else self.pixels


def read_picture(path: Path) -> Picture:
    """Reads a picture file, or an array from a .npy file.

    8 or 16 bits, gray or RGB, with or without alpha. A TIFF of floats has 0 for black and 1 for
    white. A .npy file holds ``(height, width)`` or ``(height, width, 3)``: whole numbers of 8 or
    16 bits, or floats in [-1, 1] (noise may carry them somewhat beyond).

    Raises:
        FileError: It is missing, broken, too large, or of a kind that is not read.
    """
    check_file(path, "a picture")
    return _read_array(path) if path.suffix == ".npy" else _read_image(path)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height that a file promises, of which nothing is unpacked.

    Raises:
        FileError: It is no picture that is read.
    """
    check_file(path, "a picture")
    if path.suffix == ".npy":
        shape = _array_in(path).shape
        return shape[1], shape[0]
    with _opened(path) as image:
        return image.width, image.height


def _read_image(path: Path) -> Picture:
    with _opened(path) as image:
        values, white, alpha = _values(path, image)
        turn, extras = Turn(orientation_of(image)), extras_of(image)
    opaque = torch.from_numpy(np.array(np.broadcast_to(alpha, values.shape[:2])))
    return _picture(values, white, turn(opaque), turn, extras)


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """A picture file whose size is not too large; what reading it raises is told in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, image.width, image.height)
                yield image
    except (FileError, Image.DecompressionBombError) as error:
        if isinstance(error, FileError):
            raise
        raise _too_large(path, brief(error)) from error
    except UnidentifiedImageError as error:
        raise FileError(
            f"Wanted a picture, but {path} is not one that can be read. "
            "Save it as PNG, JPEG, TIFF or WebP."
        ) from error
    except Exception as error:  # whatever a broken file makes one of Pillow's readers raise
        raise FileError(
            f"Wanted a whole picture, but {path} is broken ({brief(error)}). Copy the file again."
        ) from error


def _values(path: Path, image: ImageFile.ImageFile) -> tuple[np.ndarray, float, np.ndarray]:
    """What a file holds, ``(height, width, channels)``; its white; where it is opaque."""
    mode, bits = image.mode, _bits(image)
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise FileError(
            f"Wanted a gray or RGB picture, but {path} is {mode}. "
            "Convert it to sRGB first, in any picture editor."
        )
    if bits > 8 and mode in ("RGB", "RGBA", "RGBX"):
        return _sixteen_bits(path, image)
    solid = np.array(True)
    if mode.startswith("I;16"):
        image.load()
        values = np.asarray(image)[..., None]
        white = 2 ** (bits or 16) - 1
        if _tag(image, 262) == 0:
            values = white - values
        clear = image.info.get("transparency")
        return values, white, solid if clear is None else values[..., 0] != clear
    if mode == "I" and image.format == "PPM":
        image.load()
        return np.asarray(image)[..., None], 65535, solid
    if mode == "F":
        image.load()
        values = np.asarray(image)[..., None]
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise FileError(
                f"Wanted floats from 0, black, to 1, white, but {path} goes from "
                f"{values.min():.4g} to {values.max():.4g}. Scale it, or save it as a .npy file "
                "in [-1, 1]."
            )
        return values, 1, solid
    if mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
        raise FileError(
            f"Wanted whole numbers of 8 or 16 bits, but {path} holds others ({mode}), whose white "
            "is not known. Save it with 16 bits, or as a .npy file of floats in [-1, 1]."
        )
    image.load()
    if image.has_transparency_data:
        gray = mode in ("LA", "La", "L", "1")
        whole = image.convert("LA") if mode == "La" else image
        values = np.asarray(whole.convert("RGBA"))
        return values[..., : 1 if gray else 3], 255, values[..., 3] >= 128
    values = np.asarray(image.convert("L" if mode in ("1", "L") else "RGB"))
    return values.reshape(*values.shape[:2], -1), 255, solid


def _sixteen_bits(path: Path, image: ImageFile.ImageFile) -> tuple[np.ndarray, float, np.ndarray]:
    """Colours, or gray with alpha, of 16 bits, read as the file is and with bytes exchanged."""
    raw = {_raw(tile) for tile in image.tile}
    word, _, order = next(iter(raw), "").partition(";16")
    other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}.get(order)
    if other is None or len(raw) > 1 or image.format not in ("PNG", "TIFF"):
        raise FileError(
            f"Wanted 16-bit colours in a PNG or in a TIFF of one plane, but {path} has them "
            "otherwise. Save it as PNG."
        )
    if word == "LA":
        four = _loaded(image, "RGBA", "RGBA")
        values = four[..., ::2] << 8 | four[..., 1::2]
        return values[..., :1], 65535, values[..., 1] >= 32768
    premultiplied = word == "RGBa"
    word, mode = ("RGBX", "RGBX") if premultiplied else (word, image.mode)
    with Image.open(path, formats=FORMATS) as again:
        values = _loaded(image, mode, f"{word};16{order}") << 8
        values |= _loaded(again, mode, f"{word};16{other}")
    colours, clear = values[..., :3], image.info.get("transparency")
    if isinstance(clear, tuple):
        return colours, 65535, (colours != np.array(clear)).any(axis=2)
    if values.shape[2] == 3:
        return colours, 65535, np.array(True)
    alpha = values[..., 3]
    if premultiplied:
        colours = np.minimum(colours * (65535 / np.maximum(alpha, 1))[..., None], 65535)
    return colours, 65535, alpha >= 32768


def _raw(tile: Any) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _loaded(image: ImageFile.ImageFile, mode: str, raw: str) -> np.ndarray:
    """What the decoder gives under another raw mode, ``(height, width, bytes)``."""
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
        for tile in image.tile
    ]
    image._mode = mode  # pyright: ignore[reportAttributeAccessIssue]
    image.load()
    return np.asarray(image).astype(np.uint16)


def _bits(image: ImageFile.ImageFile) -> int:
    """How many bits a file has for one value, where that is not what Pillow's mode says."""
    if image.format == "TIFF":
        return int(max(_tag(image, 258) or (0,)))
    if image.format == "PPM":
        arguments = image.tile[0].args
        return 16 if isinstance(arguments, tuple) and int(arguments[1] or 0) > 255 else 8
    return 16 if any(";16" in _raw(tile) for tile in image.tile) else 8


def _tag(image: Image.Image, number: int) -> Any:
    return getattr(image, "tag_v2", {}).get(number)


def _array_in(path: Path) -> np.ndarray:
    """The picture in a .npy file, not read yet."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # whatever a broken file makes numpy raise
        raise FileError(
            f"Wanted an array of numbers, but {path} is not one ({brief(error)}). "
            "Write it with numpy.save."
        ) from error
    if (
        not isinstance(array, np.ndarray)
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (1, 3))
    ):
        raise FileError(
            f"Wanted an array of shape (height, width) or (height, width, 3), but {path} holds "
            f"{getattr(array, 'shape', 'several')}. Move its axes with numpy.moveaxis."
        )
    _check_size(path, array.shape[1], array.shape[0])
    return array


def _read_array(path: Path) -> Picture:
    array = _array_in(path)
    opaque = torch.ones(array.shape[:2], dtype=torch.bool)
    values = np.array(array).reshape(*array.shape[:2], -1)
    if values.dtype in (np.uint8, np.uint16):
        return _picture(values, int(np.iinfo(values.dtype).max), opaque)
    if values.dtype.kind != "f":
        raise FileError(
            f"Wanted floats, or whole numbers of 8 or 16 bits, but {path} holds {values.dtype}. "
            "Convert it with numpy.astype."
        )
    if not np.isfinite(values).all():
        raise FileError(
            f"Wanted finite numbers, but {path} holds {int((~np.isfinite(values)).sum())} that "
            "are not. Set them to 0 and mask those pixels with --mask."
        )
    if np.abs(values).max() > 5:
        raise FileError(
            f"Wanted floats in [-1, 1], but {path} goes up to {np.abs(values).max():.4g}. "
            "Scale it: x / 127.5 - 1 for values of 0 to 255."
        )
    rounding = float(np.finfo(values.dtype).eps)
    return Picture(torch.from_numpy(values.astype(np.float64)).permute(2, 0, 1), opaque, rounding)


def _picture(
    values: np.ndarray,
    white: float,
    opaque: Tensor,
    turn: Turn | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Picture:
    pixels = torch.from_numpy(values.transpose(2, 0, 1).astype(np.float64, order="C"))
    pixels.mul_(2 / white).sub_(1)
    rounding = 2 / white / 12**0.5 if white > 1 else 2 * float(np.finfo(np.float32).eps)
    upright = (turn or Turn())(pixels)
    return Picture(upright, opaque, rounding, 8 if white == 255 else 16, extras or {})


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _too_large(path, f"{width} x {height}")
    if width < 1 or height < 1:
        raise FileError(f"Wanted a picture, but {path} has no pixels. Check how it was made.")


def _too_large(path: Path, what: str) -> FileError:
    return FileError(
        f"Wanted at most {MOST_PIXELS // 10**6} megapixels, but {path} is too large ({what}). "
        "Crop or shrink it first."
    )
