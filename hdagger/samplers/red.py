"""Regularisation by denoising: RED.

One answer x, where the data and a denoiser at one level of noise agree:

    H^T (H x - y) / sigma_y^2 + lambda (x - D(x, level)) = 0,    lambda = strength / level^2.

The gradient of |y - H x|^2 / 2 sigma_y^2 + lambda x^T (x - D(x)) / 2 is that, for denoisers that
are homogeneous and whose Jacobian is symmetric. For an ideal denoiser x - D is minus level^2
times a score, so with strength = 1 it is where the posterior of a prior blurred by ``level`` is
highest.

References:
    Romano, Elad and Milanfar, The Little Engine that Could: Regularization by Denoising, SIAM
    Journal on Imaging Sciences, 2017, eq. 28, 34 and 37. https://arxiv.org/abs/1611.02862
    Reehorst and Schniter, Regularization by Denoising: Clarifications and New Interpretations,
    2019, section III. https://arxiv.org/abs/1806.02296
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ..errors import OperatorAbilityError
from ..operators.base import LinearOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal
from .base import Sampler
from .ranges import AboveZero
from .walk import Step


@dataclass(frozen=True)
class RED(Sampler[Signal]):
    """One answer, the same for every seed. A step is an iteration; its level is not looked at.

    Attributes:
        form: ``"fixed"``: x = D + the pull of the data on it, in closed form, which also takes
            exact data. ``"gradient"``: steepest descent by 2 / (1 / sigma_y^2 + lambda), for an
            H of norm 1 at most.
        level: Of the denoiser, in the units of the signal; 3.25 of 255 gray levels as published.
        strength: lambda level^2, above 0: .21, .17 and .07 as published, for uniform and
            Gaussian blurs and for enlargement.
    """

    needs = LinearOperator
    instead = "DPS"
    enough = 200
    one_answer = True

    eta: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    form: Literal["fixed", "gradient"] = "fixed"
    level: Annotated[float, AboveZero(0.0255)] = 0.0255
    strength: Annotated[float, AboveZero(0.21)] = 0.21

    def require(self, problem: Problem) -> None:
        super().require(problem)
        if self.form == "gradient" and problem.sigma_y == 0:
            raise OperatorAbilityError(
                "RED by the gradient wants noise on the data, but got sigma_y = 0. Use form = "
                "fixed, which meets exact data."
            )

    def caveat(self, problem: Problem) -> str:
        return "RED is no sampler: it gives one answer, and no error bars."

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        assert isinstance(problem.H, LinearOperator)
        return problem.H.pinv(problem.y)

    def advance(
        self, x: Signal, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Signal:
        D = prior(x, step.sigma.new_tensor(self.level))
        r2 = self.level**2 / self.strength
        if self.form == "fixed":
            return D + problem.towards_data(D, r2)
        assert isinstance(problem.H, LinearOperator)
        sigma_y2 = problem.sigma_y**2
        descent = r2 * problem.H.adjoint(problem.residual(x)) + sigma_y2 * (D - x)
        return x + 2 / (r2 + sigma_y2) * descent

    def finish(self, x: Signal, /, problem: Problem) -> Signal:
        return x
