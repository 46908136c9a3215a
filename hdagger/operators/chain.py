"""Operators one after the other: ``outer @ inner`` is x -> outer(inner(x)).

The result stands on the highest rung that is exactly true.

=====================================  ====================================================
outer @ inner                          stands on
=====================================  ====================================================
mask @ aligned                         ``AlignedOperator``: the mask joins the values
mask @ linear                          ``LinearOperator``, by conjugate gradients
SVD @ onto, all values equal           ``SVDOperator``: the outer one's, in the inner's basis
linear @ linear                        ``LinearOperator``, by conjugate gradients
rounding @ linear                      a rounding; ``PinvOperator`` if the linear part is onto
any @ JPEG                             what the JPEG says: it is looked at decoded
one-to-one @ pinv, pinv @ onto         ``PinvOperator``, the pseudoinverses in reverse order
any other                              ``Operator``
=====================================  ====================================================
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import ShapeError
from ..tensors import Data, Signal, Spectrum
from .base import AlignedOperator, LinearOperator, Operator, PinvOperator, SVDOperator
from .quantisation import Quantiser
from .spectral import Identity, Inpainting

Pair = TypeVar("Pair", bound=LinearOperator)


class Sequence(Operator):
    """outer after inner, whatever they are.

    Args:
        outer: Applied last.
        inner: Applied first.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__()
        self.outer = outer
        self.inner = inner
        self.signal_shape = inner.signal_shape
        self.data_shape = outer.data_shape
        self.differentiable = outer.differentiable and inner.differentiable
        self.complex_data = outer.complex_data

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return self.outer.visible

    @property
    def onto(self) -> bool:
        return self.outer.onto and self.inner.onto

    @property
    def one_to_one(self) -> bool:
        return self.outer.one_to_one and self.inner.one_to_one

    def forward(self, x: Signal) -> Data:
        return self.outer(self.inner(x))


class Chain(Sequence, LinearOperator):
    """outer after inner, both linear."""

    outer: LinearOperator
    inner: LinearOperator

    def component(self) -> "Chain | None":
        return _component(Chain, self.outer, self.inner)

    def adjoint(self, y: Data) -> Signal:
        return self.inner.adjoint(self.outer.adjoint(y))

    def preconditioner(
        self, r2: float | Tensor, sigma_y2: float | Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        """The inner one's, as if the outer one multiplied all by its norm."""
        if not isinstance(self.outer, SVDOperator):
            return None
        return self.inner.preconditioner(r2 * self.outer.singular_values.max() ** 2, sigma_y2)


class MaskedLinear(LinearOperator):
    """A mask over the data of any linear operator.

    Args:
        mask: Over ``inner.data_shape``.
        inner: The operator whose data it masks.
    """

    def __init__(self, mask: Inpainting, inner: LinearOperator) -> None:
        super().__init__()
        self.mask, self.inner = mask, inner
        self.signal_shape, self.data_shape = inner.signal_shape, inner.data_shape
        self.complex_data = inner.complex_data

    @property
    def visible(self) -> Bool[Tensor, "..."]:
        return _both(self.mask.visible, self.inner.visible)

    def component(self) -> "MaskedLinear | None":
        return _component(MaskedLinear, self.mask, self.inner)

    def forward(self, x: Signal) -> Data:
        return self.seen(self.inner(x))

    def adjoint(self, y: Data) -> Signal:
        return self.inner.adjoint(self.seen(y))

    def preconditioner(
        self, r2: float | Tensor, sigma_y2: float | Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        return self.inner.preconditioner(r2, sigma_y2)


class Masked(AlignedOperator):
    """A mask over the data of an aligned operator: the mask joins the singular values.

    Args:
        mask: Over ``inner.data_shape``.
        inner: The operator whose data it masks.
    """

    def __init__(self, mask: Inpainting, inner: AlignedOperator) -> None:
        super().__init__(inner.rank_tolerance)
        self.mask, self.inner = mask, inner
        self.signal_shape, self.data_shape = inner.signal_shape, inner.data_shape
        self.complex_data = inner.complex_data

    @property
    def visible(self) -> Bool[Tensor, "..."]:
        return _both(self.mask.visible, self.inner.visible)

    @property
    def singular_values(self) -> Tensor:
        mask = self.mask.singular_values
        if self.complex_data:
            mask = mask.repeat_interleave(2, dim=-1)
        return mask * self.inner.singular_values

    def component(self) -> "Masked | None":
        return _component(Masked, self.mask, self.inner)

    def V(self, z: Spectrum) -> Signal:
        return self.inner.V(z)

    def Vt(self, x: Signal) -> Spectrum:
        return self.inner.Vt(x)


class Rotated(SVDOperator):
    """An SVD operator after one that is onto and has all its singular values equal.

    With the inner U a V^T, the outer's right singular vectors, taken back by U, are the first
    of the whole; the values are multiplied by a.

    Args:
        outer: Applied last.
        inner: Applied first.
    """

    def __init__(self, outer: SVDOperator, inner: SVDOperator) -> None:
        super().__init__(outer.rank_tolerance)
        self.outer = outer
        self.inner = inner
        self.signal_shape = inner.signal_shape
        self.data_shape = outer.data_shape
        self.complex_data = outer.complex_data

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return self.outer.visible

    @property
    def singular_values(self) -> Tensor:
        return self.outer.singular_values * self.inner.singular_values[0]

    def component(self) -> "Rotated | None":
        return _component(Rotated, self.outer, self.inner)

    def U(self, z: Spectrum) -> Data:
        return self.outer.U(z)

    def Ut(self, y: Data) -> Spectrum:
        return self.outer.Ut(y)

    def V(self, z: Spectrum) -> Signal:
        m = self.inner.data_size
        return self.inner.V(torch.cat([self.inner.Ut(self.outer.V(z[:, :m])), z[:, m:]], dim=1))

    def Vt(self, x: Signal) -> Spectrum:
        m = self.inner.data_size
        z = self.inner.Vt(x)
        return torch.cat([self.outer.Vt(self.inner.U(z[:, :m])), z[:, m:]], dim=1)


class PinvSequence(Sequence, PinvOperator):
    """outer after inner, with inner.pinv after outer.pinv.

    H(pinv(H(x))) = H(x) as outer is one-to-one or inner onto.
    """

    outer: PinvOperator
    inner: PinvOperator

    def pinv(self, y: Data) -> Signal:
        return self.inner.pinv(self.outer.pinv(y))


def compose(outer: Operator, inner: Operator) -> Operator:
    """x -> outer(inner(x)), on the highest rung that is exactly true; also ``outer @ inner``.

    The inner operator may know a better form (:meth:`Operator.seen_by`). Compose from the left:
    ``(mask @ jpeg) @ average``.

    Raises:
        ShapeError: The data of ``inner`` are no signal of ``outer``.

    Example:
        >>> from hdagger.operators.quantisation import Bits
        >>> from hdagger.operators.spectral import Dense
        >>> H = Bits((4,), 3) @ Dense(torch.eye(4, 6))
        >>> type(H).__name__, H.signal_shape, H.data_shape
        ('Quantised', (6,), (4,))
    """
    seen = inner.seen_by(outer)
    if seen is not None:
        return seen
    if outer.signal_shape != inner.data_shape:
        raise ShapeError(
            f"{type(outer).__name__} works on signals of shape {outer.signal_shape}, but "
            f"{type(inner).__name__} gives data of shape {inner.data_shape}. "
            f"Build {type(outer).__name__} for signal_shape={inner.data_shape}."
        )
    if isinstance(outer, Identity):
        return inner
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Inpainting) and isinstance(inner, AlignedOperator):
        return Masked(outer, inner)
    if isinstance(outer, SVDOperator) and isinstance(inner, SVDOperator) and _even(inner):
        return Rotated(outer, inner)
    if isinstance(inner, LinearOperator):
        if isinstance(outer, Inpainting):
            return MaskedLinear(outer, inner)
        if isinstance(outer, LinearOperator):
            return Chain(outer, inner)
        if isinstance(outer, Quantiser):
            return outer.after(inner)
    invertible = isinstance(outer, PinvOperator) and isinstance(inner, PinvOperator)
    if invertible and (outer.one_to_one or inner.onto):
        return PinvSequence(outer, inner)
    return Sequence(outer, inner)


def _component(
    kind: Callable[[Any, Any], Pair], outer: LinearOperator, inner: LinearOperator
) -> Pair | None:
    """Such a pair for one component, where both do the same to each."""
    one, other = outer.component(), inner.component()
    return None if one is None or other is None else kind(one, other)


def _both(a: Tensor, b: Tensor | None) -> Tensor:
    return a if b is None else a & b


def _even(H: SVDOperator) -> bool:
    """Onto, with all its singular values equal."""
    s = H.singular_values
    return (
        s.ndim == 1
        and not H.complex_data
        and H.onto
        and bool((s - s[0]).abs().max() <= 1e-12 * s[0])
    )


def _matmul(self: Operator, inner: Operator, /) -> Operator:
    return compose(self, inner)


Operator.__matmul__ = _matmul
