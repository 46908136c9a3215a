"""Decoupled annealing posterior sampling: DAPS.

At each level the ODE of the prior is followed down to a clean signal x0, the data move a draw
around it, and all of the next level's noise is fresh:

    x0 = ODE(x),    x0' ~ N(x0, r^2 I) given y,    x' = x0' + lower z.

The draw given the data is exact here, by one linear system. The paper has r = sigma. By that,
photographs end as noise: it leaves x' more noise than its level says, which the next ODE keeps as
texture. The authors' code comes out clean, since its 100 steps of Langevin dynamics from x0, at a
rate that falls from 1e-4 to 1e-6, reach no farther than sqrt(200 rate) where the data say nothing:
.14 at the first level and .014 at the last. That is r here, or sigma where it is less.

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
from .ranges import AboveZero, Within
from .walk import Step, karras_levels

LOWEST = 0.01
"""Where the ODE's last step to 0 begins."""


@dataclass(frozen=True)
class DAPS(Sampler[Signal]):
    """Draws without a memory: each level starts from a new draw of the clean signal.

    What the ODE gives has the prior's variance v already. So with r = sigma the variance tends to
    2 v where the data say nothing, as levels and inner steps grow; with less it stays near v, and
    noisy data are held too loosely: the draw takes x0 to be surer than it is.

    Attributes:
        inner: Euler steps of the ODE at each level, an evaluation each.
        reach: r at the first level; its square falls to a hundredth. Infinite for r = sigma.
    """

    needs = LinearOperator
    instead = "DPS"
    enough = 200

    eta: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    inner: Annotated[int, Within(1, 1000, "a number of steps", 5)] = 5
    reach: Annotated[float, AboveZero(0.14)] = 0.14

    def caveat(self, problem: Problem) -> str:
        return "DAPS's error bars are wrong: too wide where noisy data say something."

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
        r = sigma.clamp(max=self.reach * (1 - 0.99 * step.index / step.count) ** 0.5)
        x = x + r * noise(shape)
        told = replace(problem, y=problem.y + problem.sigma_y * like(problem.y, noise))
        x = x + told.towards_data(x, r**2)
        return x + step.lower * noise(shape)

    def finish(self, x: Signal, /, problem: Problem) -> Signal:
        return x
