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

from .base import LinearOperator, Operator, PinvOperator, SVDOperator


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / torch.maximum(a.norm(), b.norm()).clamp(min=1e-30))


def _cosine_gap(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> float:
    """|<a, b> - <c, d>| relative to |a| |b|."""
    difference = torch.vdot(a.flatten(), b.flatten()) - torch.vdot(c.flatten(), d.flatten())
    return float(difference.abs() / (a.norm() * b.norm()).clamp(min=1e-30))


def adjoint_gap(H: LinearOperator, x: Tensor, y: Tensor) -> float:
    """<H x, y> = <x, H* y>: the dot test."""
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
    """The matrix of a linear operator, ``(m, n)``; for small shapes."""
    n = math.prod(H.signal_shape)
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *H.signal_shape)
    return torch.stack([H(row[None])[0].flatten() for row in basis], dim=1)


def solve_gap(H: LinearOperator, y: Tensor, r2: float, sigma_y2: float) -> float:
    """``solve`` against a dense solve."""
    matrix = dense(H)
    normal = r2 * matrix @ matrix.T + sigma_y2 * torch.eye(len(matrix), dtype=matrix.dtype)
    expected = torch.linalg.solve(normal, y.flatten(1).T).T
    return _gap(H.solve(y, r2, sigma_y2).flatten(1), expected)
