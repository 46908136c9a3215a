"""Operators that a fast orthonormal transform makes diagonal."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..linalg import Basis
from ..tensors import Data, Signal, Spectrum
from .base import AlignedOperator, SVDOperator


class Scaled(AlignedOperator):
    """H(x) = factor x.

    Args:
        signal_shape: Shape of one signal.
        factor: Above 0.
    """

    s: Tensor

    def __init__(self, signal_shape: tuple[int, ...], factor: float) -> None:
        super().__init__()
        self.signal_shape = self.data_shape = signal_shape
        count = math.prod(signal_shape)
        self.register_buffer("s", torch.full((count,), factor, dtype=torch.float64))

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def component(self) -> "Scaled | None":
        return self._of_component("s")

    def V(self, z: Spectrum) -> Signal:
        return z.unflatten(1, self.signal_shape)

    def Vt(self, x: Signal) -> Spectrum:
        return x.flatten(1)


class Identity(Scaled):
    """H(x) = x: denoising.

    Args:
        signal_shape: Shape of one signal.
    """

    def __init__(self, signal_shape: tuple[int, ...]) -> None:
        super().__init__(signal_shape, 1.0)


class Inpainting(AlignedOperator):
    """Keeps the pixels under a mask and sets the rest to zero: H = diag(mask).

    The data keep the shape of the signal, so masks may differ from image to image; a
    dropped pixel is a singular value of zero, and what y holds there is never looked at.

    Args:
        mask: True where a pixel is observed: ``(*signal)``, or ``(batch, *signal)`` with
            ``per_image=True``.
        per_image: Whether the first axis of ``mask`` is the batch.

    References:
        Kawar et al., Denoising Diffusion Restoration Models, 2022, appendix D.
        https://arxiv.org/abs/2201.11793

    Example:
        >>> H = Inpainting(torch.tensor([[True, False], [True, True]]))
        >>> H(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64))
        tensor([[[1., 0.],
                 [3., 4.]]], dtype=torch.float64)
    """

    one: Tensor
    """1, in the precision of the operator; the mask takes a byte for each number."""

    mask: Tensor

    def __init__(self, mask: Bool[Tensor, "*shape"], per_image: bool = False) -> None:
        super().__init__()
        self.signal_shape = self.data_shape = tuple(mask.shape[per_image:])
        flat = mask.flatten(1) if per_image else mask.flatten()
        self.register_buffer("one", torch.ones((), dtype=torch.float64))
        self.register_buffer("mask", flat)

    @property
    def visible(self) -> Bool[Tensor, "..."]:
        return self.mask.unflatten(-1, self.data_shape)

    @property
    def singular_values(self) -> Tensor:
        return self.mask * self.one

    def component(self) -> "Inpainting | None":
        each = self.mask.unflatten(-1, (self.signal_shape[0], -1))
        return self._of_component("mask") if (each == each[..., :1, :]).all() else None

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return x * self.visible

    def adjoint(self, y: Data) -> Signal:
        return self.seen(y)

    def pinv(self, y: Data) -> Signal:
        return self.seen(y)

    def V(self, z: Spectrum) -> Signal:
        return z.unflatten(1, self.signal_shape)

    def Vt(self, x: Signal) -> Spectrum:
        return x.flatten(1)


class Dense(SVDOperator):
    """Any matrix, by its own decomposition; for small signals.

    Args:
        matrix: ``(m, n)``, with n the number of elements of a signal.
        signal_shape: Shape of one signal; by default ``(n,)``.
        rank_tolerance: See :class:`SVDOperator`.
    """

    s: Tensor

    def __init__(
        self,
        matrix: Float[Tensor, "m n"],
        signal_shape: tuple[int, ...] | None = None,
        rank_tolerance: float | None = None,
    ) -> None:
        super().__init__(rank_tolerance)
        u, s, vt = torch.linalg.svd(matrix.to(torch.float64), full_matrices=False)
        self.register_buffer("s", s)
        self.left, self.right = Basis(u), Basis(vt.T)
        self.signal_shape = signal_shape or (matrix.shape[1],)
        self.data_shape = (matrix.shape[0],)

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def U(self, z: Spectrum) -> Data:
        return self.left(z)

    def Ut(self, y: Data) -> Spectrum:
        return self.left.coefficients(y)

    def V(self, z: Spectrum) -> Signal:
        return self.right(z).unflatten(1, self.signal_shape)

    def Vt(self, x: Signal) -> Spectrum:
        return self.right.coefficients(x.flatten(1))
