"""Pictures to learn from out of volumes: planes at any place, turn, size and thickness."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from .errors import FileError
from .volumes import NIFTI, NRRD, Volume, read_volume

THIN = 2.0
"""Millimetres between slices up to which a volume is cut in all three directions."""

RIM = 0.12
"""Share of such a volume, at either end of a direction, that is not cut: little is there."""


@dataclass(frozen=True)
class Pose:
    """How far planes are moved.

    Attributes:
        turn: Largest turn, radians.
        scales: Smallest and largest size, as shares of the true one.
        shift: Largest way, as a share of the frame.
        warp: Deviation of an elastic warp, as a share of the frame.
        mirror: Whether half of them are mirrored, left and right.
    """

    turn: float = 0.0
    scales: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    warp: float = 0.0
    mirror: bool = False


class Planes:
    """Frames of ``side`` x ``side`` pixels of ``pixel`` millimetres, from the volumes of a folder.

    A volume is drawn first, each as often as another, then a plane of it. What lies outside of
    a volume has its lowest value.

    Args:
        folder: NIfTI and NRRD files.
        side: Pixels a side of a frame.
        pixel: Millimetres a pixel.
        thickness: Smallest and largest, millimetres, of a plane of a volume of thin slices.

    Raises:
        FileError: There is no volume, or one cannot be read.
    """

    def __init__(
        self, folder: Path, side: int, pixel: float, thickness: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        self.side, self.pixel, self.thickness = side, pixel, thickness
        paths = sorted(p for p in folder.glob("*") if p.name.lower().endswith(NIFTI + NRRD))
        if not paths:
            raise FileError(
                f"Wanted volumes, but {folder} has no {', '.join(NIFTI + NRRD)}. "
                "Gather some with scripts/gather_scans.py."
            )
        self.volumes = [read_volume(path) for path in paths]

    def draw(self, count: int, seed: int, pose: Pose) -> Float[Tensor, "count 1 side side"]:
        """``count`` planes, moved at random.

        Args:
            count: How many.
            seed: Which ones.
            pose: How far they are moved.
        """
        rng = np.random.default_rng(seed)
        return torch.cat([self._one(rng, pose) for _ in range(count)])

    def in_turn(self, count: int) -> Float[Tensor, "count 1 side side"]:
        """``count`` planes across the body, as they are, spread over the middle of all volumes."""
        frames = []
        for row in range(count):
            volume = self.volumes[row % len(self.volumes)]
            share = 0.2 + 0.6 * (row // len(self.volumes) + 0.5) / math.ceil(
                count / len(self.volumes)
            )
            plane = volume.values[int(share * len(volume.values))]
            frames.append(self._framed(plane, volume.spacing[1:], torch.eye(2), torch.zeros(2)))
        return torch.cat(frames)

    def _one(self, rng: np.random.Generator, pose: Pose) -> Tensor:
        volume = self.volumes[rng.integers(len(self.volumes))]
        plane, spacing = self._plane(volume, rng)
        angle = rng.uniform(-pose.turn, pose.turn)
        scale = math.exp(rng.uniform(*np.log(pose.scales)))
        flip = -1.0 if pose.mirror and rng.random() < 0.5 else 1.0
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        turn = torch.tensor([[cos * flip, sin], [-sin * flip, cos]])
        shift = torch.from_numpy(rng.uniform(-pose.shift, pose.shift, 2)).float() * 2
        warp = None
        if pose.warp:
            coarse = torch.from_numpy(rng.standard_normal((1, 2, 4, 4))).float()
            size = (2 * self.side, 2 * self.side)
            warp = 2 * pose.warp * interpolate(coarse, size, mode="bicubic")
        return self._framed(plane, spacing, turn, shift, warp)

    def _plane(self, volume: Volume, rng: np.random.Generator) -> tuple[Tensor, Sequence[float]]:
        """A plane of a volume, and the millimetres between its rows and columns."""
        thin = volume.spacing[0] <= THIN
        axis = int(rng.integers(3)) if thin else 0
        count = volume.values.shape[axis]
        wanted = rng.uniform(*self.thickness) if thin else 0
        half = int(wanted / volume.spacing[axis] / 2)
        rim = max(half, round(RIM * count) if thin else 0)
        middle = int(rng.integers(rim, count - rim))
        plane = volume.values.narrow(axis, middle - half, 2 * half + 1).mean(axis)
        spacing = [volume.spacing[k] for k in range(3) if k != axis]
        if axis:
            plane = plane.flip(0)
        return plane, spacing

    def _framed(
        self,
        plane: Float[Tensor, "rows columns"],
        spacing: Sequence[float],
        turn: Float[Tensor, "2 2"],
        shift: Float[Tensor, "2"],
        warp: Tensor | None = None,
    ) -> Float[Tensor, "1 1 side side"]:
        """A plane at the pixels of a frame, averaged over four points of each."""
        fine, low = 2 * self.side, plane.min()
        step = self.pixel / 2
        rows, columns = plane.shape
        shrink = [max(1, int(step / each)) for each in spacing]
        source = avg_pool2d((plane - low)[None, None], shrink, ceil_mode=True)
        sides = torch.tensor([columns * spacing[1], rows * spacing[0]])
        theta = torch.cat([turn, -turn @ shift[:, None]], 1) * (fine * step / sides)[:, None]
        grid = affine_grid(theta[None], [1, 1, fine, fine], align_corners=False)
        if warp is not None:
            grid = grid + warp.permute(0, 2, 3, 1) * (fine * step / sides)
        frame = grid_sample(source, grid, align_corners=False)
        return avg_pool2d(frame, 2) + low
