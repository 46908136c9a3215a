"""Pseudoinverse-guided diffusion models: PiGDM.

With x0 | x ~ N(D, r^2 I), the data pull x by the gradient of log p(y | x),

    g = J^T H^T (r^2 H H^T + sigma_y^2 I)^-1 (y - H D),    r^2 = sigma^2 v / (sigma^2 + v),

J being the Jacobian of D and v the variance of the data. Without noise r^2 g is
J^T (pinv(y) - pinv(H D)), which needs no more of H than a pseudoinverse.

References:
    Song, Vahdat, Mardani and Kautz, Pseudoinverse-Guided Diffusion Models for Inverse
    Problems, ICLR 2023, eq. 5 to 9 and algorithm 1. https://openreview.net/forum?id=9_gsMA8MRKQ
"""

from typing import Literal

import torch
from torch import Tensor

from ..errors import OperatorAbilityError, SettingError
from ..operators.base import LinearOperator, PinvOperator
from ..priors.base import Denoiser
from ..tensors import Signal
from .base import CorrectedSampler, Problem, Step, denoise_and_pull_back


class PiGDM(CorrectedSampler):
    """Draws with the gradient of log p(y | x), x0 | x taken for a Gaussian around D.

    Args:
        prior: The denoiser.
        eta: Share of fresh noise in [0, 1].
        weighting: ``"score"`` moves the prediction by sigma^2 g, which makes the loop a
            discretisation of the conditional equation: right for posteriors. With u the
            residual that J^T pulls back, the weight sigma^2 / r^2 is held at
            |u|^2 / <u, J^T u>, which goes all the way along u and no further: equal for
            the Gaussian that r^2 stands for, and what keeps pictures, whose large structures
            have far more variance than v, from overshooting. ``"paper"`` adds r^2 g after the
            step, as algorithm 1 does: several times stronger at low noise, and no posterior.
        data_variance: v, the variance of one element of a clean signal. The papers take 1.
    """

    needs = PinvOperator
    instead = "DPS or ReconstructionGuidance"

    def __init__(
        self,
        prior: Denoiser,
        eta: float = 1.0,
        weighting: Literal["score", "paper"] = "score",
        data_variance: float = 1.0,
    ) -> None:
        super().__init__(prior, eta)
        if not data_variance > 0:
            raise SettingError(f"data_variance is above 0, but got {data_variance}. Try 1.")
        self.weighting = weighting
        self.data_variance = data_variance

    def correct(self, x: Signal, problem: Problem, step: Step) -> Signal:
        sigma2 = step.sigma**2
        r2 = sigma2 * self.data_variance / (sigma2 + self.data_variance)
        D, u, r2_g = denoise_and_pull_back(
            self.prior, x, step.sigma, lambda D: r2_weighted_residual(D, problem, r2)
        )
        if self.weighting == "paper":
            return D + r2_g / (1 - step.keep)
        whole = _dot(u, u) / _dot(u, r2_g).clamp(min=torch.finfo(u.dtype).tiny)
        return D + torch.minimum(sigma2 / r2, whole) * r2_g


def _dot(a: Signal, b: Signal) -> Tensor:
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))


def r2_weighted_residual(D: Signal, problem: Problem, r2: Tensor) -> Signal:
    """r^2 H^T (r^2 H H^T + sigma_y^2 I)^-1 (y - H D)."""
    H, y = problem.H, problem.y
    if isinstance(H, LinearOperator):
        return r2 * H.adjoint(H.solve(y - H(D), r2, problem.sigma_y**2))
    assert isinstance(H, PinvOperator)
    if problem.sigma_y > 0:
        raise OperatorAbilityError(
            f"PiGDM with noise needs an operator that is a LinearOperator, but "
            f"{type(H).__name__} is only a PinvOperator. Use sigma_y = 0, or DPS."
        )
    return H.pinv(y) - H.pinv(H(D))
