"""What is done without a learned prior: filtered back projection, SIRT, and total variation.

References:
    Gregor and Benson, Computational analysis and improvement of SIRT, 2008.
    https://doi.org/10.1109/TMI.2008.923696
    Sidky, Jorgensen and Pan, Convex optimization problem prototyping for image reconstruction in
    computed tomography with the Chambolle-Pock algorithm, 2012. https://arxiv.org/abs/1111.5632
    Pock and Chambolle, Diagonal preconditioning for first order primal-dual algorithms in convex
    optimization, 2011: its steps. https://doi.org/10.1109/ICCV.2011.6126441
"""

import torch
from torch import Tensor

from hdagger.operators.base import LinearOperator
from hdagger.problem import Problem

AIR = -1.0
"""The lowest x: attenuation is not negative."""


def sirt(H: LinearOperator, y: Tensor, iterations: int = 100) -> Tensor:
    """x from air on: each step spreads a ray's residual over its pixels by their lengths.

    Args:
        H: Line integrals of x.
        y: Data, ``(views, bins)``.
        iterations: How many.
    """
    ones = torch.ones(1, *H.signal_shape, dtype=torch.float64)
    rays, pixels = over(H(ones)), over(H.adjoint(torch.ones_like(y[None])))
    x = AIR * ones
    for _ in range(iterations):
        x = (x + pixels * H.adjoint(rays * (y - H(x)))).clamp(min=AIR)
    return x[0, 0]


def total_variation(problem: Problem, strength: float, iterations: int = 400) -> Tensor:
    """Minimises |y - H x|^2 / 2 + strength TV(x) over x from air on, noise being 1.

    Args:
        problem: Data over their noise, one row.
        strength: Of the variation.
        iterations: Of primal-dual splitting, with a step of its own for each pixel and each ray.
    """
    H, y = problem.H, problem.y
    assert isinstance(H, LinearOperator)
    ones = torch.ones(1, *H.signal_shape, dtype=torch.float64)
    sums = H.adjoint(torch.ones_like(y))
    scale = sums.mean() / 4  # of differences, which then count as much as rays
    rays, pixels = over(H(ones)), over(sums + 4 * scale)
    x = bar = AIR * ones
    dual, slopes = torch.zeros_like(y), torch.zeros(2, *H.signal_shape[1:], dtype=torch.float64)
    for _ in range(iterations):
        dual = (dual + rays * (H(bar) - y)) / (1 + rays)
        slopes = slopes + _gradient(bar[0, 0]) / 2
        slopes = slopes / (slopes.norm(dim=0) * (scale / strength)).clamp(min=1)
        back = H.adjoint(dual) + scale * _gradient_adjoint(slopes)
        moved = (x - pixels * back).clamp(min=AIR)
        x, bar = moved, 2 * moved - x
    return x[0, 0]


def over(sums: Tensor) -> Tensor:
    """One over each, 0 for 0."""
    return torch.where(sums > 0, 1 / sums, 0)


def _gradient(x: Tensor) -> Tensor:
    g = torch.zeros(2, *x.shape, dtype=x.dtype)
    g[0, :-1], g[1, :, :-1] = x[1:] - x[:-1], x[:, 1:] - x[:, :-1]
    return g


def _gradient_adjoint(g: Tensor) -> Tensor:
    x = torch.zeros_like(g[0])
    x[1:] += g[0, :-1]
    x[:-1] -= g[0, :-1]
    x[:, 1:] += g[1, :, :-1]
    x[:, :-1] -= g[1, :, :-1]
    return x
