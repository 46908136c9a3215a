"""Plug-and-play restoration by half-quadratic splitting along the walk: DiffPIR.

The prediction D goes to the point that is nearest to it and to the data,

    D' = argmin |y - H x0|^2 / sigma_y^2 + lambda |x0 - D|^2 / sigma^2,

and the step keeps the noise that D' leaves in x, or a part of it:

    x' = D' + lower (sqrt(1 - zeta) (x - D') / sigma + sqrt(zeta) z).

References:
    Zhu et al., Denoising Diffusion Models for Plug-and-Play Image Restoration, CVPRW 2023,
    eq. 12 to 15 and algorithm 1. https://arxiv.org/abs/2305.08995
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..operators.base import LinearOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal
from .base import Sampler
from .ranges import AboveZero, Within
from .walk import Step


@dataclass(frozen=True)
class DiffPIR(Sampler[Signal]):
    """Draws with each prediction at its proximal point; one forward pass a step.

    Where the data say nothing, the variance tends to (1 + sqrt(1 - zeta)) / 2 of the prior's.

    Attributes:
        zeta: Share of the next level's variance that is fresh, in [0, 1]; 0.1 to 1 in the
            authors' runs, by task.
        strength: lambda: how much the prediction counts, above 0.
    """

    needs = LinearOperator
    instead = "PiGDM with sigma_y = 0, or DPS"
    enough = 100

    eta: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    zeta: Annotated[float, Within(0, 1, "a share of the variance", 0.1)] = 0.1
    strength: Annotated[float, AboveZero()] = 1.0

    def caveat(self, problem: Problem) -> str:
        return "DiffPIR's error bars are too narrow, and more so the larger zeta is."

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        return sigma * noise((len(problem.y), *problem.H.signal_shape))

    def advance(
        self, x: Signal, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Signal:
        D = prior(x, step.sigma)
        nearest = D + problem.towards_data(D, step.sigma**2 / self.strength)
        kept = (1 - self.zeta) ** 0.5 * (x - nearest) / step.sigma
        fresh = self.zeta**0.5 * noise(tuple(x.shape))
        return nearest + step.lower * (kept + fresh)

    def finish(self, x: Signal, /, problem: Problem) -> Signal:
        return x
