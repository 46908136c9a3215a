"""Solvers of the ODE between two noise levels, so that 20 steps do what 100 do.

In the time t = -log share of :class:`~hdagger.samplers.walk.Spread` the ODE reads
dx/dt = m - x, where m is the prediction D if the step assumes no variance. Euler's step,
which is DDIM's, holds m as it is at the start; the others take m at the middle of the step.
Fresh noise is added afterwards, as in every step.

All but Euler's are for corrections that are a function of x and sigma alone.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    algorithm 1. https://arxiv.org/abs/2206.00364
    Lu et al., DPM-Solver++, 2022, algorithm 2 (2M). https://arxiv.org/abs/2211.01095
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from ..tensors import Level, Signal
from .walk import Step

Correct: TypeAlias = Callable[[Signal, Step], Signal]
"""D': the prediction of the clean signal at x, moved towards the data."""


@dataclass(frozen=True)
class Trail:
    """Where a solver is, and where it was.

    Attributes:
        x: The state.
        m: The centre at the step before; None at the start.
        sigma: The level that m belongs to; None at the start.
    """

    x: Signal
    m: Signal | None = None
    sigma: Level | None = None


def euler(correct: Correct, trail: Trail, step: Step) -> Trail:
    """One evaluation a step; first order."""
    return Trail(step.settle(correct(trail.x, step), trail.x))


def heun(correct: Correct, trail: Trail, step: Step) -> Trail:
    """m is the mean of what it is at both ends: two evaluations a step, any eta."""
    x, spread = trail.x, step.spread
    D = correct(x, step)
    end = step.settle(D, x)
    if step.down > 0:
        m = spread.centre(D, x, step.sigma)
        D = correct(end, replace(step, sigma=step.down))
        change = spread.centre(D, end, step.down) - m
        share = spread.share(step.sigma, step.down)
        end = end + spread.times((1 - share) / 2, change)
    return Trail(end)


def multistep(correct: Correct, trail: Trail, step: Step) -> Trail:
    """m at the middle is extrapolated from this step and the last: one evaluation a step.

    Second order with eta = 0; with fresh noise the extrapolation follows the noise too, and
    the order is one.
    """
    x, spread = trail.x, step.spread
    D = correct(x, step)
    m = spread.centre(D, x, step.sigma)
    end = step.settle(D, x)
    if trail.m is not None and trail.sigma is not None:
        share = spread.share(step.sigma, step.down)
        past = spread.share(trail.sigma, step.sigma)
        ahead = (1 - share) * share.log() / (2 * past.log())
        end = end + spread.times(torch.where(share > 0, ahead, 0), m - trail.m)
    return Trail(end, m, step.sigma)


SOLVERS: Mapping[str, Callable[[Correct, Trail, Step], Trail]] = {
    "euler": euler,
    "heun": heun,
    "multistep": multistep,
}
"""From a level to ``step.down``, by name."""
