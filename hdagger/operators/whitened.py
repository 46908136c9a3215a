"""Data whose noise differs from one to the next, divided by it: then sigma_y is 1."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import SettingError, ShapeError
from ..tensors import Data, Signal, Spectrum
from .base import AlignedOperator, LinearOperator, Operator


class Weights(torch.nn.Module):
    """W = 1 / noise over the data, zero where the noise is infinite.

    Args:
        noise: Deviation of the noise on each number, ``(*data)``, above 0; infinite where nothing
            was seen. Of complex data, that of the real and the imaginary part each.
        data_shape: What ``noise`` must have.
    """

    w: Tensor

    def __init__(self, noise: Float[Tensor, "*data"], data_shape: tuple[int, ...]) -> None:
        super().__init__()
        if tuple(noise.shape) != data_shape:
            raise ShapeError(
                f"Wanted a deviation for each of the data, {data_shape}, but got an array of "
                f"shape {tuple(noise.shape)}. Expand it to {data_shape}."
            )
        if not (noise > 0).all():
            raise SettingError(
                f"Wanted noise above 0, but got {float(noise.min()):g}. Give exact data a small "
                "deviation, such as that of their rounding."
            )
        self.register_buffer("w", 1 / noise.to(torch.float64))

    def forward(self, y: Data) -> Data:
        return torch.where(self.w > 0, self.w * y, 0)

    def visible(self, inner: Tensor | None) -> Tensor | None:
        if (self.w > 0).all():
            return inner
        return self.w > 0 if inner is None else (self.w > 0) & inner


class WhitenedMap(Operator):
    """W H, whose data W y have noise of deviation 1. Make one with :func:`whitened`."""

    def __init__(self, H: Operator, weights: Weights) -> None:
        super().__init__()
        self.H, self.white = H, weights
        self.signal_shape, self.data_shape = H.signal_shape, H.data_shape
        self.complex_data, self.differentiable = H.complex_data, H.differentiable

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return self.white.visible(self.H.visible)

    def forward(self, x: Signal) -> Data:
        return self.white(self.H(x))


class Whitened(WhitenedMap, LinearOperator):
    """W H of a linear H. Make one with :func:`whitened`."""

    H: LinearOperator

    def adjoint(self, y: Data) -> Signal:
        return self.H.adjoint(self.white(self.seen(y)))


class WhitenedAligned(AlignedOperator):
    """W H of an aligned H: the weights join the singular values. See :func:`whitened`."""

    def __init__(self, H: AlignedOperator, weights: Weights) -> None:
        super().__init__(H.rank_tolerance)
        self.H, self.white = H, weights
        self.signal_shape, self.data_shape = H.signal_shape, H.data_shape
        self.complex_data = H.complex_data

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return self.white.visible(self.H.visible)

    @property
    def singular_values(self) -> Tensor:
        w = self.white.w.flatten()
        return (w.repeat_interleave(2) if self.complex_data else w) * self.H.singular_values

    def V(self, z: Spectrum) -> Signal:
        return self.H.V(z)

    def Vt(self, x: Signal) -> Spectrum:
        return self.H.Vt(x)


def whitened(H: Operator, noise: Float[Tensor, "*data"]) -> WhitenedMap | WhitenedAligned:
    """W H for data of unequal noise; its ``white(y)`` are the data to go with it, at sigma_y = 1.

    An aligned H keeps its singular value decomposition.

    Args:
        H: The operator.
        noise: See :class:`Weights`.

    Example:
        >>> from hdagger.operators.spectral import Identity
        >>> H = whitened(Identity((3,)), torch.tensor([0.5, 2.0, torch.inf]))
        >>> H.white(torch.tensor([[1.0, 1.0, torch.nan]], dtype=torch.float64))
        tensor([[2.0000, 0.5000, 0.0000]], dtype=torch.float64)
        >>> H.rank
        2
    """
    weights = Weights(noise, H.data_shape)
    if isinstance(H, AlignedOperator):
        return WhitenedAligned(H, weights)
    return (Whitened if isinstance(H, LinearOperator) else WhitenedMap)(H, weights)
