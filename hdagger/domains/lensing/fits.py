"""FITS files of images, their noise, their scale, and point spreads; nothing in them is executed.

The noise is a standard deviation (extension ``ERR``, or a file that says nothing else), a variance
(``VAR``), or a weight, one over it (``WHT``, ``IVAR``). What ``DQ`` marks, what is NaN and what
has no weight was not seen: its noise is infinite.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import FileError, SettingError
from ...files import brief, check_file
from .shooting import Frame

MOST_BYTES = 500_000_000
"""Of a FITS file."""

LARGEST = 4096
"""Pixels a side of an image."""

NOISE = ("ERR", "VAR", "IVAR", "WHT")


def _astropy() -> Any:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise FileError(
            "Wanted astropy for FITS files, but it is not installed. pip install 'hdagger[astro]'"
        ) from error
    return fits


@dataclass(frozen=True)
class Planes:
    """The two-dimensional images of a FITS file.

    Attributes:
        path: The file.
        values: Name of an extension -> its numbers, in float64; the first image is ``SCI``.
        header: Of the first.
    """

    path: Path
    values: Mapping[str, Float[Tensor, "rows columns"]]
    header: Any

    @property
    def first(self) -> Float[Tensor, "rows columns"]:
        """The image: extension ``SCI``, else the first that there is."""
        return self.values["SCI"]


def read_planes(path: Path, what: str) -> Planes:
    """Reads a FITS file, of whatever byte order, scaling and extensions.

    Args:
        path: The file.
        what: What it should hold, for the message.

    Raises:
        FileError: It is missing, too large, no FITS file, or holds no image.
    """
    check_file(path, what)
    fits = _astropy()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES // 1_000_000} MB")
        with warnings.catch_warnings(), fits.open(path, memmap=False) as file:
            warnings.simplefilter("ignore")
            images = [hdu for hdu in file if hdu.is_image and _sides(hdu)]
            if not images:
                raise ValueError("no image of two axes")
            named = {hdu.name: hdu for hdu in images}
            chosen = named.get("SCI", images[0])
            values = {
                name: _numbers(hdu)
                for name, hdu in {**named, "SCI": chosen}.items()
                if _sides(hdu) == _sides(chosen)
            }
            return Planes(path, values, chosen.header.copy())
    except FileError:
        raise
    except Exception as error:  # whatever a broken file makes astropy raise
        raise FileError(
            f"Wanted {what} as FITS, but {path} is not one that can be read ({brief(error)}). "
            "Look at it with astropy's fitsinfo."
        ) from error


def _sides(hdu: Any) -> tuple[int, ...] | None:
    """Rows and columns of an image; axes of length 1 before them do not count."""
    shape = tuple(hdu.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape if len(shape) == 2 and max(shape) <= LARGEST and min(shape) > 0 else None


def _numbers(hdu: Any) -> Float[Tensor, "rows columns"]:
    native = np.asarray(hdu.data, dtype=np.float64).reshape(_sides(hdu))
    return torch.from_numpy(native.copy())


def noise_in(planes: Planes) -> Float[Tensor, "rows columns"] | None:
    """The deviation of each pixel that the extensions tell; None if they tell none."""
    name = next((name for name in NOISE if name in planes.values), None)
    if name is None:
        return None
    return deviation(planes.values[name], name, planes.path)


def deviation(values: Float[Tensor, "r c"], name: str, path: Path) -> Float[Tensor, "r c"]:
    """Standard deviations, infinite for what is NaN or has no weight.

    Raises:
        FileError: Some are zero or negative.
    """
    weights = name in ("IVAR", "WHT")
    wrong = int((values < 0).sum() if weights else (values <= 0).sum())
    if wrong:
        raise FileError(
            f"Wanted noise above 0, but {wrong} of {values.numel()} pixels of {name} in {path} "
            "have 0 or less. Set them to NaN, which masks them."
        )
    sigma = values.rsqrt() if weights else values.sqrt() if name == "VAR" else values
    return sigma.nan_to_num(math.inf, math.inf)


def flagged(planes: Planes) -> Bool[Tensor, "rows columns"]:
    """The pixels that are NaN or infinite, or that ``DQ`` marks."""
    dq = planes.values.get("DQ")
    broken = ~planes.first.isfinite()
    return broken if dq is None else broken | (dq != 0)


@dataclass(frozen=True)
class Sky:
    """How an image lies on the sky.

    Attributes:
        scale: Side of a pixel, arcsec.
        north: Direction of north in the image, degrees anticlockwise from +x; None if unknown.
        mirrored: Whether east lies clockwise of north, as on the ground.
    """

    scale: float
    north: float | None = None
    mirrored: bool = False

    def angle(self, position_angle: float) -> float:
        """The angle from +x of a direction told from north through east, in degrees.

        Raises:
            SettingError: North is not known.
        """
        if self.north is None:
            raise SettingError(
                "Wanted a direction from north, but the image does not say where north is. "
                "Give angle, in degrees anticlockwise from +x, in place of position_angle."
            )
        return self.north + (-position_angle if self.mirrored else position_angle)

    def __str__(self) -> str:
        if self.north is None:
            return f"{self.scale:.4g} arcsec a pixel"
        side = "clockwise" if self.mirrored else "anticlockwise"
        return (
            f"{self.scale:.4g} arcsec a pixel, north at {self.north:.1f} degrees from +x, "
            f"east 90 degrees {side} of it"
        )


def sky_of(planes: Planes, said: float | None) -> Sky:
    """The scale and the orientation of an image, from its WCS, or as said.

    Args:
        planes: The image.
        said: Its scale in arcsec a pixel, which a WCS has to agree with; None for the WCS's.

    Raises:
        FileError: There is no scale, or two; or pixels are not square.
    """
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(planes.header, naxis=2)
            celestial = wcs.has_celestial
            sides = proj_plane_pixel_scales(wcs) * 3600 if celestial else np.ones(2)
            matrix = wcs.pixel_scale_matrix
        except Exception as error:  # whatever a broken header makes astropy raise
            raise FileError(
                f"Wanted a header that says where pixels lie, but that of {planes.path} does not "
                f"hold together ({brief(error)}). Remove its WCS, and give --pixel-scale."
            ) from error
    if not celestial:
        if said is None:
            raise FileError(
                f"Wanted the scale of {planes.path}, but its header has no WCS. "
                "Give --pixel-scale, in arcsec, as in --pixel-scale 0.05."
            )
        return Sky(said)
    scale = float(sides.mean())
    if abs(sides[0] - sides[1]) > 0.01 * scale:
        raise FileError(
            f"Wanted square pixels, but those of {planes.path} are {sides[0]:.4g} x "
            f"{sides[1]:.4g} arcsec. Resample it."
        )
    if said is not None and abs(said - scale) > 0.01 * scale:
        raise FileError(
            f"Wanted the scale of {planes.path}, but its WCS says {scale:.4g} arcsec a pixel and "
            f"--pixel-scale {said:g}. Leave --pixel-scale out, or mend the header."
        )
    east, north = np.linalg.inv(matrix).T
    turn = east[1] * north[0] - east[0] * north[1]
    return Sky(scale, math.degrees(math.atan2(north[1], north[0])), bool(turn < 0))


def read_psf(path: Path, sky: Sky) -> Float[Tensor, "rows columns"]:
    """A point spread of sum 1, its middle in the middle pixel.

    Raises:
        FileError: It has an even side, another scale, another sum, or lies off its middle.
    """
    planes = read_planes(path, "a point spread")
    psf = planes.first
    shape = " x ".join(map(str, psf.shape))
    if not psf.isfinite().all() or min(psf.shape) < 3 or max(psf.shape) > 201:
        raise FileError(
            f"Wanted a point spread of 3 to 201 finite pixels a side, but {path} is {shape}. "
            "Cut it out around its peak."
        )
    if not all(side % 2 for side in psf.shape):
        raise FileError(
            f"Wanted a point spread of odd sides, its peak in the middle pixel, but {path} is "
            f"{shape}. Shift and cut it."
        )
    total = float(psf.sum())
    if abs(total - 1) > 0.02:
        raise FileError(
            f"Wanted a point spread of sum 1, but that of {path} is {total:.4g}. "
            "Divide it by its sum."
        )
    places = (torch.arange(side, dtype=torch.float64) - side // 2 for side in psf.shape)
    up, across = (
        float((psf.sum(1 - axis) * place).sum() / total) for axis, place in enumerate(places)
    )
    if math.hypot(up, across) > 0.5:
        raise FileError(
            f"Wanted a point spread around its middle pixel, but that of {path} lies "
            f"{across:+.2f}, {up:+.2f} pixels off. Shift it."
        )
    try:
        own = sky_of(planes, None).scale
    except FileError:
        own = sky.scale
    if abs(own - sky.scale) > 0.01 * sky.scale:
        raise FileError(
            f"Wanted a point spread at the image's {sky.scale:.4g} arcsec a pixel, but {path} has "
            f"{own:.4g}. Resample it."
        )
    return psf / total


def write_cube(
    path: Path, values: Float[Tensor, "*planes r c"], frame: Frame, about: Mapping[str, Any] = {}
) -> None:
    """Writes one image or several in float32, with their scale, north up and east to the left.

    Args:
        path: Where.
        values: The pixels, from the lowest row.
        frame: Where they lie.
        about: Keyword -> value of the header.
    """
    hdu = _astropy().PrimaryHDU(values.float().numpy())
    degrees = frame.scale / 3600
    hdu.header.update(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 0.0,
            "CRVAL2": 0.0,
            "CRPIX1": (frame.columns + 1) / 2 - frame.x / frame.scale,
            "CRPIX2": (frame.rows + 1) / 2 - frame.y / frame.scale,
            "CDELT1": -degrees,
            "CDELT2": degrees,
            **about,
        }
    )
    hdu.writeto(path)
