"""Pseudoinverse-guided diffusion models: PiGDM.

With x0 | x ~ N(D, r^2 I), the data pull x by the gradient of log p(y | x),

    g = J^T H^T (r^2 H H^T + sigma_y^2 I)^-1 (y - H D),    r^2 = sigma^2 v / (sigma^2 + v),

J being the Jacobian of D and v the variance of the data. Without noise r^2 g is
J^T (pinv(y) - pinv(H D)), which needs no more of H than a pseudoinverse.

sigma^2 J is a covariance, that of x0 given x, for the ideal denoiser; so J is symmetric, and
J u, which forward calls alone can tell, may stand for J^T u.

References:
    Song, Vahdat, Mardani and Kautz, Pseudoinverse-Guided Diffusion Models for Inverse
    Problems, ICLR 2023, eq. 5 to 9 and algorithm 1. https://openreview.net/forum?id=9_gsMA8MRKQ
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..covariance import Uncertainty
from ..errors import OperatorAbilityError, SettingError
from ..linalg import inner
from ..operators.base import LinearOperator, PinvOperator, SVDOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Signal
from .base import Guidance, GuidedSampler, denoise_and_pull_back
from .ranges import AboveZero
from .tangent import difference
from .walk import Step

TINY = 1e-300
"""What a sum of squares is divided by, at least."""


@dataclass(frozen=True)
class PiGDM(GuidedSampler):
    """Draws with the gradient of log p(y | x), x0 | x taken for a Gaussian around D.

    Attributes:
        weighting: ``"score"`` moves the prediction by sigma^2 g, which makes the loop a
            discretisation of the conditional equation: right for posteriors. With u the
            residual that J^T pulls back, the weight sigma^2 / r^2 is held at
            ``|u|^2 / <u, J^T u>``, which goes all the way along u and no further: equal for
            the Gaussian that r^2 stands for, and what keeps pictures, whose large structures
            have far more variance than v, from overshooting. Nothing is moved by more than twice
            u, nor at all where J u points away from u, as no covariance does.
            ``"paper"`` adds r^2 g after the step, as algorithm 1 does: several times stronger at
            low noise, and no posterior.
        data_variance: v, the variance of one element of a clean signal; left open, that of
            the prior. The papers take 1.
        jacobian: How J^T is applied. ``"difference"``: J in its place, by a forward
            difference: a second evaluation of the prior and no stored activations, so it works
            with engines that only infer (as good: docs/trust.md). ``"vjp"``: by a backward pass.
            ``"jvp"``: J by forward-mode differentiation, without the error of the difference; a
            second, dearer evaluation.
        step_variance: The variance that a step assumes, see
            :class:`~hdagger.samplers.walk.Spread`; 0 is DDIM's step. With ``data_variance`` the
            loop is exact for white Gaussian data, in any number of steps.
    """

    needs = PinvOperator
    instead = "DPS or ReconstructionGuidance"
    enough = 50

    weighting: Literal["score", "paper"] = "score"
    data_variance: Annotated[float | None, AboveZero()] = None
    jacobian: Literal["difference", "vjp", "jvp"] = "difference"
    step_variance: float | Tensor = 0.0

    def check(self) -> None:
        super().check()
        if self.weighting == "paper" and self.solver != "euler":
            raise SettingError(
                "The paper's weighting solves no equation, but got solver = "
                f"{self.solver!r}. Use euler."
            )

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "PiGDM":
        own = self.data_variance is None
        return replace(self, data_variance=uncertainty.data_variance) if own else self

    def require(self, problem: Problem) -> None:
        super().require(problem)
        if problem.sigma_y > 0 and not isinstance(problem.H, LinearOperator):
            raise OperatorAbilityError(
                "PiGDM with noise needs an operator that is a LinearOperator, but "
                f"{type(problem.H).__name__} is only a PinvOperator. Use sigma_y = 0, or DPS."
            )

    def differs(self, sigma: Level) -> bool:
        return self.jacobian == "difference"

    @property
    def variance(self) -> float | Tensor:
        return self.step_variance

    def guide(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Guidance:
        sigma2 = step.sigma**2
        v = self.data_variance
        assert v is not None, "fitted"
        r2 = sigma2 * v / (sigma2 + v)
        D, u, r2_g = self._pull_back(prior, x, problem, step.sigma, r2)
        if self.weighting == "paper":
            weight = 1 / (1 - step.keep)
        else:
            along, longest = inner(u, r2_g), (inner(u, u) * inner(r2_g, r2_g)).sqrt() / 2
            whole = inner(u, u) / torch.maximum(along, longest).clamp(min=TINY)
            weight = torch.where(along > 0, torch.minimum(sigma2 / r2, whole), 0)
        known = isinstance(problem.H, SVDOperator)
        likelihood = partial(log_likelihood, D, problem, r2) if known else None
        return Guidance(D, weight * r2_g, likelihood)

    def _pull_back(
        self, prior: Denoiser, x: Signal, problem: Problem, sigma: Level, r2: Tensor
    ) -> tuple[Signal, Signal, Signal]:
        """D(x), the weighted residual u, and J^T u or J u."""
        if self.jacobian == "vjp":
            return denoise_and_pull_back(prior, x, sigma, lambda D: problem.towards_data(D, r2))
        D = prior(x, sigma)
        u = problem.towards_data(D, r2)
        return D, u, self.along(prior, x, sigma, D, u)

    def along(self, prior: Denoiser, x: Signal, sigma: Level, D: Signal, u: Signal) -> Signal:
        """J u, by one more evaluation of the prior."""
        if self.jacobian == "jvp":
            with sdpa_kernel(SDPBackend.MATH):  # the others know no forward mode
                return torch.func.jvp(lambda x: prior(x, sigma), (x,), (u,))[1]
        return difference(prior, x, sigma, D, u)


def log_likelihood(D: Signal, problem: Problem, r2: Tensor) -> Tensor:
    """log N(y; H D, r^2 H H^T + sigma_y^2 I), ``(batch,)``, by the SVD of H."""
    H, sigma_y2 = problem.H, problem.sigma_y**2
    assert isinstance(H, SVDOperator)
    e = H.Ut(problem.y - H(D))
    s2 = torch.where(H.observed, H.singular_values**2, 0)
    variance = r2 * H.fit(s2.expand(len(e), -1), e.shape[1]) + sigma_y2
    terms = e.abs().square() / variance + (2 * torch.pi * variance).log()
    return -torch.where(variance > 0, terms, 0).sum(1) / 2
