"""From the files of a lensed image to a measurement."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...errors import FileError, SettingError
from ...measurement import Measurement
from .fits import Sky, deviation, flagged, noise_in, read_planes, read_psf, sky_of
from .lens_file import LensFile
from .lenses import Lens
from .shooting import Frame
from .view import View

BRIGHT = 4.0
"""Deviations of the mean of three by three pixels from which on they surely show the source."""

ROOM = 1.4
"""Side of the source's frame over what the bright pixels show of it, where nobody says it."""

OUTSIDE = 0.02
"""Share of the bright pixels that may lie outside of the source's frame."""

SMALLEST = 16
"""Pixels a side of an image, at least."""


@dataclass(frozen=True)
class Files:
    """What a command names.

    Attributes:
        image: A FITS file.
        lens: A lens.toml.
        noise: A FITS file, or None for the image's own extensions.
        sigma: One deviation for all pixels, in the units of the image.
        psf: A FITS file, or None for none.
        pixel_scale: Of the image, arcsec, or None for that of its WCS.
        source_size: Side of the source's frame, arcsec, or None for what lens.toml says.
        pixels: A side of the source.
    """

    image: Path
    lens: Path
    noise: Path | None = None
    sigma: float | None = None
    psf: Path | None = None
    pixel_scale: float | None = None
    source_size: float | None = None
    pixels: int = 64


@dataclass(frozen=True)
class Reading:
    """An image as it was read.

    Attributes:
        measurement: What was measured.
        view: Lens and frames.
        sky: How the image lies on the sky.
        notes: What is to be told, a sentence each.
    """

    measurement: Measurement
    view: View
    sky: Sky
    notes: list[str]


def read(files: Files) -> Reading:
    """Reads an image, its noise, its point spread and its lens, and holds them against each other.

    Raises:
        HDaggerError: A file cannot be read, or does not fit the others.
    """
    planes = read_planes(files.image, "an image")
    y = planes.first
    if min(y.shape) < SMALLEST:
        raise FileError(
            f"Wanted an image of {SMALLEST} pixels a side or more, but {files.image} has "
            f"{y.shape[0]} x {y.shape[1]}. Cut it out with more sky around."
        )
    sky = sky_of(planes, files.pixel_scale)
    masked = flagged(planes)
    noise = _noise(files, y, masked, noise_in(planes))
    noise = torch.where(masked, math.inf, noise)
    y = torch.where(noise.isfinite(), y, 0)
    if not noise.isfinite().any():
        raise FileError(f"Wanted some pixels that were seen, but all of {files.image} are masked.")
    psf = read_psf(files.psf, sky) if files.psf else None
    said = LensFile.read(files.lens, sky)
    if files.source_size is not None:
        said = replace(said, size=files.source_size)
    rows, columns = y.shape
    image = Frame(rows, columns, sky.scale)
    bright = bright_pixels(y, noise)
    check_lens_light(said.lens, y, noise, image)
    view = View(said.lens, source_frame(said, image, bright, files.pixels), image)
    arrays = {} if psf is None else {"psf": psf}
    if said.deviations:
        arrays["deviations"] = torch.tensor(said.deviations, dtype=torch.float64)
    shape = (1, files.pixels, files.pixels)
    measurement = Measurement(y[None], str(view), noise[None], arrays, shape, "lensing")
    notes = [str(sky)]
    if hidden := int((~noise.isfinite()).sum()):
        notes.append(f"{hidden} of {noise.numel()} pixels are masked")
    if psf is None:
        notes.append("no point spread: taken for a point")
    return Reading(measurement, view, sky, notes)


def read_truth(path: Path, reading: Reading) -> Float[Tensor, "h w"]:
    """The true source, on the pixels of the reading's source.

    Raises:
        FileError: It has others.
    """
    return read_source(path, reading.view.source.rows, reading.view.source.columns)


def read_source(path: Path, rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    """A source of so many pixels.

    Raises:
        FileError: It has others.
    """
    truth = read_planes(path, "a source").first
    if tuple(truth.shape) != (rows, columns) or not truth.isfinite().all():
        raise FileError(
            f"Wanted a source of {rows} x {columns} finite pixels, but {path} has "
            f"{truth.shape[0]} x {truth.shape[1]}. Resample it to the frame in the lens's file."
        )
    return truth


def _noise(
    files: Files, y: Tensor, masked: Tensor, own: Tensor | None
) -> Float[Tensor, "rows columns"]:
    if files.sigma is not None:
        if files.noise is not None:
            raise SettingError("Wanted --noise or --sigma, but got both. Leave one out.")
        if not 0 < files.sigma < math.inf:
            raise SettingError(f"Wanted noise above 0, but got --sigma {files.sigma:g}.")
        return torch.full_like(y, files.sigma)
    if files.noise is not None:
        planes = read_planes(files.noise, "a noise map")
        found = noise_in(planes)
        if found is None:
            found = deviation(planes.first, "ERR", files.noise)
        if found.shape != y.shape:
            raise FileError(
                f"Wanted noise for {y.shape[0]} x {y.shape[1]} pixels, but {files.noise} has "
                f"{found.shape[0]} x {found.shape[1]}. Cut out the same part."
            )
        return found
    if own is None:
        blank = y[~masked]
        spread = 1.4826 * float((blank - blank.median()).abs().median())
        raise FileError(
            f"Wanted the noise of {files.image}, but it has no ERR, VAR or WHT. "
            f"Give --noise FILE, or --sigma {spread:.3g}, which the blank sky shows."
        )
    return own


def bright_pixels(
    y: Float[Tensor, "rows columns"], noise: Float[Tensor, "rows columns"]
) -> Bool[Tensor, "rows columns"]:
    """The pixels that surely show the source."""
    weight = noise.square().reciprocal()
    total = avg_pool2d(torch.stack([weight * y, weight])[:, None], 3, 1, 1)[:, 0] * 9
    return total[0] > BRIGHT * total[1].clamp(min=1e-300).sqrt()


def source_frame(
    said: LensFile, image: Frame, bright: Bool[Tensor, "rows columns"], pixels: int
) -> Frame:
    """The frame of the source: as said, or around what the bright pixels show.

    Raises:
        SettingError: There are no bright pixels to go by, or too many lie outside.
    """
    x, y = (place[bright] for place in said.lens.traced(*image.centres()))
    if len(x) == 0:
        if None in (said.x, said.y, said.size):
            raise SettingError(
                "Wanted an image that shows the source, but nothing stands out of its noise. "
                "Say where it is: x, y and size under [source] in the lens's file."
            )
        return Frame(pixels, pixels, said.size / pixels, said.x, said.y)  # pyright: ignore
    low, high = (
        torch.stack([v.quantile(q) for v in (x, y)]) for q in (OUTSIDE / 4, 1 - OUTSIDE / 4)
    )
    middle = (low + high) / 2
    centre = (
        float(middle[0]) if said.x is None else said.x,
        float(middle[1]) if said.y is None else said.y,
    )
    far = torch.maximum((high - torch.tensor(centre)).abs(), (low - torch.tensor(centre)).abs())
    enough = 2 * float(far.max()) * pixels / (pixels - 1)
    size = ROOM * enough if said.size is None else said.size
    frame = Frame(pixels, pixels, size / pixels, *centre)
    outside = 1 - float(frame.holds(x, y).double().mean())
    if outside > OUTSIDE:
        raise SettingError(
            f"Wanted a source frame that holds what the image shows, but {100 * outside:.0f} % of "
            f"its bright pixels come from outside of {size:.3g} arcsec. "
            f"Give --source-size {1.05 * enough:.2f}, or mend the lens."
        )
    return frame


def check_lens_light(
    lens: Lens,
    y: Float[Tensor, "rows columns"],
    noise: Float[Tensor, "rows columns"],
    image: Frame,
) -> None:
    """Refuses an image in whose middle the lens still shines.

    Raises:
        SettingError: The brightest pixels lie well within half of the Einstein radius.
    """
    mass = next((part for part in lens.parts if hasattr(part, "einstein_radius")), None)
    if mass is None:
        return
    x, up = image.centres()
    inside = torch.hypot(x - mass.x, up - mass.y) < max(mass.einstein_radius / 3, image.scale)
    seen = noise.isfinite()
    smooth = avg_pool2d(torch.where(seen, y, 0)[None, None], 3, 1, 1)[0, 0]
    level = float(noise[seen].median())
    centre = smooth[inside & seen]
    rest = smooth[~inside & seen]
    if len(centre) and len(rest) and float(centre.max()) > max(float(rest.max()), 5 * level):
        raise SettingError(
            "Wanted an image of the source alone, but it is brightest at the lens "
            f"({float(centre.max()):.3g}, elsewhere {float(rest.max()):.3g}). "
            "Subtract the light of the lens, or mask it with NaN."
        )
