"""Solvers of second order for the corrected samplers, so that 20 steps do what 100 do.

In the time t = -log share of :class:`~hdagger.samplers.base.Spread` the ODE reads
dx/dt = m - x, where m is the prediction D if the step reckons with no variance. An Euler step,
which is DDIM's, holds m as it is at the start; these take m at the middle of the step. Fresh
noise is added afterwards, as in every step.

They are for samplers whose correction is a function of x and sigma alone: the posterior
weighting of PiGDM, TMPD, reconstruction guidance, DDIM. The rules of DPS and of PiGDM's paper
depend on the step, and solve no equation.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    algorithm 1. https://arxiv.org/abs/2206.00364
    Lu et al., DPM-Solver++, 2022, algorithm 2 (2M). https://arxiv.org/abs/2211.01095
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..tensors import Level, Noise, Signal
from .base import CorrectedSampler, Problem, Step, Wrapper


class Heun(Wrapper[Tensor, CorrectedSampler]):
    """m is the mean of what it is at both ends: two evaluations a step, any eta.

    Args:
        sampler: Whose correction is followed; its eta and step variance are kept.
    """

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        return self.sampler.start(problem, sigma, noise)

    def advance(self, x: Signal, problem: Problem, step: Step, noise: Noise) -> Signal:
        D = self.sampler.correct(x, problem, step)
        end = step.settle(D, x)
        if step.down > 0:
            m = step.spread.centre(D, x, step.sigma)
            D = self.sampler.correct(end, problem, replace(step, sigma=step.down))
            change = step.spread.centre(D, end, step.down) - m
            share = step.spread.share(step.sigma, step.down)
            end = end + step.spread.times((1 - share) / 2, change)
        return step.refresh(end, noise)

    def finish(self, x: Signal, problem: Problem) -> Signal:
        return x


@dataclass(frozen=True)
class Trail:
    """Where the multistep solver is, and where it was.

    Attributes:
        x: The state.
        m: The centre at the step before; None at the start.
        sigma: The level that it belongs to.
    """

    x: Signal
    m: Signal | None
    sigma: Level


class Multistep(Wrapper[Trail, CorrectedSampler]):
    """m at the middle is extrapolated from this step and the last: one evaluation a step.

    Second order with eta = 0; with fresh noise the extrapolation follows the noise too, and
    the order is one.

    Args:
        sampler: Whose correction is followed; its eta and step variance are kept.
    """

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Trail:
        return Trail(self.sampler.start(problem, sigma, noise), None, sigma)

    def advance(self, trail: Trail, /, problem: Problem, step: Step, noise: Noise) -> Trail:
        x, spread = trail.x, step.spread
        D = self.sampler.correct(x, problem, step)
        m = spread.centre(D, x, step.sigma)
        end = step.settle(D, x)
        if trail.m is not None:
            share = spread.share(step.sigma, step.down)
            past = spread.share(trail.sigma, step.sigma)
            ahead = (1 - share) * share.log() / (2 * past.log())
            end = end + spread.times(torch.where(share > 0, ahead, 0), m - trail.m)
        return Trail(step.refresh(end, noise), m, step.sigma)

    def finish(self, trail: Trail, /, problem: Problem) -> Signal:
        return trail.x
