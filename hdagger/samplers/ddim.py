"""The prior alone: DDIM and, with eta = 1, DDPM.

References:
    Song, Meng and Ermon, Denoising Diffusion Implicit Models, 2021.
    https://arxiv.org/abs/2010.02502
"""

from ..tensors import Signal
from .base import CorrectedSampler, Problem, Step


class DDIM(CorrectedSampler):
    """Draws from the prior; the data are not looked at, only counted."""

    def correct(self, x: Signal, problem: Problem, step: Step) -> Signal:
        return self.prior(x, step.sigma)
