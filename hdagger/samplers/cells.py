"""Data that were rounded, taken for what they are: cells, not Gaussians.

Rounded data y say that the coefficients c = L x lie within half a step of y, and nothing
more. With c | x_sigma taken for a Gaussian around L D, the prediction's coefficients move to
their means inside the cells,

    D' = D + pinv(L) (E[c | |c - y| <= 1/2] - L D),    c ~ N(L D, 2 sigma^2 |row of L|^2),

far from the end to the middle, near the end only where D leaves its cell, and then to its
border. No gradient of the prior, and none of the rounding, whose is zero.

References:
    The likelihood is that of Kawar, Song, Ermon and Elad, JPEG Artifact Correction using
    Denoising Diffusion Restoration Models, 2022, https://arxiv.org/abs/2209.11888, who project
    onto the middles of the cells; the mean of a truncated Gaussian is in Johnson, Kotz and
    Balakrishnan, Continuous Univariate Distributions, volume 1, section 10.1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators.quantisation import Quantiser
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Coefficients, Signal
from .base import CorrectedSampler
from .walk import Step

WIDTH2 = 2.0
"""Variance of the prediction's coefficients, in units of what the noise in x gives them.

D's own error would give at most 1; on photographs at quality 10, 2 was best of 1/4 to 16
(benchmarks/jpeg.py)."""


@dataclass(frozen=True)
class Cells(CorrectedSampler):
    """Draws with each prediction's coefficients at their means within the cells of the data."""

    needs = Quantiser
    instead = "DDRM or PiGDM for data that are not rounded"
    enough = 12

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        H = problem.H
        assert isinstance(H, Quantiser)
        D = prior(x, step.sigma)
        coefficients = H.linear(D)
        middle = H.middle(coefficients, problem.y)
        deviation = WIDTH2**0.5 * step.sigma * H.gain
        inside = mean_within(coefficients, deviation, middle - 0.5, middle + 0.5)
        return D + H.back(inside - coefficients, WIDTH2 * step.sigma**2)


def mean_within(
    mean: Coefficients, deviation: Tensor, low: Coefficients, high: Coefficients
) -> Coefficients:
    """E[c | low <= c <= high] for c ~ N(mean, deviation^2).

    Computed in logarithms on the side of the mean where the interval's tail is small; more than
    ten thousand deviations away it is the border.
    """
    a, b = (low - mean) / deviation, (high - mean) / deviation
    above = a + b > 0
    a, b = torch.where(above, -b, a), torch.where(above, -a, b)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    log_mass = log_b + torch.log1p(-torch.exp((log_a - log_b).clamp(max=-1e-12)))
    density = lambda t: torch.exp(-t * t / 2 - math.log(2 * math.pi) / 2 - log_mass)
    shift = density(a) - density(b)
    shift = torch.where(above, -shift, shift)
    near = b > -1e4
    return torch.clamp(torch.where(near, mean + deviation * shift, mean), low, high)
