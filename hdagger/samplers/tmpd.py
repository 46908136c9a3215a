"""Tweedie moment-projected diffusions: TMPD.

PiGDM with the covariance that the prior itself predicts. By Tweedie's formula of second order
Cov[x0 | x] = sigma^2 J, J being the Jacobian of D, so

    g = J^T H^T S^-1 (y - H D),    S = sigma^2 H J H^T + sigma_y^2 I,

which is exact for every Gaussian prior and has no setting to tune. J is symmetric for the
ideal denoiser; here J^T stands for both, one backward pass a product, all through one
evaluation of the prior.

References:
    Boys, Girolami, Pidstrigach, Reich, Mosca and Akyildiz, Tweedie Moment Projected Diffusions
    for Inverse Problems, TMLR 2024, eq. 11 to 14. https://arxiv.org/abs/2310.06721
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ..errors import OperatorAbilityError
from ..linalg import least_residuals
from ..operators.base import LinearOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Data, Signal
from .base import Guidance, GuidedSampler
from .ranges import Share, Within
from .walk import Step

MOST_DATA = 1024
"""Data for which S is built as a matrix, at most."""


@dataclass(frozen=True)
class TMPD(GuidedSampler):
    """Draws with the gradient of log p(y | x), x0 | x taken for N(D, sigma^2 J).

    The prior has to be differentiable. By default the equation is solved without fresh noise,
    to second order, a few products a step.

    Attributes:
        covariance: How S is inverted. ``"krylov"``: by least residuals in the space of the
            data, a backward pass for each; the J of a network is not quite symmetric, and
            conjugate gradients would diverge. ``"matrix"``: S is built, by a backward pass
            for each of the m data, and diagonalised; it also gives the likelihood that SMC needs.
            ``"rows"``: S is taken for the diagonal matrix of its row sums, one backward pass;
            exact where H J H^T is diagonal, and meant for an H without negative entries.
            The last two are for real data.
        iterations: The most backward passes of ``"krylov"``.
        step_variance: The variance that a step assumes, see
            :class:`~hdagger.samplers.walk.Spread`; 0 is DDIM's step.
    """

    needs = LinearOperator
    instead = "PiGDM with sigma_y = 0, or DPS"
    enough = 30

    eta: Share = 0.0
    solver: Literal["euler", "heun", "multistep"] = "multistep"
    covariance: Literal["krylov", "matrix", "rows"] = "krylov"
    iterations: Annotated[int, Within(1, 10_000, "a number of backward passes", 5)] = 5
    step_variance: float | Tensor = 0.0

    def require(self, problem: Problem) -> None:
        super().require(problem)
        if self.covariance == "matrix" and problem.H.data_size > MOST_DATA:
            raise OperatorAbilityError(
                f"TMPD with covariance = matrix wants at most {MOST_DATA} data, a pass back for "
                f"each, but got {problem.H.data_size}. Use covariance = krylov, or PiGDM as the "
                "twist of SMC (--set twist=pigdm)."
            )

    @property
    def variance(self) -> float | Tensor:
        return self.step_variance

    def guide(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Guidance:
        H, sigma_y2 = problem.H, problem.sigma_y**2
        assert isinstance(H, LinearOperator)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            attached = prior(x, step.sigma)
        D = attached.detach()
        e = problem.residual(D)

        def pull(v: Data) -> Signal:
            """sigma^2 J^T H^T v."""
            product = torch.autograd.grad(attached, x, H.adjoint(v), retain_graph=True)[0]
            return step.sigma**2 * product

        def S(v: Data) -> Data:
            return H(pull(v)) + sigma_y2 * v

        if self.covariance == "krylov":
            solution = least_residuals(S, e, self.iterations)
            return Guidance(D, pull(solution), None)
        if self.covariance == "rows":
            diagonal = H(pull(torch.ones_like(e))).clamp(min=0) + sigma_y2
            seen = diagonal > 0
            solution = torch.where(seen, e / diagonal, 0)
            terms = e * solution + torch.where(seen, 2 * math.pi * diagonal, 1).log()
            return Guidance(D, pull(solution), lambda: -terms.flatten(1).sum(1) / 2)
        values, vectors = torch.linalg.eigh(_matrix(S, e))
        seen = values > values[:, -1:] * values.shape[1] * torch.finfo(values.dtype).eps
        z = (e.flatten(1)[:, None] @ vectors)[:, 0]
        scaled = torch.where(seen, z / values, 0)
        solution = (vectors @ scaled[:, :, None]).view_as(e)
        terms = z * scaled + torch.where(seen, 2 * math.pi * values, 1).log()
        return Guidance(D, pull(solution), lambda: -terms.sum(1) / 2)


def _matrix(S: Callable[[Data], Data], e: Data) -> Tensor:
    """S as a symmetric matrix for each row, ``(batch, m, m)``."""
    units = torch.eye(e[0].numel(), dtype=e.dtype, device=e.device)
    columns = [S(unit.view(e.shape[1:]).expand_as(e)).flatten(1) for unit in units]
    matrix = torch.stack(columns, dim=2)
    return (matrix + matrix.transpose(1, 2)) / 2
