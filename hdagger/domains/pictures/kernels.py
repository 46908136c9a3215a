"""Blur kernels, of sum 1, in float64."""

import math
from itertools import product

import torch
from torch import Tensor


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
