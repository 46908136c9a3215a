"""Pictures that are stored lying or mirrored."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """How a picture that is stored lying or mirrored comes upright.

    Attributes:
        orientation: EXIF's tag 0x0112, 1 to 8; anything else is taken as 1.

    References:
        CIPA DC-008, Exchangeable image file format, version 2.32, section 4.6.4.
    """

    orientation: int = 1

    @property
    def _flips(self) -> list[int]:
        rows, columns = self.orientation in (3, 4, 7, 8), self.orientation in (2, 3, 6, 7)
        return [-2] * rows + [-1] * columns

    @property
    def _lying(self) -> bool:
        return 5 <= self.orientation <= 8

    def __call__(self, pixels: Tensor) -> Tensor:
        """Upright, ``(..., height, width)``."""
        return (pixels.transpose(-1, -2) if self._lying else pixels).flip(self._flips)

    def back(self, pixels: Tensor) -> Tensor:
        """As stored."""
        pixels = pixels.flip(self._flips)
        return pixels.transpose(-1, -2) if self._lying else pixels

    def kernel_back(self, kernel: Float[Tensor, "rows columns"]) -> Float[Tensor, "odd odder"]:
        """The kernel that does to the stored picture what ``kernel`` does to the upright one.

        Args:
            kernel: Its centre is at ``(rows // 2, columns // 2)``.

        Returns:
            With odd sides, so that the centre stays the centre.
        """
        rows, columns = kernel.shape
        grown = torch.nn.functional.pad(kernel, (0, 1 - columns % 2, 0, 1 - rows % 2))
        return self.back(grown)

    def angle_back(self, degrees: float) -> float:
        """The angle, in the stored picture, of a line at this one in the upright picture.

        Counter-clockwise from the horizontal, from 0 to below 180.
        """
        angle = -degrees if len(self._flips) == 1 else degrees
        return (90 - angle if self._lying else angle) % 180
