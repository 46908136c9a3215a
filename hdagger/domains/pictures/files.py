"""Reading and writing the files users have; everything that comes from one is bounded.

A picture is a float64 tensor ``(channels, height, width)`` in [-1, 1]. Pillow reads the files.
Of 16 bits in three channels it keeps the upper eight, so it is asked twice: once as the file is,
and once with the two bytes of each value exchanged, which gives the lower eight. That takes no
other library, and what is compressed, interlaced or broken is Pillow's to see.
"""

import io
import re
import struct
import sys
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from ...errors import FileError
from ...files import brief, check_file

MOST_PIXELS = 50_000_000
MOST_NOTES = 10_000_000
"""Bytes beyond which a note (colour profile, EXIF, XMP, comment) is not carried along."""

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM", "GIF")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")

ORIENTATION = 0x0112
EXIF_FOLDER, GPS_FOLDER = 0x8769, 0x8825
OF_THE_SCENE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""EXIF's description, make, model, software, time, artist, copyright: true of a result, too."""


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
            :func:`write_picture`.
    """

    pixels: Float[Tensor, "channels height width"]
    opaque: Bool[Tensor, "height width"]
    rounding: float
    bits: int = 8
    extras: Mapping[str, Any] = field(default_factory=dict)


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

    @property
    def _lying(self) -> bool:
        return 5 <= self.orientation <= 8

    def __call__(self, pixels: Tensor) -> Tensor:
        """Upright, ``(..., height, width)``."""
        return (pixels.transpose(-1, -2) if self._lying else pixels).flip(self._flips)

    def back(self, pixels: Tensor) -> Tensor:
        """As stored."""
        pixels = pixels.flip(self._flips)
        return pixels.transpose(-1, -2) if self._lying else pixels

    def kernel_back(self, kernel: Float[Tensor, "rows columns"]) -> Float[Tensor, "odd odder"]:
        """The kernel that does to the stored picture what ``kernel`` does to the upright one.

        Args:
            kernel: Its centre is at ``(rows // 2, columns // 2)``.

        Returns:
            With odd sides, so that the centre stays the centre.
        """
        rows, columns = kernel.shape
        grown = torch.nn.functional.pad(kernel, (0, 1 - columns % 2, 0, 1 - rows % 2))
        return self.back(grown)

    def angle_back(self, degrees: float) -> float:
        """The angle, in the stored picture, of a line at this one in the upright picture.

        Counter-clockwise from the horizontal, from 0 to below 180.
        """
        angle = -degrees if len(self._flips) == 1 else degrees
        return (90 - angle if self._lying else angle) % 180


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


def _read_image(path: Path) -> Picture:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, image.width, image.height)
                values, white, alpha = _values(path, image)
                turn, extras = Turn(orientation_of(image)), extras_of(image)
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
    opaque = torch.from_numpy(np.array(np.broadcast_to(alpha, values.shape[:2])))
    return _picture(values, white, turn(opaque), turn, extras)


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


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation; 1 where there is none that can be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken note says nothing, and the picture may be whole
        return 1


def extras_of(image: Image.Image) -> dict[str, Any]:
    """Colour profile, EXIF, XMP and comment of an open file, as arguments of ``Image.save``.

    The result of a work on upright pixels carries them on, so the orientation is left out, and
    of a TIFF's tags those that describe how its pixels are stored. Notes that are broken, or
    longer than ``MOST_NOTES``, are left out, too.
    """
    info, extras = image.info, {}
    notes = PngImagePlugin.PngInfo()
    comment = _text(info.get("comment") or info.get("Comment"), "latin-1")
    if comment:
        notes.add_text("Comment", comment)
    xmp = _text(info.get("xmp") or info.get("XML:com.adobe.xmp"), "utf-8")
    if xmp:
        xmp = re.sub(r'tiff:Orientation="\d"|<tiff:Orientation>\d</tiff:Orientation>', "", xmp)
        notes.add_itxt("XML:com.adobe.xmp", xmp)
    if notes.chunks:
        extras["pnginfo"] = notes
    try:
        exif = _exif(image)
        written = exif.tobytes() if len(exif) else b""
    except Exception:  # a broken note, in any way
        written = b""
    if 0 < len(written) < MOST_NOTES:
        extras["exif"] = written
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) < MOST_NOTES:
        extras["icc_profile"] = profile
    return extras


def _exif(image: Image.Image) -> Image.Exif:
    given = image.getexif()
    if image.format != "TIFF":
        given.pop(ORIENTATION, None)
        return given
    kept = Image.Exif()
    for tag in OF_THE_SCENE:
        if tag in given:
            kept[tag] = given[tag]
    for place in (EXIF_FOLDER, GPS_FOLDER):
        if place in given:
            kept.get_ifd(place).update(given.get_ifd(place))
    return kept


def _text(note: Any, encoding: str) -> str:
    text = note.decode(encoding, "replace") if isinstance(note, bytes) else note
    return text if isinstance(text, str) and len(text) < MOST_NOTES else ""


def _read_array(path: Path) -> Picture:
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


def read_mask(path: Path) -> Bool[Tensor, "height width"]:
    """True where a pixel is missing: where the file is lighter than middle gray.

    In a file of two values the lighter is missing, whichever they are. In one with transparent
    places it is what was drawn, and not what lies around: all opaque pixels, if they are light
    or of one colour, or the white ones, if they are black and white.

    Raises:
        FileError: The file cannot be read, or leaves open what is missing.
    """
    picture = read_picture(path)
    light = picture.pixels.amax(dim=0)
    if not picture.opaque.all():
        return _drawn(path, picture, light)
    darkest, lightest = light.min(), light.max()
    if darkest < lightest and ((light == darkest) | (light == lightest)).all():
        return light == lightest
    if -1 < lightest <= 0:
        raise FileError(
            f"Wanted white where pixels are missing, but the lightest of {path} is "
            f"{float(lightest + 1) * 127.5:.0f} of 255. Draw what is missing in white on black."
        )
    return light > 0


def _drawn(path: Path, picture: Picture, light: Tensor) -> Tensor:
    """The strokes of a mask with transparent places."""
    drawn = picture.pixels[:, picture.opaque]
    lights = light[picture.opaque]
    if drawn.numel():
        one_colour = (drawn.amax(dim=1) - drawn.amin(dim=1)).max() <= 0.1
        if one_colour or (lights > 0).all():
            return picture.opaque
        if ((lights.abs() > 0.75).double().mean() > 0.95) and (lights < 0).any():
            return picture.opaque & (light > 0)
    raise FileError(
        f"Wanted a mask whose opaque pixels are of one colour or white, but those of {path} are "
        f"{'none' if not drawn.numel() else 'several'}. Draw what is missing in white on black."
    )


def to_image(pixels: Float[Tensor, "channels height width"]) -> Image.Image:
    """An 8-bit picture, values beyond [-1, 1] cut off."""
    return Image.fromarray(_whole(pixels, 255).astype(np.uint8))


def write_picture(
    path: Path,
    pixels: Float[Tensor, "channels height width"],
    bits: int = 8,
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Writes a PNG file.

    Args:
        path: Where.
        pixels: In [-1, 1], 1 channel or 3; values beyond are cut off.
        bits: 8 or 16, as the file had that they come from.
        extras: That file's. A colour profile that is for gray is left out of a picture in
            colours, and the other way round.
    """
    kept = dict(extras or {})
    space = b"GRAY" if len(pixels) == 1 else b"RGB "
    if kept.get("icc_profile", b"")[16:20] in {b"GRAY", b"RGB "} - {space}:
        del kept["icc_profile"]
    if bits == 8:
        to_image(pixels).save(path, "PNG", **kept)
        return
    values = np.ascontiguousarray(_whole(pixels, 65535).astype(np.uint16))
    if values.ndim == 2:
        Image.fromarray(values).save(path, "PNG", **kept)
        return
    notes = io.BytesIO()
    Image.new("RGB", (1, 1)).save(notes, "PNG", **kept)
    path.write_bytes(_sixteen_bit_png(values, notes.getvalue()))


def _whole(pixels: Tensor, white: int) -> np.ndarray:
    values = pixels.clamp(-1, 1).add_(1).mul_(white / 2).round_().cpu()
    return values.permute(1, 2, 0).squeeze(2).numpy()


def _sixteen_bit_png(values: np.ndarray, notes: bytes) -> bytes:
    """A PNG of ``(height, width, 3)``, with all but header and pixels from another PNG.

    Each row is written as its difference to the one above, filter 2.
    """
    height, width, _ = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, dtype=np.uint8)
    filtered[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    content = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(filtered.tobytes(), 6),
    }
    parts, place = [notes[:8]], 8
    while place < len(notes):
        (length,) = struct.unpack(">I", notes[place : place + 4])
        kind = notes[place + 4 : place + 8]
        data = kind + content.get(kind, notes[place + 8 : place + 8 + length])
        parts += [struct.pack(">I", len(data) - 4), data, struct.pack(">I", zlib.crc32(data))]
        place += 12 + length
    return b"".join(parts)
