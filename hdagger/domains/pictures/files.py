"""Reading and writing the files users have; everything that comes from one is bounded.

A picture is a float64 tensor ``(channels, height, width)`` in [-1, 1].
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ...errors import FileError
from ...files import check_file

MOST_PIXELS = 50_000_000
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")


@dataclass(frozen=True)
class Picture:
    """A picture as it was in its file.

    Attributes:
        pixels: ``(channels, height, width)`` in [-1, 1]; 1 channel or 3.
        opaque: False where the file says that the pixel is transparent, ``(height, width)``.
        rounding: Standard deviation of the file's rounding, in the units of ``pixels``.
    """

    pixels: Float[Tensor, "channels height width"]
    opaque: Bool[Tensor, "height width"]
    rounding: float


@dataclass(frozen=True)
class Turn:
    """How a picture that is stored lying or mirrored comes upright.

    Attributes:
        orientation: EXIF's tag 0x0112, 1 to 8; anything else is taken as 1.

    References:
        CIPA DC-008, Exchangeable image file format, version 2.32, section 4.6.4.
    """

    orientation: int = 1

    @property
    def _flips(self) -> list[int]:
        rows, columns = self.orientation in (3, 4, 7, 8), self.orientation in (2, 3, 6, 7)
        return [-2] * rows + [-1] * columns

    def __call__(self, pixels: Tensor) -> Tensor:
        """Upright, ``(..., height, width)``."""
        lying = 5 <= self.orientation <= 8
        return (pixels.transpose(-1, -2) if lying else pixels).flip(self._flips)

    def back(self, pixels: Tensor) -> Tensor:
        """As stored."""
        pixels = pixels.flip(self._flips)
        return pixels.transpose(-1, -2) if 5 <= self.orientation <= 8 else pixels


def read_picture(path: Path) -> Picture:
    """Reads a picture file, or an array from a .npy file.

    A .npy file holds ``(height, width)`` or ``(height, width, 3)``: whole numbers of 8 or 16
    bits, or floats in [-1, 1] (noise may carry them somewhat beyond).

    Raises:
        FileError: It is missing, broken, too large, or of a kind that is not read.
    """
    check_file(path, "a picture")
    return _read_array(path) if path.suffix == ".npy" else _read_image(path)


def _read_image(path: Path) -> Picture:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                _check_size(path, image.width, image.height)
                image.load()
                image = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except UnidentifiedImageError as error:
        raise FileError(
            f"Wanted a picture, but {path} is not one that can be read. "
            "Save it as PNG, JPEG, TIFF or WebP."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise FileError(
            f"Wanted a whole picture, but {path} is broken ({error}). Copy the file again."
        ) from error
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise FileError(
            f"Wanted a gray or RGB picture, but {path} is {image.mode}. "
            "Convert it to sRGB first, in any picture editor."
        )
    opaque = torch.ones(image.height, image.width, dtype=torch.bool)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        opaque = torch.from_numpy(np.asarray(image.getchannel("A")) > 0)
    if image.mode.startswith("I;16") or image.mode == "I":
        return _picture(np.asarray(image).astype(np.float64)[..., None], 65535, opaque)
    if image.mode == "F":
        raise FileError(
            f"Wanted whole numbers, but {path} holds floats. Save it as a .npy file in [-1, 1]."
        )
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    values = np.asarray(image.convert(mode), dtype=np.float64)
    return _picture(values.reshape(*values.shape[:2], -1), 255, opaque)


def _read_array(path: Path) -> Picture:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(
            f"Wanted an array of numbers, but {path} is not one ({str(error).splitlines()[0]}). "
            "Write it with numpy.save."
        ) from error
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise FileError(
            f"Wanted an array of shape (height, width) or (height, width, 3), but {path} holds "
            f"{array.shape}. Move its axes with numpy.moveaxis."
        )
    _check_size(path, array.shape[1], array.shape[0])
    opaque = torch.ones(array.shape[:2], dtype=torch.bool)
    values = np.array(array).reshape(*array.shape[:2], -1)
    if values.dtype in (np.uint8, np.uint16):
        return _picture(values.astype(np.float64), int(np.iinfo(values.dtype).max), opaque)
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


def _picture(values: np.ndarray, white: int, opaque: Tensor) -> Picture:
    pixels = torch.from_numpy(values).permute(2, 0, 1) * (2 / white) - 1
    return Picture(pixels, opaque, rounding=2 / white / 12**0.5)


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


def read_mask(path: Path) -> Bool[Tensor, "height width"]:
    """True where a pixel is missing: lighter than black in the file."""
    return read_picture(path).pixels.mean(dim=0) > -1


def to_image(pixels: Float[Tensor, "channels height width"]) -> Image.Image:
    """An 8-bit picture, values beyond [-1, 1] cut off."""
    values = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
    return Image.fromarray(values.permute(1, 2, 0).squeeze(2).numpy())
