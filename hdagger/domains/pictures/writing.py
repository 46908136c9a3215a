"""Pictures out: as an image of 8 bits to look at, and as a PNG file of 8 bits or 16.

Pillow writes no colours of 16 bits, so those pixels are put into a PNG here.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor


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
