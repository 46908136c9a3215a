"""Fast orthonormal transforms, a basis completed, and iterative solvers."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def dct_matrix(n: int) -> Tensor:
    """The orthonormal DCT-II, ``(n, n)`` in float64: row 0 is constant and positive.

    References:
        Ahmed, Natarajan and Rao, Discrete cosine transform, 1974.
        https://doi.org/10.1109/T-C.1974.223784
    """
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi * k[:, None] * (2 * k + 1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix


def hartley(x: Tensor) -> Tensor:
    """The orthonormal Hartley transform over the last two axes: real, symmetric, self-inverse.

    References:
        Bracewell, Discrete Hartley transform, 1983. https://doi.org/10.1364/JOSA.73.001832
    """
    spectrum = torch.fft.fft2(x, norm="ortho")
    return spectrum.real - spectrum.imag


def hadamard(x: Tensor) -> Tensor:
    """The orthonormal Walsh-Hadamard transform of the last axis (a power of two), self-inverse."""
    n = x.shape[-1]
    assert n & (n - 1) == 0, "the Walsh-Hadamard transform needs a power of two"
    y, half = x.reshape(-1, n), 1
    while half < n:
        pairs = y.view(-1, n // (2 * half), 2, half)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        y = torch.stack([a + b, a - b], dim=2).view(-1, n)
        half *= 2
    return y.reshape(x.shape) / math.sqrt(n)


class Basis(nn.Module):
    """An orthonormal basis of R^n whose first r vectors are given, applied in O(n r).

    With the polar factor P of their first r rows, one block reflection Q = I - Z M^-1 Z^T,
    Z = vectors + [P; 0], takes the vectors to the first r unit vectors times -P; so Q, with its
    first columns times -P^T, is the basis.

    Args:
        vectors: Orthonormal columns, ``(n, r)``.

    References:
        Schreiber and Parlett, Block reflectors: theory and computation, 1988, section 3.
        https://doi.org/10.1137/0725014
    """

    Z: Tensor
    gain: Tensor
    turn: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        r = vectors.shape[1]
        left, _, right = torch.linalg.svd(vectors[:r])
        Z = vectors.clone()
        Z[:r] += left @ right
        self.register_buffer("turn", -left @ right)
        self.register_buffer("Z", Z)
        self.register_buffer("gain", torch.linalg.inv(Z.T @ Z / 2))

    def forward(self, z: Tensor) -> Tensor:
        """The vectors of coefficients, ``(batch, n)`` both."""
        r = len(self.turn)
        return self._reflect(torch.cat([z[:, :r] @ self.turn.T, z[:, r:]], dim=1))

    def coefficients(self, x: Tensor) -> Tensor:
        """The coefficients of vectors, ``(batch, n)`` both."""
        r, z = len(self.turn), self._reflect(x)
        return torch.cat([z[:, :r] @ self.turn, z[:, r:]], dim=1)

    def _reflect(self, x: Tensor) -> Tensor:
        return x - x @ self.Z @ self.gain @ self.Z.T


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int = 1000, tolerance: float = 1e-14
) -> Tensor:
    """Solves A x = b for a symmetric positive semi-definite A, each row of the batch by itself.

    Where A is singular and b in its range, the shortest solution. A row stops early where A
    turns out not to be positive, as the Jacobian of a network may.

    Args:
        apply: x -> A x, on tensors ``(batch, *data)``.
        b: Right-hand sides, ``(batch, *data)``.
        iterations: The most steps to take.
        tolerance: A row is done when its residual is this share of b's norm.

    References:
        Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, 1952.
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).flatten(1).sum(1).view(-1, *[1] * (b.ndim - 1))

    x, r = torch.zeros_like(b), b
    p, rr = r, dot(r, r)
    goal = tolerance**2 * rr
    for _ in range(iterations):
        active = rr > goal
        if not active.any():
            break
        Ap = apply(p)
        curvature = dot(p, Ap)
        active &= curvature > 0
        step = torch.where(active, rr / curvature, 0)
        x, r = x + step * p, r - step * Ap
        rr, previous = dot(r, r), rr
        p = r + torch.where(active, rr / previous, 0) * p
    return x


def least_residuals(apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """The x that brings A x closest to b, out of the span of b, A b, A A b, ...: GMRES.

    A need be neither symmetric nor definite, and A x is never farther from b than 0 is; with few
    iterations the answer is tame even where A is near-singular.

    Args:
        apply: x -> A x, on tensors ``(batch, *data)``, each row by itself.
        b: Right-hand sides, ``(batch, *data)``.
        iterations: Products to take, at most one for each number in a row.

    References:
        Saad and Schultz, GMRES: a generalized minimal residual algorithm, 1986, algorithm 3.
        https://doi.org/10.1137/0907058
    """

    def unit(v: Tensor, length: Tensor) -> Tensor:
        return v / length.clamp(min=torch.finfo(v.dtype).tiny)[:, None]

    flat = b.flatten(1)
    iterations, length = min(iterations, flat.shape[1]), flat.norm(dim=1)
    basis = [unit(flat, length)]
    hessenberg = b.new_zeros(len(b), iterations + 1, iterations)
    for k in range(iterations):
        v = apply(basis[k].view_as(b)).flatten(1)
        for i in range(k + 1):
            hessenberg[:, i, k] = (v * basis[i]).sum(1)
            v = v - hessenberg[:, i, k, None] * basis[i]
        hessenberg[:, k + 1, k] = v.norm(dim=1)
        basis.append(unit(v, hessenberg[:, k + 1, k]))
    weights = length[:, None] * torch.linalg.pinv(hessenberg)[:, :, 0]
    return torch.einsum("bk,kbn->bn", weights, torch.stack(basis[:-1])).view_as(b)
