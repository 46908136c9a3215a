"""Masks as they were drawn: what of a picture is missing."""

from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from ...errors import FileError
from .files import Picture, read_picture


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
