"""What the field does: semi-linear inversion, and the convolved likelihood.

References:
    Warren and Dye, Semilinear gravitational lens inversion, 2003.
    https://arxiv.org/abs/astro-ph/0302587
    Suyu et al., A Bayesian analysis of regularised source inversions in gravitational lensing,
    2006: the evidence. https://arxiv.org/abs/astro-ph/0601493
    Adam et al., Posterior samples of source galaxies in strong gravitational lenses with
    score-based priors, 2022: the convolved likelihood. https://arxiv.org/abs/2211.03812
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from hdagger.operators.base import LinearOperator
from hdagger.priors.base import Denoiser
from hdagger.problem import Problem
from hdagger.samplers.base import Guidance, GuidedSampler
from hdagger.samplers.walk import Step
from hdagger.tensors import Signal

STRENGTHS = -2.0, 6.0
"""Logarithms of the strengths of regularisation that are looked at."""


@dataclass(frozen=True)
class Inversion:
    """The posterior of a Gaussian source, N(mean, covariance), and how likely the data are.

    Attributes:
        mean: ``(rows, columns)``.
        std: Of each pixel.
        log_evidence: Of the data under this regularisation at its best strength.
    """

    mean: Tensor
    std: Tensor
    log_evidence: float


@cache
def regularisation(kind: str, side: int) -> tuple[Tensor, float]:
    """R, and ln det R: s' R s is the sum of squared first or second differences.

    Around the source is dark sky, which makes R definite.
    """
    step = torch.eye(side + 1, side, dtype=torch.float64)
    step[1:] -= torch.eye(side, dtype=torch.float64)
    matrix = step if kind == "gradient" else step.T @ step
    one, eye = matrix.T @ matrix, torch.eye(side, dtype=torch.float64)
    R = torch.kron(one, eye) + torch.kron(eye, one)
    return R, _log_det(torch.linalg.cholesky(R))


def _log_det(factor: Tensor) -> float:
    return 2 * float(factor.diagonal().log().sum())


def squared(H: LinearOperator) -> Tensor:
    """H' H as a matrix."""
    size = math.prod(H.signal_shape)
    parts = torch.eye(size, dtype=torch.float64).split(256)
    rows = [H.adjoint(H(part.unflatten(1, H.signal_shape))).flatten(1) for part in parts]
    return torch.cat(rows)


def semilinear(H: LinearOperator, HH: Tensor, y: Tensor, noise: float, kind: str) -> Inversion:
    """Minimises chi2 + strength s' R s, at the strength of the highest evidence.

    Args:
        H: The operator.
        HH: H' H.
        y: The image, ``(1, rows, columns)``.
        noise: Its deviation.
        kind: ``"gradient"`` or ``"curvature"``.
    """
    R, log_det_R = regularisation(kind, H.signal_shape[-1])
    F, D, size = HH / noise**2, (H.adjoint(y[None]) / noise**2).flatten(), len(R)

    def solved(log_strength: float) -> tuple[float, Tensor, Tensor]:
        strength = 10**log_strength
        factor = torch.linalg.cholesky(F + strength * R)
        s = torch.cholesky_solve(D[:, None], factor)[:, 0]
        residual = (y - H(s.view(1, *H.signal_shape))[0]) / noise
        cost = residual.square().sum() + strength * s @ R @ s
        log_dets = _log_det(factor) - size * math.log(strength) - log_det_R
        constant = y.numel() * math.log(2 * math.pi * noise**2)
        return -(float(cost) + log_dets + constant) / 2, s, factor

    found: Any = minimize_scalar(
        lambda v: -solved(v)[0], bounds=STRENGTHS, method="bounded", options={"xatol": 0.1}
    )
    log_evidence, s, factor = solved(float(found.x))
    std = torch.cholesky_inverse(factor).diagonal().sqrt()
    shape = H.signal_shape[1:]
    return Inversion(s.view(shape), std.view(shape), log_evidence)


@dataclass(frozen=True)
class ConvolvedLikelihood(GuidedSampler):
    """The likelihood at x itself, of variance sigma_y^2 + sigma^2 H H'."""

    needs = LinearOperator
    instead = "DPS"
    enough = 100

    def guide(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Guidance:
        assert isinstance(problem.H, LinearOperator)
        r2 = step.sigma**2
        pull = r2 * problem.H.pull(problem.residual(x), r2, problem.sigma_y**2)
        return Guidance(prior(x, step.sigma), pull, None)
