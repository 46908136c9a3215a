"""Coil maps from the middle of k-space alone.

Within a small window, k-space of several coils is predictable: the windows span a space of fewer
dimensions than they have numbers. The maps are, at every pixel, what a projection on that space
leaves as it is.

References:
    Uecker et al., ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI, 2014.
    https://doi.org/10.1002/mrm.24751
"""

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from ...errors import SettingError
from .coils import Maps
from .kspace import to_image

CALIBRATION = 24
"""Lines in the middle of k-space, and points of each."""

KERNEL = 6
"""A side of the windows."""

THRESHOLD = 0.02
"""Share of the largest singular value from which on a window's vector is signal."""


def espirit(kspace: Complex[Tensor, "coils rows columns"], mask: Bool[Tensor, "..."]) -> Maps:
    """Maps of unit length, without a phase in the first coil, at every pixel.

    Args:
        kspace: Its noise of one deviation in all coils.
        mask: Which lines, or points, were measured.

    Raises:
        SettingError: The middle was not measured.
    """
    coils, rows, columns = kspace.shape
    points = mask.expand(rows, columns)
    middle = tuple(
        slice(n // 2 - CALIBRATION // 2, n // 2 + CALIBRATION // 2) for n in points.shape
    )
    if min(rows, columns) < CALIBRATION or not points[middle].all():
        raise SettingError(
            f"Wanted {CALIBRATION} fully measured lines in the middle of k-space to estimate the "
            f"coil maps, but got {centre_lines(points)}. Give --maps FILE, of shape "
            f"{(coils, rows, columns)}."
        )
    windows = kspace[:, *middle].unfold(1, KERNEL, 1).unfold(2, KERNEL, 1)
    matrix = windows.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)
    _, s, adjoint = torch.linalg.svd(matrix, full_matrices=False)
    kernels = adjoint[s > THRESHOLD * s[0]].conj().unflatten(1, (coils, KERNEL, KERNEL))
    total = kspace.new_zeros(rows, columns, coils, coils)
    first = rows // 2 - KERNEL // 2, columns // 2 - KERNEL // 2
    for kernel in kernels:
        wide = kspace.new_zeros(coils, rows, columns)
        wide[:, first[0] : first[0] + KERNEL, first[1] : first[1] + KERNEL] = kernel
        seen = to_image(wide.conj()).movedim(0, -1)
        total += seen[..., :, None] * seen[..., None, :].conj()
    vector = torch.linalg.eigh(total)[1][..., -1].movedim(-1, 0)
    return vector * torch.polar(torch.ones_like(vector[0].real), -vector[0].angle())


def centre_lines(points: Bool[Tensor, "rows columns"]) -> int:
    """How many lines around the middle were fully measured."""
    lines = points.all(0).tolist()
    middle = len(lines) // 2
    first, last = middle, middle
    while first > 0 and lines[first - 1]:
        first -= 1
    while last < len(lines) and lines[last]:
        last += 1
    return last - first
