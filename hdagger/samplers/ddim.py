"""The prior alone: DDIM and, with eta = 1, DDPM.

References:
    Song, Meng and Ermon, Denoising Diffusion Implicit Models, 2021.
    https://arxiv.org/abs/2010.02502
"""

from dataclasses import dataclass

from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Signal
from .base import CorrectedSampler
from .walk import Step


@dataclass(frozen=True)
class DDIM(CorrectedSampler):
    """Draws from the prior; the data are not looked at, only counted."""

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        return prior(x, step.sigma)
