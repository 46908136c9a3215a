"""Decoupled annealing posterior sampling: DAPS.

At each level the ODE of the prior is followed down to a clean signal x0, the data move a draw
around it, and all of the next level's noise is fresh:

    x0 = ODE(x),    x0' ~ N(x0, sigma^2 I) given y,    x' = x0' + lower z.

References:
    Zhang, Chu, Berner, Meng, Anandkumar and Song, Improving Diffusion Inverse Problem Solving with
    Decoupled Noise Annealing, CVPR 2025, proposition 1 and algorithm 1.
    https://arxiv.org/abs/2407.01521
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar

from ..operators.base import LinearOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal, like
from .base import Sampler
from .ranges import Within
from .walk import Step, karras_levels

LOWEST = 0.01
"""Where the ODE's last step to 0 begins."""


@dataclass(frozen=True)
class DAPS(Sampler[Signal]):
    """Draws without a memory: each level starts from a new draw of the clean signal.

    What the ODE gives has the prior's variance v, and N(x0, sigma^2 I) adds to it at every level:
    where the data say nothing the variance tends to 2 v as levels and inner steps grow. The draw
    given the data is exact, by one linear system; the authors' takes 100 steps of
    Langevin dynamics to it, with a noise on the data of their own.

    Attributes:
        inner: Euler steps of the ODE at each level, an evaluation each.
    """

    needs = LinearOperator
    instead = "DPS"
    enough = 200

    eta: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    inner: Annotated[int, Within(1, 1000, "a number of steps", 5)] = 5

    def caveat(self, problem: Problem) -> str:
        return "DAPS's error bars are too wide: up to twice the variance where data say nothing."

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        return sigma * noise((len(problem.y), *problem.H.signal_shape))

    def advance(
        self, x: Signal, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Signal:
        sigma, shape = step.sigma, tuple(x.shape)
        below = karras_levels(self.inner, min(LOWEST, float(sigma)), float(sigma)).to(sigma)
        for level, lower in pairwise(below):
            D = prior(x, level)
            x = D + lower / level * (x - D)
        x = x + sigma * noise(shape)
        told = replace(problem, y=problem.y + problem.sigma_y * like(problem.y, noise))
        x = x + told.towards_data(x, sigma**2)
        return x + step.lower * noise(shape)

    def finish(self, x: Signal, /, problem: Problem) -> Signal:
        return x
