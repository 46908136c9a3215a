"""Identities that every operator must satisfy, as numbers one can look at.

Each check returns the relative size of what should be zero. Tests compare it with a
tolerance.

References:
    Penrose, A generalized inverse for matrices, 1955: the four conditions.
    https://doi.org/10.1017/S0305004100030401
"""

import math

import torch
from torch import Tensor

from ..linalg import inner, real
from .base import LinearOperator, Operator, PinvOperator, SVDOperator


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / torch.maximum(a.norm(), b.norm()).clamp(min=1e-30))


def _cosine_gap(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> float:
    """|Re<a, b> - Re<c, d>| relative to |a| |b|."""
    difference = inner(a, b).sum() - inner(c, d).sum()
    return float(difference.abs() / (a.norm() * b.norm()).clamp(min=1e-30))


def adjoint_gap(H: LinearOperator, x: Tensor, y: Tensor) -> float:
    """Re<H x, y> = <x, H* y>: the dot test."""
    return _cosine_gap(H(x), y, x, H.adjoint(y))


def pinv_gap(H: PinvOperator, x: Tensor) -> float:
    """H H+ H x = H x: the first Moore-Penrose condition."""
    return _gap(H(H.pinv(H(x))), H(x))


def reflexive_gap(H: PinvOperator, y: Tensor) -> float:
    """H+ H H+ y = H+ y: the second Moore-Penrose condition."""
    return _gap(H.pinv(H(H.pinv(y))), H.pinv(y))


def data_projection_gap(H: LinearOperator, y: Tensor, u: Tensor) -> float:
    """<H H+ y, u> = <y, H H+ u>: the third Moore-Penrose condition."""
    return _cosine_gap(H(H.pinv(y)), u, y, H(H.pinv(u)))


def signal_projection_gap(H: LinearOperator, x: Tensor, v: Tensor) -> float:
    """<H+ H x, v> = <x, H+ H v>: the fourth Moore-Penrose condition."""
    return _cosine_gap(H.pinv(H(x)), v, x, H.pinv(H(v)))


def orthonormal_gap(H: SVDOperator, x: Tensor, y: Tensor) -> float:
    """V Vt x = x, Vt V z = z, U Ut y = y, Ut U w = w and |Vt x| = |x|: the worst of them."""
    z, w = H.Vt(x), H.Ut(y)
    return max(
        _gap(H.V(z), x),
        _gap(H.Vt(H.V(z)), z),
        _gap(H.U(w), y),
        _gap(H.Ut(H.U(w)), w),
        abs(float(z.norm() / x.norm()) - 1),
        abs(float(w.norm() / y.norm()) - 1),
    )


def dense(H: Operator) -> Tensor:
    """The real matrix of a linear operator, ``(m, n)``; for small shapes."""
    basis = torch.eye(H.signal_size, dtype=torch.float64).unflatten(1, H.signal_shape)
    return torch.cat([real(H(row[None])) for row in basis]).T


def solve_gap(H: LinearOperator, y: Tensor, r2: float, sigma_y2: float) -> float:
    """``solve`` against a dense solve of what is seen."""
    y, matrix = H.seen(y), dense(H)
    normal = r2 * matrix @ matrix.T + sigma_y2 * torch.eye(len(matrix), dtype=matrix.dtype)
    expected = torch.linalg.solve(normal, real(y).T).T
    return _gap(real(H.solve(y, r2, sigma_y2)), expected)


def pull_gap(H: LinearOperator, e: Tensor, r2: float, sigma_y2: float) -> float:
    """``pull``, asked for all digits, against a dense solve."""
    matrix = dense(H)
    normal = r2 * matrix.T @ matrix + sigma_y2 * torch.eye(H.signal_size, dtype=matrix.dtype)
    expected = torch.linalg.solve(normal, (real(H.seen(e)) @ matrix).T).T
    return _gap(H.pull(e, r2, sigma_y2, tolerance=1e-14).flatten(1), expected)


def pull_residual(H: LinearOperator, e: Tensor, r2: float, sigma_y2: float) -> float:
    """How far ``pull`` at its own tolerance is from solving its equation."""
    x, b = H.pull(e, r2, sigma_y2), H.adjoint(e)
    return _gap(r2 * H.adjoint(H(x)) + sigma_y2 * x, b)


def hidden_gap(H: LinearOperator, y: Tensor) -> float:
    """What is not visible, changed or not a number, changes nothing: the worst of all."""
    assert H.visible is not None, "the operator sees all of its data"
    other = torch.where(H.visible, y, torch.nan)
    ways = (H.adjoint, H.pinv, lambda y: H.solve(y, 1.0, 0.1), lambda y: H.pull(y, 1.0, 0.1))
    gaps = [_gap(way(y), way(other)) for way in ways]
    return max(gap if math.isfinite(gap) else math.inf for gap in gaps)
