"""Fast orthonormal transforms, a basis completed, and iterative solvers."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

AT_ONCE = 2**18
"""Numbers whose products are held at a time."""


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


def dct2(x: Tensor) -> Tensor:
    """The orthonormal DCT-II over the last two axes, by one real FFT an axis.

    References:
        Makhoul, A fast cosine transform in one and two dimensions, 1980.
        https://doi.org/10.1109/TASSP.1980.1163351
    """
    return _dct(_dct(x).mT).mT


def idct2(z: Tensor) -> Tensor:
    """The inverse of :func:`dct2`, and its transpose."""
    return _idct(_idct(z).mT).mT


def _dct(x: Tensor) -> Tensor:
    n = x.shape[-1]
    folded = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1)
    half = torch.fft.rfft(folded, norm="ortho").mul_(_twist(n, x).conj())
    del folded  # each is as large as x
    z = torch.cat([half.real, -half.imag[..., 1 : (n + 1) // 2].flip(-1)], dim=-1)
    z[..., 1:] *= math.sqrt(2)
    return z


def _idct(z: Tensor) -> Tensor:
    n = z.shape[-1]
    z = torch.cat([z[..., :1], z[..., 1:] / math.sqrt(2)], dim=-1)
    back = torch.nn.functional.pad(z[..., 1:].flip(-1), (1, 0))[..., : n // 2 + 1]
    half = torch.complex(z[..., : n // 2 + 1], -back)
    folded = torch.fft.irfft(half * _twist(n, z), n=n, norm="ortho")
    x = torch.empty_like(folded)
    x[..., ::2] = folded[..., : (n + 1) // 2]
    x[..., 1::2] = folded[..., (n + 1) // 2 :].flip(-1)
    return x


def _twist(n: int, like: Tensor) -> Tensor:
    angle = torch.arange(n // 2 + 1, dtype=torch.float64) * (math.pi / (2 * n))
    return torch.polar(torch.ones_like(angle), angle).to(
        like.device, torch.complex64 if like.dtype == torch.float32 else torch.complex128
    )


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


def inner(u: Tensor, v: Tensor) -> Tensor:
    """Re<u, v> of each row, in a shape that multiplies rows: ``(batch, 1, ...)``."""
    parts = zip(real(u).split(AT_ONCE, dim=1), real(v).split(AT_ONCE, dim=1), strict=True)
    sums = torch.stack([(a * b).sum(1) for a, b in parts])
    return sums.sum(0).view(-1, *[1] * (u.ndim - 1))


def highest(u: Tensor) -> Tensor:
    """The largest |number| of each row, in a shape that multiplies rows."""
    low, high = real(u).aminmax(dim=1)
    return torch.maximum(-low, high).view(-1, *[1] * (u.ndim - 1))


def real(y: Tensor) -> Tensor:
    """Each row as a vector of real numbers, ``(batch, numbers)``; two for a complex one."""
    return (torch.view_as_real(y) if y.is_complex() else y).flatten(1)


def real_as(z: Tensor, like: Tensor) -> Tensor:
    """Vectors of real numbers as rows of the kind and shape of ``like``: undoes :func:`real`."""
    if not like.is_complex():
        return z.view(-1, *like.shape[1:])
    return torch.view_as_complex(z.reshape(-1, *like.shape[1:], 2))


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    b: Tensor,
    iterations: int = 1000,
    tolerance: float | Tensor = 1e-14,
    start: Tensor | None = None,
    near: Callable[[Tensor], Tensor] | None = None,
    peak: float | Tensor = math.inf,
) -> Tensor:
    """Solves A x = b for a symmetric positive semi-definite A, each row of the batch by itself.

    Where A is singular and b in its range, the shortest solution. A row stops early where A
    turns out not to be positive, as the Jacobian of a network may. Complex rows are taken for
    real vectors of twice the length: A need only be linear over the reals.

    Args:
        apply: x -> A x, on tensors ``(batch, *data)``.
        b: Right-hand sides, ``(batch, *data)``.
        iterations: The most steps to take.
        tolerance: A row is done when its residual is this share of b's norm, one for all or
            ``(batch, 1, ...)``.
        start: Where to start; by default at zero.
        near: A map close to the inverse of A, symmetric and positive: a preconditioner.
        peak: Nor is a row done while a number of its residual is larger than this, one for all
            or ``(batch, 1, ...)``.

    References:
        Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, 1952.
    """
    near = near or (lambda r: r)
    x = torch.zeros_like(b) if start is None else start.clone()
    r = b.clone() if start is None else b - apply(start)
    goal = tolerance**2 * inner(b, b)
    p = near(r).clone()
    rz = inner(r, p)
    limits, largest = torch.finfo(b.dtype), torch.zeros_like(rz)
    for _ in range(iterations):
        active = inner(r, r) > goal
        if not active.all():
            active |= highest(r) > peak
        if not active.any():
            break
        Ap = apply(p)
        curvature = inner(p, Ap)
        length = inner(p, p)
        largest = torch.maximum(largest, curvature / length.clamp(min=limits.tiny))
        active &= curvature > 10 * limits.eps * largest * length
        step = torch.where(active, rz / curvature, 0)
        x.addcmul_(step, p)
        r.addcmul_(-step, Ap)
        del Ap  # each is as large as the data
        z = near(r)
        rz, previous = inner(r, z), rz
        p.mul_(torch.where(active, rz / previous, 0)).add_(z)
        del z
    return x


def least_residuals(apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """The x that brings A x closest to b, out of the span of b, A b, A A b, ...: GMRES.

    Complex rows are taken for real vectors of twice the length.
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

    flat = real(b)
    iterations, length = min(iterations, flat.shape[1]), flat.norm(dim=1)
    basis = [unit(flat, length)]
    hessenberg = flat.new_zeros(len(b), iterations + 1, iterations)
    for k in range(iterations):
        v = real(apply(real_as(basis[k], b)))
        for i in range(k + 1):
            hessenberg[:, i, k] = (v * basis[i]).sum(1)
            v = v - hessenberg[:, i, k, None] * basis[i]
        hessenberg[:, k + 1, k] = v.norm(dim=1)
        basis.append(unit(v, hessenberg[:, k + 1, k]))
    weights = length[:, None] * torch.linalg.pinv(hessenberg)[:, :, 0]
    return real_as(torch.einsum("bk,kbn->bn", weights, torch.stack(basis[:-1])), b)


def fast_length(n: int) -> int:
    """The least even number from n on without prime factors above 5: an FFT of it is fast."""
    rest = n
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return n if rest == 1 and n % 2 == 0 else fast_length(n + 1)
