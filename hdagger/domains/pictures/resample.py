"""Operators that average neighbours: block averages, and what factors into rows and columns."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import SettingError, ShapeError
from ...linalg import dct_matrix
from ...operators.base import AlignedOperator, SVDOperator
from ...operators.convolution import MirrorBlur
from ...tensors import Data, Signal, Spectrum


class BlockAverage(AlignedOperator):
    """The mean of every ``factor x factor`` block.

    A block's orthonormal DCT has its mean in the first coefficient, so V is a DCT block by
    block and every singular value is ``1 / factor``.

    Args:
        signal_shape: ``(channels, height, width)``, both multiples of ``factor``.
        factor: Side of a block, 1 or more.
    """

    dct: Tensor
    s: Tensor

    def __init__(self, signal_shape: tuple[int, int, int], factor: int) -> None:
        super().__init__()
        channels, height, width = signal_shape
        if factor < 1:
            raise SettingError(
                f"BlockAverage wants a factor of 1 or more, but got {factor}. Try 4."
            )
        if height % factor or width % factor or not height or not width:
            wanted = tuple(max(1, side // factor) * factor for side in (height, width))
            raise ShapeError(
                f"BlockAverage wants height and width to be multiples of {factor}, but got "
                f"{height} x {width}. Crop the image to {wanted[0]} x {wanted[1]}."
            )
        self.factor = factor
        self.signal_shape = signal_shape
        self.data_shape = (channels, height // factor, width // factor)
        self.register_buffer("dct", dct_matrix(factor))
        count = math.prod(self.data_shape)
        self.register_buffer("s", torch.full((count,), 1 / factor, dtype=torch.float64))

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def component(self) -> "BlockAverage | None":
        return self._of_component("s")

    def V(self, z: Spectrum) -> Signal:
        blocks = z.unflatten(1, (self.factor, self.factor, *self.data_shape))
        return torch.einsum("kp,lq,bklchw->bchpwq", self.dct, self.dct, blocks).reshape(
            -1, *self.signal_shape
        )

    def Vt(self, x: Signal) -> Spectrum:
        channels, rows, columns = self.data_shape
        blocks = x.reshape(-1, channels, rows, self.factor, columns, self.factor)
        return torch.einsum("kp,lq,bchpwq->bklchw", self.dct, self.dct, blocks).flatten(1)


class Separable(SVDOperator):
    """y = A x B^T, for each channel by itself.

    With A = Ua diag(a) Va^T and B likewise, the singular values are the products a_i b_j;
    the coefficients that have one come first.

    Args:
        signal_shape: ``(channels, height, width)``.
        rows: A, which maps columns of ``height`` pixels to ``(m, height)``, m <= height.
        columns: B, which maps rows of ``width`` pixels, ``(l, width)``, l <= width.
        rank_tolerance: See :class:`SVDOperator`.
    """

    ua: Tensor
    ub: Tensor
    va: Tensor
    vb: Tensor
    s: Tensor

    def __init__(
        self,
        signal_shape: tuple[int, int, int],
        rows: Float[Tensor, "m height"],
        columns: Float[Tensor, "l width"],
        rank_tolerance: float | None = None,
    ) -> None:
        super().__init__(rank_tolerance)
        ua, a, va = torch.linalg.svd(rows.to(torch.float64), full_matrices=True)
        ub, b, vb = torch.linalg.svd(columns.to(torch.float64), full_matrices=True)
        for name, value in (("ua", ua), ("ub", ub), ("va", va), ("vb", vb)):
            self.register_buffer(name, value)
        self.register_buffer("s", torch.outer(a, b).flatten().repeat(signal_shape[0]))
        self.signal_shape = signal_shape
        self.data_shape = (signal_shape[0], len(rows), len(columns))

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def component(self) -> "Separable | None":
        return self._of_component("s")

    def U(self, z: Spectrum) -> Data:
        return self.ua @ z.unflatten(1, self.data_shape) @ self.ub.T

    def Ut(self, y: Data) -> Spectrum:
        return (self.ua.T @ y @ self.ub).flatten(1)

    def V(self, z: Spectrum) -> Signal:
        channels, m, l = self.data_shape
        height, width = self.signal_shape[1:]
        seen, right, below = z.split(
            [channels * m * l, channels * m * (width - l), channels * (height - m) * width], dim=1
        )
        top = torch.cat(
            [seen.unflatten(1, (channels, m, l)), right.unflatten(1, (channels, m, width - l))], 3
        )
        grid = torch.cat([top, below.unflatten(1, (channels, height - m, width))], dim=2)
        return self.va.T @ grid @ self.vb

    def Vt(self, x: Signal) -> Spectrum:
        _, m, l = self.data_shape
        grid = self.va @ x @ self.vb.T
        parts = (grid[:, :, :m, :l], grid[:, :, :m, l:], grid[:, :, m:])
        return torch.cat([part.flatten(1) for part in parts], dim=1)


class Bicubic(Separable):
    """Antialiased bicubic reduction, as Pillow's ``resize(..., BICUBIC)`` does it.

    Args:
        signal_shape: ``(channels, height, width)``.
        factor: Reduction, 1 or more; the data have ``ceil(side / factor)`` pixels a side.

    References:
        Keys, Cubic convolution interpolation, 1981 (a = -0.5), stretched by the factor.
        https://doi.org/10.1109/TASSP.1981.1163711
    """

    def __init__(self, signal_shape: tuple[int, int, int], factor: int) -> None:
        if factor < 1:
            raise SettingError(f"Bicubic wants a factor of 1 or more, but got {factor}. Try 4.")
        _, height, width = signal_shape
        super().__init__(signal_shape, self._matrix(height, factor), self._matrix(width, factor))

    @staticmethod
    def _matrix(length: int, factor: int) -> Tensor:
        reduced = -(-length // factor)
        columns = torch.eye(length, dtype=torch.float64)[None, None]
        return nn.functional.interpolate(
            columns, size=(reduced, length), mode="bicubic", antialias=True
        )[0, 0]


class SeparableBlur(MirrorBlur):
    """Blur by one kernel along the columns and one along the rows, the image mirrored outside.

    Args:
        signal_shape: ``(channels, height, width)``.
        vertical: Taps along the height, an odd number, symmetric.
        horizontal: Taps along the width; by default those of ``vertical``.
    """

    def __init__(
        self,
        signal_shape: tuple[int, int, int],
        vertical: Float[Tensor, " taps"],
        horizontal: Float[Tensor, " other_taps"] | None = None,
    ) -> None:
        horizontal = vertical if horizontal is None else horizontal
        super().__init__(signal_shape, torch.outer(vertical.double(), horizontal.double()))
