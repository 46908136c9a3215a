"""Operators one after the other: ``compose(outer, inner)`` is x -> outer(inner(x)).

The result stands on the highest rung that is exactly true: a mask over data whose
coefficients are its pixels keeps the decomposition; any other chain of linear maps is
linear, and is inverted by conjugate gradients.
"""

from torch import Tensor

from ..errors import OperatorAbilityError, ShapeError
from ..linalg import conjugate_gradients
from ..tensors import Data, Signal, Spectrum
from .base import AlignedOperator, LinearOperator, Operator
from .spectral import Identity, Inpainting


class Chain(LinearOperator):
    """outer after inner, both linear.

    Args:
        outer: Applied last.
        inner: Applied first.
    """

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        super().__init__()
        self.outer = outer
        self.inner = inner
        self.signal_shape = inner.signal_shape
        self.data_shape = outer.data_shape

    def forward(self, x: Signal) -> Data:
        return self.outer(self.inner(x))

    def adjoint(self, y: Data) -> Signal:
        return self.inner.adjoint(self.outer.adjoint(y))

    def solve(self, y: Data, r2: float | Tensor, sigma_y2: float | Tensor) -> Data:
        if sigma_y2 == 0:
            y = self.outer(self.outer.pinv(y))
        return conjugate_gradients(lambda u: r2 * self(self.adjoint(u)) + sigma_y2 * u, y)

    def pinv(self, y: Data) -> Signal:
        return self.adjoint(self.solve(y, 1.0, 0.0))


class Masked(AlignedOperator):
    """A mask over the data of an aligned operator: the mask joins the singular values.

    Args:
        mask: Over ``inner.data_shape``.
        inner: The operator whose data it masks.
    """

    def __init__(self, mask: Inpainting, inner: AlignedOperator) -> None:
        super().__init__(inner.rank_tolerance)
        self.mask = mask
        self.inner = inner
        self.signal_shape = inner.signal_shape
        self.data_shape = inner.data_shape

    @property
    def singular_values(self) -> Tensor:
        return self.mask.singular_values * self.inner.singular_values

    def V(self, z: Spectrum) -> Signal:
        return self.inner.V(z)

    def Vt(self, x: Signal) -> Spectrum:
        return self.inner.Vt(x)


def compose(outer: Operator, inner: Operator) -> Operator:
    """x -> outer(inner(x)), on the highest rung that is exactly true.

    Raises:
        ShapeError: The data of ``inner`` are no signal of ``outer``.
        OperatorAbilityError: One of them is not linear.
    """
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
    if isinstance(outer, LinearOperator) and isinstance(inner, LinearOperator):
        return Chain(outer, inner)
    raise OperatorAbilityError(
        f"Only linear operators compose, but got {type(outer).__name__} after "
        f"{type(inner).__name__}. Apply them one at a time."
    )
