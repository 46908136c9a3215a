"""Regression: the network that tells the mean of x0 given the data, and no sample.

It is the denoiser of a prior whose noise is the damage: shown what stands in the frame instead of
x0 + sigma n, always at the level sigma_data, it learns E[x0 | y] by the mean squared error.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..priors.unet import UNetDenoiser
from ..problem import Problem
from ..tensors import Noise, Signal
from .base import Specialist, in_frame, unlabelled


class Regression(Specialist, UNetDenoiser):
    """E[x0 | y] by one call.

    Args:
        shape: Of the network.
    """

    kind = "regression"
    title: ClassVar[str] = "regression"
    one_answer = True

    def taught(
        self,
        x0: Signal,
        given: Signal,
        sigma: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        level = self.shape.sigma_data
        damage = (given - x0) / level
        return self.loss(x0, torch.full_like(sigma, level), damage, unlabelled(x0))

    @torch.no_grad()
    def restored(self, problem: Problem, noise: Noise) -> tuple[Signal, int]:
        return self(in_frame(problem), torch.tensor(self.shape.sigma_data)), 1
