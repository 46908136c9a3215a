"""From a sinogram to the measurements of its slices."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import FileError, SettingError
from ...files import check_file
from ...measurement import Measurement
from .judgement import WEDGE
from .projector import Projector, water
from .scan import Frame, Scan
from .simulation import hounsfield
from .sinograms import GRID, Said, Sinogram, read_sinogram

ROOM = 1.05
"""Side of the grid over what the views show of the body, where nobody says it."""

SHOWN = 0.05
"""Share of the largest line integral from which on a ray passes the body."""


@dataclass(frozen=True)
class Reading:
    """A scan as it was read.

    Attributes:
        sinogram: What was measured.
        scan: Its geometry, and the grid of the slices.
        measurements: Of the slices that are wanted.
        numbers: Of these slices, from 0.
        notes: What is to be told, a sentence each.
    """

    sinogram: Sinogram
    scan: Scan
    measurements: list[Measurement]
    numbers: list[int]
    notes: list[str]

    @property
    def affine(self) -> np.ndarray | None:
        """From (column, row, slice) to mm, of the slices that are wanted; None if unknown."""
        affine = self.sinogram.affine
        if affine is None:
            return None
        first = np.eye(4)
        first[2, 3] = self.numbers[0]
        return affine @ first


def read(
    path: Path,
    said: Said,
    pixels: int = 128,
    pixel: float | None = None,
    number: int | None = None,
) -> Reading:
    """Reads a sinogram, and puts a grid about the axis.

    The noise is that of the photons, and the deviation between a slice and its pixels (``GRID``).

    Args:
        path: The file.
        said: What a command says of it.
        pixels: A side of the grid.
        pixel: Side of a pixel, mm; None for what the file says, or for what holds the body.
        number: Of the slice that is wanted, from 0; None for all.

    Raises:
        HDaggerError: The file cannot be read, or does not fit.
    """
    sinogram = read_sinogram(path, said)
    count = len(sinogram.p)
    if number is not None and not 0 <= number < count:
        raise SettingError(
            f"Wanted a slice from 0 to {count - 1}, but got --slice {number}. Leave it out."
        )
    notes = list(sinogram.notes)
    side = pixel or sinogram.pixel or pixel_that_holds(sinogram, pixels)
    scan = Scan(Frame(pixels, pixels, side), sinogram.detector, sinogram.angles, sinogram.mu_water)
    if cut := views_cut_off(sinogram):
        notes.append(
            f"the body reaches beyond the detector in {cut} of {len(scan.angles)} views; what "
            "lies beyond the grid is taken for air"
        )
    if scan.unseen()[1] > WEDGE:
        notes.append(f"{math.degrees(scan.unseen()[1]):.0f} degrees of 180 were not seen")
    notes.append(f"{pixels} x {pixels} pixels of {side:.3g} mm")
    known = water(Projector(scan))
    numbers = list(range(count)) if number is None else [number]
    measurements = [measured(sinogram.p[k], sinogram.noise[k], scan, known) for k in numbers]
    return Reading(sinogram, scan, measurements, numbers, notes)


def measured(
    p: Float[Tensor, "views bins"],
    noise: Float[Tensor, "views bins"],
    scan: Scan,
    known: Float[Tensor, "views bins"],
) -> Measurement:
    """The measurement of a slice.

    Args:
        p: Line integrals of mu.
        noise: Their deviation by photons; that of the pixels is added.
        scan: The geometry.
        known: The line integrals of water: see :func:`.projector.water`.
    """
    grid = GRID * scan.mu_water * scan.frame.pixel
    deviation = (noise.square() + grid**2).sqrt()
    return Measurement(p - known, str(scan), deviation, {}, scan.signal_shape, "ct")


def pixel_that_holds(sinogram: Sinogram, pixels: int) -> float:
    """Side of the pixels of a grid that holds what the views show, mm."""
    detector = sinogram.detector
    place = detector.places().abs() * detector.width_at_axis / detector.width
    largest = sinogram.p.amax((0, 1))
    shown = place[largest > SHOWN * float(sinogram.p.max())]
    reach = float(shown.max() if len(shown) else place.max()) + detector.width_at_axis / 2
    return ROOM * 2 * reach / pixels


def views_cut_off(sinogram: Sinogram) -> int:
    """How many views see the body in their outermost bin."""
    ends = sinogram.p[:, :, [0, -1]] / sinogram.noise[:, :, [0, -1]].clamp(max=1e300)
    passes = sinogram.p[:, :, [0, -1]] > SHOWN * sinogram.p.max()
    return int((passes & (ends > 5)).any(2).any(0).sum())


def read_truth(path: Path, reading: Reading) -> Float[Tensor, "slices rows columns"]:
    """The slices as they are, HU / 1000, on the reading's grid; as .npy or NIfTI in HU.

    Raises:
        FileError: There are others.
    """
    frame, every = reading.scan.frame, len(reading.sinogram.p)
    x = read_slices(path, (1, frame.rows, frame.columns), (every, frame.rows, frame.columns))
    return x if len(x) == len(reading.numbers) else x[reading.numbers]


def read_slices(path: Path, *shapes: tuple[int, ...]) -> Float[Tensor, "slices rows columns"]:
    """Slices of a .npy file or NIfTI in HU, as HU / 1000.

    Args:
        path: The file.
        shapes: That they may have, ``(slices, rows, columns)``.

    Raises:
        FileError: They have another, or cannot be read.
    """
    if path.suffix == ".npy":
        check_file(path, "slices in HU")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # as large as it says
            values = torch.from_numpy(np.array(array, np.float32))
        except (OSError, ValueError, EOFError) as error:
            raise FileError(
                f"Wanted slices in HU, but {path} cannot be read ({error}). Save an array."
            ) from error
    else:
        from ...volumes import read_volume

        values = read_volume(path).values
    values = values[None] if values.ndim == 2 else values
    if tuple(values.shape) not in shapes:
        slices, rows, columns = shapes[-1]
        raise FileError(
            f"Wanted {slices} slices of {rows} x {columns} pixels, but {path} has "
            f"{' x '.join(map(str, values.shape))}. Average it onto that grid."
        )
    return hounsfield(values, str(path))
