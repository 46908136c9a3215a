"""Slices of bodies to learn from, in kilo-Hounsfield units."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...planes import Planes, Pose

PIXEL = 2.28
"""Millimetres; 128 of them hold a chest."""

POSE = Pose(turn=0.25, scales=(0.8, 1.25), shift=0.06, warp=0.01, mirror=True)

SHIFT = 0.03
"""Deviation by which all values of a slice are moved, kilo-Hounsfield units."""

AIR, METAL = -1.0, 3.0
"""Lowest and highest value."""


class Bodies:
    """Pictures ``(1, side, side)`` of HU / 1000: air -1, water 0.

    Args:
        folder: Volumes in HU, as scripts/gather_scans.py leaves them.
        side: Pixels a side.
        pixel: Millimetres a pixel.

    Raises:
        FileError: There is none, or one cannot be read.
    """

    def __init__(self, folder: Path, side: int, pixel: float = PIXEL) -> None:
        self.planes = Planes(folder, side, pixel)

    def draw(self, count: int, seed: int) -> Float[Tensor, "count 1 side side"]:
        """``count`` slices at any turn, size and place."""
        rng = np.random.default_rng([seed, 1])
        x = self.planes.draw(count, seed, POSE) / 1000
        shift = torch.from_numpy(SHIFT * rng.standard_normal((count, 1, 1, 1))).float()
        return (x + torch.where(x > -0.95, shift, 0)).clamp(AIR, METAL)

    def in_turn(self, count: int) -> Float[Tensor, "count 1 side side"]:
        """``count`` slices as they are."""
        return (self.planes.in_turn(count) / 1000).clamp(AIR, METAL)
