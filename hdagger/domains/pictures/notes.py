"""What a picture's file says beside its pixels: colour profile, EXIF, XMP and comment."""

import re
from typing import Any

from PIL import Image, PngImagePlugin

MOST_NOTES = 10_000_000
"""Bytes beyond which a note (colour profile, EXIF, XMP, comment) is not carried along."""

ORIENTATION = 0x0112
EXIF_FOLDER, GPS_FOLDER = 0x8769, 0x8825
OF_THE_SCENE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""EXIF's description, make, model, software, time, artist, copyright: true of a result, too."""


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
