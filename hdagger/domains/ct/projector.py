"""Line integrals through a slice, and the slice of which they are by filtered back projection.

References:
    Joseph, An improved algorithm for reprojecting rays through pixel images, 1982: a ray is
    followed from column to column, or from row to row where it is steep, and reads between the
    two pixels that it passes. https://doi.org/10.1109/TMI.1982.4307572
    Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, sections 3.3 and 3.4.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import SettingError
from ...operators.sparse import Sparse
from .scan import Fan, Frame, Rays, Scan

MOST_ENTRIES = 60_000_000
"""Of a matrix; about 4 GB while it is made."""

Entries = tuple[Int[Tensor, " entries"], Int[Tensor, " entries"], Float[Tensor, " entries"]]


def crossed(rays: Rays, frame: Frame) -> Entries:
    """What rays cross, by Joseph's rule: the ray, the pixel, and the length that counts, mm."""
    x, y = frame.centres()
    steep = rays.direction[:, 0].abs() < rays.direction[:, 1].abs()
    middle = torch.tensor([frame.x, frame.y], dtype=torch.float64)
    found = []
    for is_steep, steps, others in ((False, x, frame.rows), (True, y, frame.columns)):
        ray = (steep == is_steep).nonzero()[:, 0]
        along, across = int(is_steep), int(not is_steep)
        point, direction = rays.point[ray], rays.direction[ray]
        run = (steps - point[:, along, None]) / direction[:, along, None]
        place = point[:, across, None] + run * direction[:, across, None]
        place = (place - middle[across]) / frame.pixel * (1 if is_steep else -1)
        place = place + (others - 1) / 2
        length = (frame.pixel / direction[:, along].abs())[:, None]
        below = place.floor()
        for neighbour in (below, below + 1):
            share = length * (1 - (place - neighbour).abs())
            inside = (neighbour >= 0) & (neighbour < others) & (share > 0)
            number, step = inside.nonzero(as_tuple=True)
            other = neighbour[inside].long()
            row, column = (step, other) if is_steep else (other, step)
            found.append((ray[number], row * frame.columns + column, share[inside]))
    ray, pixel, length = (torch.cat(each) for each in zip(*found, strict=True))
    return ray, pixel, length


class Projector(Sparse):
    """H = mu_water A: a slice's x = HU / 1000 to its line integrals beyond those of water.

    Args:
        scan: The geometry.
        rays: Rays that are averaged over the width of a bin.

    Raises:
        SettingError: There are too many rays for the memory.
    """

    def __init__(self, scan: Scan, rays: int = 1) -> None:
        views, bins = scan.data_shape
        side = max(scan.frame.rows, scan.frame.columns)
        most = MOST_ENTRIES // (2 * side)
        if views * bins * rays > most:
            raise SettingError(
                f"Wanted at most {most} rays through {side} pixels a side, but got {views} views "
                f"of {bins * rays}. Add up neighbouring bins, or leave out views."
            )
        parts = []
        for view, angle in enumerate(scan.angles):
            ray, pixel, length = crossed(scan.rays(angle, rays), scan.frame)
            parts.append((view * bins + ray // rays, pixel, scan.mu_water * length / rays))
        rows, columns, values = (torch.cat(each) for each in zip(*parts, strict=True))
        super().__init__(rows, columns, values, scan.signal_shape, scan.data_shape)
        self.scan = scan


def water(H: Projector) -> Float[Tensor, "views bins"]:
    """mu_water A 1: the line integrals of a grid full of water, which those of x are beyond."""
    return H(torch.ones(1, *H.signal_shape, dtype=torch.float64))[0]


def projected(
    x: Float[Tensor, "rows columns"], scan: Scan, rays: int
) -> Iterator[Float[Tensor, "bins rays"]]:
    """The line integrals of a slice, x = HU / 1000, view by view, without a matrix.

    Args:
        x: Its pixels, on ``scan.frame``.
        scan: The geometry.
        rays: In each bin.
    """
    mu = scan.mu_water * (1 + x.double().flatten())
    for angle in scan.angles:
        ray, pixel, length = crossed(scan.rays(angle, rays), scan.frame)
        total = torch.zeros(scan.detector.bins * rays, dtype=torch.float64)
        yield total.index_add_(0, ray, length * mu[pixel]).unflatten(0, (-1, rays))


def filtered_back_projection(
    p: Float[Tensor, "views bins"], scan: Scan
) -> Float[Tensor, "rows columns"]:
    """x = HU / 1000 of line integrals, by the ramp filter: a start, not an inverse of H.

    A view counts for the angle around it, at most twice as much as is usual; so of a part of a
    turn the rest is missing. Fans should turn once.

    Args:
        p: Line integrals of mu.
        scan: The geometry.
    """
    detector, (x, y) = scan.detector, scan.frame.centres()
    width, place = detector.width_at_axis, detector.places()
    shrink = width / detector.width
    place = shrink * place
    far = detector.source_to_axis if isinstance(detector, Fan) else math.inf
    filtered = _ramp(p.double() / (1 + (place / far) ** 2).sqrt(), width)
    total = torch.zeros(scan.frame.rows, scan.frame.columns, dtype=torch.float64)
    for share, angle, view in zip(_shares(scan.angles), scan.angles, filtered, strict=True):
        cos, sin = math.cos(angle), math.sin(angle)
        nearness = 1 / (1 + (y[:, None] * cos - x * sin) / far)
        s = (x * cos + y[:, None] * sin) * nearness
        total += share * nearness**2 * _between(view, (s - place[0]) / width)
    return total / scan.mu_water - 1


def _ramp(p: Float[Tensor, "views bins"], width: float) -> Float[Tensor, "views bins"]:
    """Views convolved with the ramp filter, which is cut at the bins' own frequency."""
    bins = p.shape[1]
    n = torch.arange(-bins, bins, dtype=torch.float64)
    odd = torch.remainder(n, 2) == 1
    kernel = torch.where(odd, -1 / (math.pi * n * width) ** 2, 0)
    kernel[bins] = 1 / (4 * width**2)
    turned = torch.fft.rfft(kernel.roll(-bins))
    return torch.fft.irfft(torch.fft.rfft(p, 2 * bins) * turned, 2 * bins)[:, :bins] * width


def _shares(angles: tuple[float, ...]) -> list[float]:
    """The angle that each view counts for, modulo pi."""
    turned, order = torch.remainder(torch.tensor(angles, dtype=torch.float64), math.pi).sort()
    gaps = torch.diff(turned, append=turned[:1] + math.pi)
    usual = gaps[gaps > 1e-9].median()
    gaps = gaps.clamp(max=2 * usual)
    shares = torch.empty_like(gaps)
    shares[order] = (gaps + gaps.roll(1)) / 2
    return shares.tolist()


def _between(view: Float[Tensor, " bins"], place: Tensor) -> Tensor:
    """The values of a view between its bins, 0 beyond them."""
    below = place.floor()
    value = torch.zeros_like(place)
    for neighbour in (below, below + 1):
        inside = (neighbour >= 0) & (neighbour < len(view))
        share = 1 - (place - neighbour).abs()
        value += torch.where(inside, share * view[neighbour.long().clamp(0, len(view) - 1)], 0)
    return value
