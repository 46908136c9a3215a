"""Guidance by the gradient of the squared or plain misfit, for any differentiable operator."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Signal
from .base import CorrectedSampler, denoise_and_pull_back, descent
from .ranges import AboveZero
from .walk import Step


@dataclass(frozen=True)
class ReconstructionGuidance(CorrectedSampler):
    """D' = D + w J^T H^T (y - H D): minus the gradient of w |y - H D|^2 / 2.

    It is the score of a likelihood of variance sigma^2 / w; the noise of the data and the
    conditioning of H are not looked at.

    Attributes:
        strength: w, above 0.

    References:
        Ho et al., Video Diffusion Models, 2022, eq. 7. https://arxiv.org/abs/2204.03458
    """

    enough = 100

    strength: Annotated[float, AboveZero()] = 1.0

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        def squared(e: Tensor) -> Tensor:
            return e.abs().square().sum() / 2

        D, _, pull = denoise_and_pull_back(
            prior, x, step.sigma, lambda D: descent(D, problem, squared)
        )
        return D + self.strength * pull


@dataclass(frozen=True)
class DPS(CorrectedSampler):
    """Diffusion posterior sampling: a step of fixed length down the misfit's norm.

    After each step x moves by ``zeta sqrt((1 + lower^2) (1 + sigma^2)) J^T H^T e / |e|``, with
    e = y - H D and its norm taken sample by sample. Nothing is clipped. The strength is not
    free of scale: fewer steps want a larger one.

    Attributes:
        strength: zeta, above 0; 0.3 to 1 at 1000 steps in the paper's code.

    References:
        Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, ICLR
        2023, algorithm 1. https://arxiv.org/abs/2209.14687
    """

    any_solver = False
    enough = 200

    strength: Annotated[float, AboveZero()] = 1.0

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        def norms(e: Tensor) -> Tensor:
            return torch.linalg.vector_norm(e.flatten(1), dim=1).sum()

        D, _, pull = denoise_and_pull_back(
            prior, x, step.sigma, lambda D: descent(D, problem, norms)
        )
        scale = ((1 + step.lower**2) * (1 + step.sigma**2)).sqrt()
        return D + self.strength * scale * pull / (1 - step.keep)
