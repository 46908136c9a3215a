"""Operators on pictures that a fast orthonormal transform makes diagonal."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...linalg import hadamard
from ...operators.base import AlignedOperator
from ...operators.convolution import CircularBlur as CircularBlur
from ...tensors import Signal, Spectrum


class Grayscale(AlignedOperator):
    """One weighted sum of the colours of each pixel.

    Args:
        signal_shape: ``(channels, height, width)``.
        weights: One weight a channel. By default the luma of ITU-R BT.601 for three channels,
            as in Pillow's mode L, and their mean for any other number.
    """

    colours: Tensor
    s: Tensor

    def __init__(
        self,
        signal_shape: tuple[int, int, int],
        weights: Float[Tensor, " channels"] | None = None,
    ) -> None:
        super().__init__()
        channels, *pixels = signal_shape
        if weights is None:
            luma = [0.299, 0.587, 0.114] if channels == 3 else [1 / channels] * channels
            weights = torch.tensor(luma)
        w = weights.to(torch.float64)
        mirror = w / w.norm() + torch.eye(channels, dtype=torch.float64)[0]
        reflection = 2 * torch.outer(mirror, mirror) / mirror.dot(mirror)
        self.register_buffer("colours", reflection - torch.eye(channels, dtype=torch.float64))
        self.register_buffer("s", w.norm().repeat(math.prod(pixels)))
        self.signal_shape = signal_shape
        self.data_shape = (1, *pixels)

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def V(self, z: Spectrum) -> Signal:
        return torch.einsum("ij,bjhw->bihw", self.colours, z.unflatten(1, self.signal_shape))

    def Vt(self, x: Signal) -> Spectrum:
        return torch.einsum("ij,bjhw->bihw", self.colours, x).flatten(1)


class WalshHadamard(AlignedOperator):
    """Compressed sensing: a random part of the Walsh-Hadamard coefficients of each channel.

    Args:
        signal_shape: ``(channels, height, width)``, with height x width a power of two.
        ratio: Pixels for each measured coefficient, 1 or more.
        seed: Which coefficients are measured, the same for all channels.

    References:
        Kawar et al., Denoising Diffusion Restoration Models, 2022, appendix D.
        https://arxiv.org/abs/2201.11793
    """

    order: Tensor
    ones: Tensor

    def __init__(
        self, signal_shape: tuple[int, int, int], ratio: float = 4, seed: int = 0
    ) -> None:
        super().__init__()
        channels, height, width = signal_shape
        n = height * width
        if n & (n - 1):
            raise ShapeError(
                f"WalshHadamard wants height x width to be a power of two, but got {height} x "
                f"{width}. Crop the image to {_power_of_two(height)} x {_power_of_two(width)}."
            )
        if ratio < 1:
            raise SettingError(
                f"WalshHadamard wants a ratio of 1 or more, but got {ratio}. 4 keeps a quarter."
            )
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("order", torch.randperm(n, generator=generator))
        self.measured = max(1, int(n / ratio))
        self.register_buffer("ones", torch.ones(channels * self.measured, dtype=torch.float64))
        self.signal_shape = signal_shape
        self.data_shape = (channels, self.measured)

    @property
    def singular_values(self) -> Tensor:
        return self.ones

    def V(self, z: Spectrum) -> Signal:
        channels = self.signal_shape[0]
        measured = z[:, : channels * self.measured].unflatten(1, (channels, self.measured))
        rest = z[:, channels * self.measured :].unflatten(1, (channels, -1))
        coefficients = torch.cat([measured, rest], dim=-1)[..., self.order.argsort()]
        return hadamard(coefficients).unflatten(-1, self.signal_shape[1:])

    def Vt(self, x: Signal) -> Spectrum:
        coefficients = hadamard(x.flatten(2))[..., self.order]
        measured, rest = coefficients.tensor_split([self.measured], dim=-1)
        return torch.cat([measured.flatten(1), rest.flatten(1)], dim=1)


def _power_of_two(n: int) -> int:
    return 1 << (n.bit_length() - 1)
