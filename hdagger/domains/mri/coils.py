"""Coils: what each of them sees, and the noise that they share."""

import math

import torch
from jaxtyping import Complex
from torch import Tensor

from ...errors import SettingError

Maps = Complex[Tensor, "coils rows columns"]

RADIUS = 1.5
"""Of the ring on which the coils of a birdcage lie, over half of the field of view."""


def birdcage(coils: int, rows: int, columns: int) -> Maps:
    """The maps of a ring of coils around a slice: closest is brightest, phases turn with the ring.

    References:
        Roemer et al., The NMR phased array, 1990. A birdcage in simulations is a coil whose
        sensitivity falls with the distance, and whose phase is that of the direction to it.
    """
    y = (torch.arange(rows, dtype=torch.float64) - rows // 2) / (rows / 2)
    x = (torch.arange(columns, dtype=torch.float64) - columns // 2) / (columns / 2)
    angle = 2 * math.pi * torch.arange(coils, dtype=torch.float64) / coils
    dy = y[:, None] - RADIUS * angle.sin()[:, None, None]
    dx = x - RADIUS * angle.cos()[:, None, None]
    turn = torch.atan2(dx, -dy) - angle[:, None, None]
    return of_unit_length(torch.polar(1 / torch.hypot(dx, dy), turn))


def of_unit_length(maps: Maps) -> Maps:
    """Maps whose squares add up to 1 wherever there are any, which makes the image the one of
    least variance (MVUE) and leaves the noise of the data as it is."""
    length = maps.abs().square().sum(0).sqrt()
    return torch.where(length > 0, maps / length.clamp(min=1e-300), 0)


def covariance(noise: Complex[Tensor, "coils samples"]) -> Complex[Tensor, "coils coils"]:
    """Of the noise that coils share: Psi, in units of one real component."""
    return noise @ noise.mH / (2 * noise.shape[1])


def whitener(
    psi: Complex[Tensor, "coils coils"],
) -> tuple[Complex[Tensor, "coils coils"], float]:
    """W = s L^-1 with Psi = L L^H, after which all coils have noise of the deviation s; and s.

    s is the geometric mean of the deviations, so that images keep about their units.

    Raises:
        SettingError: A coil has no noise, or that of another one.
    """
    factor, failed = torch.linalg.cholesky_ex(psi)
    if int(failed):
        raise SettingError(
            "Wanted noise of each coil's own, but the coils' noise has a singular covariance. "
            "Remove dead coils, or give --sigma."
        )
    s = math.exp(float(factor.diagonal().real.log().mean()))
    return s * torch.linalg.inv(factor), s
