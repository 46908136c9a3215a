"""k-space off the grid: spirals, radial spokes."""

from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import FileError, ShapeError
from ...operators.base import LinearOperator
from ...tensors import Data, Signal
from .kspace import image_of, signal_of

Trajectory = Float[Tensor, "samples 2"]


class NonCartesian(LinearOperator):
    """k-space of several coils along a trajectory, by torchkbnufft.

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

    def __init__(
        self, maps: Complex[Tensor, "coils rows columns"], trajectory: Trajectory
    ) -> None:
        super().__init__()
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
        self._made: dict[tuple[torch.dtype, torch.device], tuple[Any, Any]] = {}
        self._transforms()

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        coils = torch.view_as_complex(self.maps) * image_of(x)[:, None]
        ahead, _ = self._transforms()
        return 2 * ahead(coils, self.trajectory, norm="ortho")

    def adjoint(self, y: Data) -> Signal:
        _, back = self._transforms()
        coils = 2 * back(y, self.trajectory, norm="ortho")
        return signal_of((torch.view_as_complex(self.maps).conj() * coils).sum(1))

    def _transforms(self) -> tuple[Any, Any]:
        """The transform and its adjoint, which cannot be moved to a real precision."""
        at = self.maps.dtype.to_complex(), self.maps.device
        if at not in self._made:
            try:
                from torchkbnufft import KbNufft, KbNufftAdjoint
            except ImportError as error:
                raise FileError(
                    "Wanted torchkbnufft for k-space off the grid, but it is not installed. "
                    "pip install 'hdagger[mri]'"
                ) from error
            side = self.signal_shape[1:]
            kinds = (KbNufft, KbNufftAdjoint)
            ahead, back = (kind(side, dtype=at[0], device=at[1]) for kind in kinds)
            self._made[at] = ahead, back
        return self._made[at]
