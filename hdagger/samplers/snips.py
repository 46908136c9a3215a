"""Annealed Langevin dynamics in the basis of the operator: SNIPS.

With ybar = (Ut y) / s and the noise sbar = sigma_y / s that it carries, the noise of the data is
taken for a part of that in x. A coefficient of Vt x is ybar and more noise where sigma > sbar,
and its noise is a part of that of ybar where sigma < sbar. With w = min(1, sigma^2 / sbar^2), 0
where nothing is observed, a step of Langevin dynamics at level sigma is

    x + c (w (ybar - x) + (1 - w) (D - x)) + sqrt(2 a) z,
    a = c (sigma^2 - sbar^2) where sigma > sbar,    c sigma^2 (1 - w) elsewhere,

a being the length of the step, and what it multiplies the score of x given y. The state of the
loop is Vt x.

References:
    Kawar, Vaksman and Elad, SNIPS: Solving Noisy Inverse Problems Stochastically, NeurIPS 2021,
    theorem 1 and algorithm 1. https://arxiv.org/abs/2105.14951
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020.
    https://arxiv.org/abs/2006.09011
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..operators.base import SVDOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal, Spectrum
from .base import Sampler
from .ranges import Within
from .walk import Step


@dataclass(frozen=True)
class SNIPS(Sampler[Tensor]):
    """Draws by Langevin dynamics, a few steps at each of 500 levels: 2,500 evaluations.

    The levels are geometric, as published. As c falls and repeats grow the law is that of the
    posterior, blurred by the lowest level.

    Attributes:
        step: c, the length of a step over sigma^2, in (0, 1]; 3.3e-6 / 0.01^2 as published.
        repeats: Steps at each level.
    """

    needs = SVDOperator
    instead = "PiGDM, or DPS for an operator that is only differentiable"
    enough = 500

    eta: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    step: Annotated[float, Within(1e-6, 1, "a share of sigma^2", 0.033)] = 0.033
    repeats: Annotated[int, Within(1, 1000, "a number of steps", 5)] = 5

    def caveat(self, problem: Problem) -> str:
        return "SNIPS takes too few steps to forget its start: what data tell least is too wide."

    def grid(self, levels: Tensor) -> Tensor:
        """Geometric, between the highest level and the lowest above 0."""
        high, low = levels[0].log(), levels[-2].log()
        ramp = torch.linspace(0, 1, len(levels) - 1, dtype=levels.dtype, device=levels.device)
        return torch.cat([torch.lerp(high, low, ramp).exp(), levels[-1:]])

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Spectrum:
        return sigma * noise(tuple(problem.spectral.y_bar.shape))

    def advance(
        self, x: Spectrum, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Spectrum:
        data, sigma2 = problem.spectral, step.sigma**2
        w = (sigma2 / data.s_bar**2).clamp(max=1)
        length = torch.where(w < 1, sigma2 * (1 - w), sigma2 - data.s_bar**2)
        spread = (2 * self.step * length).sqrt()
        for _ in range(self.repeats):
            D = data.H.Vt(prior(data.H.V(x), step.sigma))
            moved = w * (data.y_bar - x) + (1 - w) * (D - x)
            x = x + self.step * moved + spread * noise(tuple(x.shape))
        return x

    def finish(self, x: Spectrum, /, problem: Problem) -> Signal:
        return problem.spectral.H.V(x)
