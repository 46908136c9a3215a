"""Blur kernels, of sum 1, in float64."""

import math
from itertools import product

import torch
from torch import Tensor

from ...errors import SettingError

MOST_SIDE = 513
"""Rows or columns of a kernel."""


def gaussian_taps(deviation: float) -> Tensor:
    """A Gaussian of this standard deviation in pixels, cut at 4 of them: ``(taps,)``."""
    reach = max(1, math.ceil(4 * deviation))
    t = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(-(t**2) / (2 * deviation**2))
    return taps / taps.sum()


def motion_kernel(length: float, angle: float) -> Tensor:
    """A straight line of ``length`` pixels at ``angle`` degrees from the horizontal, square."""
    reach = math.ceil(length / 2)
    t = torch.linspace(-length / 2, length / 2, 64 * reach, dtype=torch.float64)
    rows = reach - t * math.sin(math.radians(angle))
    columns = reach + t * math.cos(math.radians(angle))
    kernel = torch.zeros(2 * reach + 2, 2 * reach + 2, dtype=torch.float64)
    for down, right in product((0, 1), (0, 1)):
        row, column = rows.floor() + down, columns.floor() + right
        weight = (1 - (rows - row).abs()) * (1 - (columns - column).abs())
        kernel.index_put_((row.long(), column.long()), weight, accumulate=True)
    return kernel[:-1, :-1] / kernel[:-1, :-1].sum()


def disk_kernel(radius: float) -> Tensor:
    """A lens out of focus: a disk of ``radius`` pixels, a pixel's share the part it covers."""
    parts, far = 32, math.ceil(radius - 0.5)
    t = (torch.arange((2 * far + 1) * parts, dtype=torch.float64) + 0.5) / parts - far - 0.5
    inside = (t[:, None] ** 2 + t**2 <= radius**2).double()
    kernel = torch.nn.functional.avg_pool2d(inside[None, None], parts)[0, 0]
    return kernel / kernel.sum()


def of_sum_one(kernel: Tensor) -> Tensor:
    """A kernel as it was given, checked and scaled to sum 1, its empty margins cut.

    Args:
        kernel: ``(rows, columns)``, weights in any unit.

    Raises:
        SettingError: It is no such array, too large, or has no sum above 0.
    """
    sides = " x ".join(map(str, kernel.shape))
    if kernel.ndim != 2 or not 0 < max(kernel.shape) <= MOST_SIDE:
        raise SettingError(
            f"Wanted a kernel of rows and columns, at most {MOST_SIDE} each, but got {sides}. "
            "Crop it, or make it smaller together with the picture."
        )
    kernel = kernel.to(torch.float64)
    if not kernel.isfinite().all() or not kernel.sum() > 0:
        raise SettingError(
            f"Wanted a kernel of finite weights with a sum above 0, but got {sides} with the sum "
            f"{float(kernel.sum()):g}. Draw it white on black."
        )
    return trimmed(kernel / kernel.sum())


def trimmed(kernel: Tensor) -> Tensor:
    """A kernel without its empty margins, cut as much on both sides: the centre stays."""
    for axis in (0, 1):
        used = (kernel != 0).any(dim=1 - axis).nonzero()[:, 0]
        margin = min(int(used[0]), kernel.shape[axis] - 1 - int(used[-1]))
        kernel = kernel.narrow(axis, margin, kernel.shape[axis] - 2 * margin)
    return kernel
