"""A variational posterior of one point, fitted by denoising at every level: RED-diff.

With x = mu + sigma z at each level of the walk, from the highest to the lowest, mu takes a step of
Adam down

    |y - H mu|^2 / 2m + strength <mu - D(x), mu> / n,    no gradient through mu - D(x),

for m data and n elements. mu - D(x) is sigma (eps(x) - z): the weight of the papers, sigma times
strength, and the error of the network's noise. RED with a level that falls, in short.

References:
    Mardani, Song, Kautz and Vahdat, A Variational Perspective on Solving Inverse Problems with
    Diffusion Models, ICLR 2024, proposition 2 and algorithm 1. https://arxiv.org/abs/2305.04391
    Kingma and Ba, Adam, 2015. https://arxiv.org/abs/1412.6980
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..operators.base import PinvOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal
from .base import Sampler, descent
from .ranges import AboveZero
from .walk import Step

BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Descent:
    """Where the optimisation is: mu, and the moments of its gradient that Adam keeps."""

    mu: Signal
    adam: torch.optim.Adam


@dataclass(frozen=True)
class REDDiff(Sampler[Descent]):
    """One answer, which the noise of the seed moves a little. No backward pass of the prior.

    Attributes:
        rate: Of Adam, in the units of the signal; 0.1 to 0.5 in the authors' runs.
        strength: lambda of the paper: how much the prior counts.
    """

    needs = PinvOperator
    instead = "DPS"
    enough = 1000

    eta: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    rate: Annotated[float, AboveZero(0.1)] = 0.1
    strength: Annotated[float, AboveZero(0.25)] = 0.25

    def caveat(self, problem: Problem) -> str:
        return "RED-diff is no sampler: its answers differ far less than the posterior does."

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Descent:
        assert isinstance(problem.H, PinvOperator)
        mu = problem.H.pinv(problem.y).clone()
        return Descent(mu, torch.optim.Adam([mu], self.rate, BETAS))

    def advance(
        self, at: Descent, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Descent:
        mu, m, n = at.mu, problem.H.data_size, at.mu[0].numel()
        D = prior(mu + step.sigma * noise(tuple(mu.shape)), step.sigma)

        def misfit(e: Tensor) -> Tensor:
            return e.abs().square().sum() / (2 * m)

        mu.grad = self.strength * (mu - D) / n - descent(mu.clone(), problem, misfit)
        at.adam.step()
        return at

    def finish(self, at: Descent, /, problem: Problem) -> Signal:
        return at.mu
