"""One eigendecomposition, then every solve is exact: for a few thousand data or unknowns.

Of m data and n unknowns the smaller of H H^T and H^T H is decomposed, once; 4096 of them take
about 20 s and 134 MB. Squares of singular values are what it knows, so that those below about
1e-7 of the largest count as zero.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import ShapeError
from ..linalg import real, real_as
from ..tensors import Data, Signal, Spectrum
from .base import AlignedOperator, LinearOperator

MOST = 20_000
"""Data or unknowns, whichever are fewer; their square is stored."""

RANK_TOLERANCE = 1e-7
"""Share of the largest singular value that still counts."""


class Gram(LinearOperator):
    """A linear operator whose ``solve``, ``pinv`` and ``pull`` are exact.

    Args:
        H: The operator; the same for every row of a batch.

    Raises:
        ShapeError: It has too many data and unknowns.
    """

    s: Tensor
    basis: Tensor

    def __init__(self, H: LinearOperator) -> None:
        super().__init__()
        self.H = H
        self.signal_shape, self.data_shape = H.signal_shape, H.data_shape
        self.complex_data = H.complex_data
        self.tall = H.signal_size <= H.data_size
        size = min(H.signal_size, H.data_size)
        if size > MOST:
            raise ShapeError(
                f"Wanted at most {MOST} data or unknowns, but got {H.data_size} and "
                f"{H.signal_size}. Use the operator as it is: it solves by iteration."
            )
        squares, vectors = torch.linalg.eigh(self._product(size))
        squares, vectors = squares.flip(0).clamp(min=0), vectors.flip(1)
        rank = int((squares.sqrt() > RANK_TOLERANCE * squares[0].sqrt()).sum())
        self.register_buffer("s", squares[:rank].sqrt())
        self.register_buffer("basis", vectors[:, :rank].contiguous())

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return self.H.visible

    def forward(self, x: Signal) -> Data:
        return self.H(x)

    def adjoint(self, y: Data) -> Signal:
        return self.H.adjoint(y)

    def coefficients(self, y: Data) -> Spectrum:
        """U^T y, for the left singular vectors that count: ``(batch, k)``."""
        y = self.seen(y)
        return real(self.H.adjoint(y)) @ self.basis / self.s if self.tall else real(y) @ self.basis

    def pinv(self, y: Data) -> Signal:
        return self._signal(self.coefficients(y) / self.s)

    def pull(
        self,
        e: Data,
        r2: float | Tensor,
        sigma_y2: float | Tensor,
        tolerance: float = 1e-4,
        start: Signal | None = None,
    ) -> Signal:
        return self._signal(self.coefficients(e) * self.s / (r2 * self.s**2 + sigma_y2))

    def solve(self, y: Data, r2: float | Tensor, sigma_y2: float | Tensor) -> Data:
        y, c = self.seen(y), self.coefficients(y)
        inside = self._data(c / (r2 * self.s**2 + sigma_y2))
        return inside if sigma_y2 == 0 else inside + self.seen(y - self._data(c)) / sigma_y2

    def log_evidence(
        self, e: Data, r2: float | Tensor, sigma_y2: float | Tensor
    ) -> Float[Tensor, " batch"]:
        """log N(e; 0, r2 H H^T + sigma_y2 I) of the data that are seen, ``(batch,)``.

        Args:
            e: y - H(mean), ``(batch, *data)``.
            r2: Variance of the signal around its mean.
            sigma_y2: Variance of the noise, above 0.
        """
        e, count = self.seen(e), self.rank
        variance = r2 * self.s**2 + sigma_y2
        log_det = variance.log().sum() + (count - len(self.s)) * math.log(sigma_y2)
        squares = (real(e) * real(self.solve(e, r2, sigma_y2))).sum(1)
        return -(squares + log_det + count * math.log(2 * math.pi)) / 2

    def reduced(self) -> "Reduced":
        """The same for the data U^T y, which say all of x that y says, as an SVD operator."""
        return Reduced(self)

    def _signal(self, c: Spectrum) -> Signal:
        """V c."""
        if self.tall:
            return (c @ self.basis.T).unflatten(1, self.signal_shape)
        return self.H.adjoint(self._data(c / self.s))

    def _data(self, c: Spectrum) -> Data:
        """U c."""
        if self.tall:
            return self.H(self._signal(c / self.s))
        kind = torch.complex128 if self.complex_data else self.basis.dtype
        return real_as(c @ self.basis.T, c.new_empty(1, *self.data_shape, dtype=kind))

    def _product(self, size: int) -> Tensor:
        """H^T H, or H H^T where that is smaller, in float64."""
        rows = []
        for part in torch.eye(size, dtype=torch.float64).split(64):
            if self.tall:
                x = part.unflatten(1, self.signal_shape)
                rows.append(self.H.adjoint(self.H(x)).flatten(1))
            else:
                kind = torch.complex128 if self.complex_data else torch.float64
                y = real_as(part, torch.empty(1, *self.data_shape, dtype=kind))
                rows.append(real(self.H(self.H.adjoint(y))))
        product = torch.cat(rows)
        return (product + product.T) / 2


class Reduced(AlignedOperator):
    """x -> U^T H x: as many data as H has rank, one a singular value. See :meth:`Gram.reduced`.

    White noise stays white in ``data(y)``. What y holds beside them says nothing of x, but a
    residual's degrees of freedom are still those of H.
    """

    whole: Tensor

    def __init__(self, gram: Gram) -> None:
        super().__init__(RANK_TOLERANCE)
        if not gram.tall:
            raise ShapeError(
                f"Wanted at least as many data as unknowns, but got {gram.data_size} and "
                f"{gram.signal_size}. Use the Gram operator itself: its solve is exact."
            )
        self.gram = gram
        self.signal_shape, self.data_shape = gram.signal_shape, (len(gram.s),)
        rest = torch.linalg.svd(gram.basis, full_matrices=True)[0][:, len(gram.s) :]
        self.register_buffer("whole", torch.cat([gram.basis, rest], dim=1))

    def data(self, y: Data) -> Spectrum:
        """The reduced data, ``(batch, k)``."""
        return self.gram.coefficients(y)

    @property
    def singular_values(self) -> Tensor:
        return self.gram.s

    def V(self, z: Spectrum) -> Signal:
        return (z @ self.whole.T).unflatten(1, self.signal_shape)

    def Vt(self, x: Signal) -> Spectrum:
        return x.flatten(1) @ self.whole
