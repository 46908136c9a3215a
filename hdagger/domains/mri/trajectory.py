"""k-space along any path: spirals, radial spokes."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import FileError, ShapeError
from ...operators.base import LinearOperator
from ...tensors import Data, Signal
from .kspace import image_of, signal_of

Trajectory = Float[Tensor, "samples 2"]


class Path(LinearOperator):
    """k-space of several coils where a path leads, by torchkbnufft.

    Its unit is that of :func:`hdagger.domains.mri.kspace.to_kspace`, so that on a grid of
    frequencies they agree: what torchkbnufft calls orthonormal is so on its oversampled grid,
    and half as much.

    Args:
        maps: What each coil sees, ``(coils, rows, columns)``.
        trajectory: Frequencies along rows and columns, in cycles per pixel, from -1/2 to 1/2.

    Raises:
        ShapeError: A frequency is higher than pixels can show.
        FileError: torchkbnufft is not installed.

    References:
        Muckley et al., TorchKbNufft: a high-level, hardware-agnostic non-uniform fast Fourier
        transform, 2020. https://github.com/mmuckley/torchkbnufft
        Fessler and Sutton, Nonuniform fast Fourier transforms using min-max interpolation, 2003.
    """

    maps: Tensor
    trajectory: Tensor

    def __init__(self, maps: Complex[Tensor, "coils rows columns"], trajectory: Trajectory) -> None:
        super().__init__()
        try:
            from torchkbnufft import KbNufft, KbNufftAdjoint
        except ImportError as error:
            raise FileError(
                "Wanted torchkbnufft for k-space along a path, but it is not installed. "
                "pip install 'hdagger[mri]'"
            ) from error
        reach = float(trajectory.abs().max())
        if not reach <= 0.5:
            raise ShapeError(
                f"Wanted frequencies of -0.5 to 0.5 cycles per pixel, but got {reach:.3g}. "
                "Divide radians by 2 pi, and cycles per field of view by its pixels."
            )
        coils, *side = maps.shape
        self.signal_shape, self.data_shape = (2, *side), (coils, len(trajectory))
        self.complex_data = True
        self.register_buffer("maps", torch.view_as_real(maps.to(torch.complex128)))
        self.register_buffer("trajectory", 2 * torch.pi * trajectory.to(torch.float64).T)
        self.ahead = KbNufft(side, dtype=torch.complex128)
        self.back = KbNufftAdjoint(side, dtype=torch.complex128)

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        coils = torch.view_as_complex(self.maps) * image_of(x)[:, None]
        return 2 * self.ahead(coils, self.trajectory, norm="ortho")

    def adjoint(self, y: Data) -> Signal:
        coils = 2 * self.back(y, self.trajectory, norm="ortho")
        return signal_of((torch.view_as_complex(self.maps).conj() * coils).sum(1))
