"""Images and their k-space: F, the centred orthonormal Fourier transform.

F = fftshift FFT ifftshift, so that both have their origin at the pixel ``size // 2`` of each side.
Being orthonormal, it leaves white noise white.
"""

import torch
from jaxtyping import Complex
from torch import Tensor

from ...tensors import Signal

Image = Complex[Tensor, "*batch rows columns"]


def image_of(x: Signal) -> Complex[Tensor, "batch rows columns"]:
    """The complex image of a signal, ``(batch, 2, rows, columns)``."""
    return torch.complex(x[:, 0], x[:, 1])


def signal_of(image: Complex[Tensor, "batch rows columns"]) -> Signal:
    """The signal of a complex image."""
    return torch.stack([image.real, image.imag], dim=1)


def middle(x: Tensor, rows: int, columns: int) -> Tensor:
    """The middle of the last two axes."""
    first, left = x.shape[-2] // 2 - rows // 2, x.shape[-1] // 2 - columns // 2
    return x[..., first : first + rows, left : left + columns]


def to_kspace(image: Image, axes: tuple[int, ...] = (-2, -1)) -> Image:
    """F along these axes."""
    z = torch.fft.fftn(torch.fft.ifftshift(image, axes), dim=axes, norm="ortho")
    return torch.fft.fftshift(z, axes)


def to_image(kspace: Image, axes: tuple[int, ...] = (-2, -1)) -> Image:
    """The inverse of F along these axes, and its adjoint."""
    z = torch.fft.ifftn(torch.fft.ifftshift(kspace, axes), dim=axes, norm="ortho")
    return torch.fft.fftshift(z, axes)
