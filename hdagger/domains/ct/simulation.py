"""Counts of photons as a scanner would take them, to try things out on.

Rays pass through the slice's own fine pixels, or through ellipses exactly, several of them to a
bin, and their photons are added; what a restoration inverts has coarser pixels and one ray a bin.
So it is not its own inverse.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from ...errors import FileError, SettingError
from ...volumes import read_volume
from .bodies import AIR, METAL
from .phantom import chest
from .projector import projected
from .scan import Frame, Parallel, Scan

RAYS = 4
"""Of a bin."""

PHANTOM_PIXEL = 2.28
"""Of the slice of a phantom, mm, where 128 of them hold it."""


@dataclass(frozen=True)
class Slices:
    """Slices to scan.

    Attributes:
        x: HU / 1000, ``(slices, rows, columns)``.
        pixel: Side of their square pixels, mm.
        affine: From (column, row, slice) to mm right, front and up; None for nowhere.
    """

    x: Float[Tensor, "slices rows columns"]
    pixel: float
    affine: np.ndarray | None = None


@dataclass(frozen=True)
class Plan:
    """How they are scanned.

    Attributes:
        views: How many there are.
        arc: Over how many degrees they are spread.
        i0: Photons of a ray in air.
        pixels: A side of the slices to restore.
        seed: Of the photons.
    """

    views: int = 23
    arc: float = 180.0
    i0: float = 1e4
    pixels: int = 128
    seed: int = 0

    def scan(self, pixel: float) -> Scan:
        """The geometry: parallel rays, bins as wide as the pixels, over their diagonal."""
        step = math.radians(self.arc) / self.views
        return Scan(
            Frame(self.pixels, self.pixels, pixel),
            Parallel(math.ceil(self.pixels * 2**0.5), pixel),
            tuple(k * step for k in range(self.views)),
        )


@dataclass(frozen=True)
class Simulated:
    """What was counted, and what it is of.

    Attributes:
        counts: ``(slices, views, bins)``.
        i0: Photons of a ray in air.
        scan: The geometry, on the grid to restore.
        truth: HU / 1000 on that grid, ``(slices, pixels, pixels)``.
        affine: Of the truth; None for nowhere.
    """

    counts: Float[Tensor, "slices views bins"]
    i0: float
    scan: Scan
    truth: Float[Tensor, "slices pixels pixels"]
    affine: np.ndarray | None = None


def simulate(slices: Slices, plan: Plan, watch: Callable[[int, int], None]) -> Simulated:
    """Scans slices.

    Args:
        slices: Of slices. Around them is air.
        plan: How.
        watch: Called as (slices done, slices in all).
    """
    count, rows, columns = slices.x.shape
    factor = math.ceil(max(rows, columns) / plan.pixels)
    side = factor * plan.pixels
    above, left = (side - rows) // 2, (side - columns) // 2
    around = (left, side - columns - left, above, side - rows - above)
    x = pad(slices.x.double().clamp(AIR, METAL), around, value=AIR)
    fine = Frame(side, side, slices.pixel)
    scan = plan.scan(factor * slices.pixel)
    through = Scan(fine, scan.detector, scan.angles)
    arrived = []
    for number, one in enumerate(x):
        arrived.append(_arrived(projected(one, through, RAYS)))
        watch(number + 1, count)
    affine = slices.affine
    if affine is not None:
        grid = np.diag([factor, factor, 1.0, 1.0])
        grid[:2, 3] = (factor - 1) / 2 - left, (factor - 1) / 2 - above
        affine = affine @ grid
    truth = avg_pool2d(x[:, None], factor)[:, 0]
    return Simulated(_counted(arrived, plan), plan.i0, scan, truth, affine)


def simulate_phantom(plan: Plan) -> Simulated:
    """Scans a body of ellipses, which the seed decides."""
    scan, body = plan.scan(PHANTOM_PIXEL * 128 / plan.pixels), chest(plan.seed)
    arrived = _arrived(body.line_integrals(scan, angle, RAYS) for angle in scan.angles)
    truth = body.picture(scan.frame)[None]
    return Simulated(_counted([arrived], plan), plan.i0, scan, truth)


def _arrived(views: Iterable[Float[Tensor, "bins rays"]]) -> Float[Tensor, "views bins"]:
    """The share of photons that arrive in each bin, from the line integrals of its rays."""
    return torch.stack([torch.exp(-p).mean(1) for p in views])


def _counted(arrived: Sequence[Tensor], plan: Plan) -> Float[Tensor, "slices views bins"]:
    stream = torch.Generator().manual_seed(plan.seed)
    return torch.poisson(plan.i0 * torch.stack([*arrived]), generator=stream)


def read_slices(path: Path, number: int | None = None) -> Slices:
    """The slices of a volume in HU.

    Args:
        path: See :func:`hdagger.volumes.read_volume`.
        number: Of the slice that is wanted, from 0; None for all.

    Raises:
        HDaggerError: It cannot be read, is not in HU, or its pixels are not square.
    """
    volume = read_volume(path)
    if volume.modality not in ("", "CT"):
        raise FileError(
            f"Wanted CT, but {path} is {volume.modality}. Its values are no attenuation."
        )
    _, down, across = volume.spacing
    if abs(down - across) > 0.01 * across:
        raise FileError(
            f"Wanted square pixels, but those of {path} are {down:.4g} x {across:.4g} mm. "
            "Resample it."
        )
    x, affine = hounsfield(volume.values, str(path)), volume.affine
    if number is not None:
        if not 0 <= number < len(x):
            raise SettingError(
                f"Wanted a slice from 0 to {len(x) - 1}, but got --slice {number}. Leave it out."
            )
        first = np.eye(4)
        first[2, 3] = number
        x, affine = x[[number]], affine @ first
    return Slices(x, across, affine)


def hounsfield(values: Float[Tensor, "slices rows columns"], name: str) -> Tensor:
    """HU / 1000 of a volume's values, which should be HU.

    Raises:
        FileError: They look like something else.
    """
    low, high = float(values.min()), float(values.max())
    padded, raw = low < -1100, low >= 0 and high > 1100
    if padded or raw:
        why, mend = "they are not rescaled", "Add their RescaleIntercept, which is -1024 as a rule"
        if padded:
            why, mend = "there is padding", "Set what is outside of the field of view to -1000"
        raise FileError(
            f"Wanted HU, with air at -1000, but {name} has values of {low:g} to {high:g}: {why}. "
            f"{mend}."
        )
    return values / 1000
