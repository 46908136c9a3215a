"""Complex pictures of heads to learn from: three directions, any contrast, bias and phase."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ...planes import Planes, Pose

PIXEL = 1.6
"""Millimetres; 128 of them hold a head."""

POSE = Pose(turn=0.4, scales=(0.75, 1.2), shift=0.06, warp=0.012, mirror=True)

THICKNESS = 1.0, 6.0
"""Millimetres of a plane."""

WHITE = 0.99, 0.3
"""Quantile of the magnitude that is the unit, give or take ``UNIT``; but at least this share of
the highest, where a frame is nearly empty."""

UNIT = 0.12
"""Deviation of the logarithm of the unit: what a measurement shows of it is not exact."""

GAMMA = 0.35
"""Deviation of the logarithm of a power that bends the contrast."""

BIAS = 0.25
"""Deviation of the logarithm of a smooth gain."""

SHARPER = 1.5
"""Most that a picture is sharpened, in its difference from itself blurred: the average of many
scans, or of many persons, is softer than one."""

GRAIN = 0.03
"""Largest deviation of grain in a picture, as a scanner leaves it."""

SPOTS = 0.25
"""Share of pictures with one to three spots of another brightness, as lesions are."""

PHASE = 1.5
"""Largest deviation of the smooth part of the phase, and of its slope a half frame, radians."""


class Heads:
    """Pictures ``(2, side, side)``: real and imaginary part, the magnitude's highlights about 1.

    Args:
        folder: Volumes, as scripts/gather_scans.py leaves them.
        side: Pixels a side.

    Raises:
        FileError: There is none, or one cannot be read.
    """

    def __init__(self, folder: Path, side: int) -> None:
        self.side = side
        self.planes = Planes(folder, side, PIXEL * 128 / side, THICKNESS)

    def draw(self, count: int, seed: int) -> Float[Tensor, "count 2 side side"]:
        """``count`` pictures at any turn, size, contrast, bias and phase."""
        rng = np.random.default_rng([seed, 1])
        x = self._of_unit(self.planes.draw(count, seed, POSE))
        gamma = torch.from_numpy(np.exp(GAMMA * rng.standard_normal(count)))
        x = x.clamp(min=0) ** gamma.float().view(-1, 1, 1, 1)
        x = x * (BIAS * self._smooth(count, 3, rng)).exp()
        spotted = torch.from_numpy(rng.random(count) < SPOTS)
        if spotted.any():
            x[spotted] = self._spots(x[spotted], rng)
        x = self._grainy(self._of_unit(x), rng)
        x = self._of_unit(x) * torch.from_numpy(np.exp(UNIT * rng.standard_normal(count))).view(
            -1, 1, 1, 1
        )
        return self._turned(x.float(), rng)

    def in_turn(self, count: int, seed: int) -> Float[Tensor, "count 2 side side"]:
        """``count`` planes across the body, as sharp as a scan, with grain and a smooth phase."""
        rng = np.random.default_rng([seed, 2])
        x = self._grainy(self._of_unit(self.planes.in_turn(count)), rng)
        return self._turned(self._of_unit(x), rng)

    def _of_unit(self, x: Tensor) -> Tensor:
        quantile, share = WHITE
        flat = x.flatten(1)
        high = torch.maximum(flat.quantile(quantile, dim=1), share * flat.amax(1))
        return x / high.clamp(min=1e-6).view(-1, 1, 1, 1)

    def _smooth(self, count: int, knots: int, rng: np.random.Generator) -> Tensor:
        """Smooth fields of deviation about 1, ``(count, 1, side, side)``."""
        coarse = torch.from_numpy(rng.standard_normal((count, 1, knots, knots))).float()
        size = (self.side, self.side)
        return interpolate(coarse, size, mode="bicubic", align_corners=True)

    def _grainy(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Sharper, and with grain where there is something to see."""
        some = lambda most: torch.from_numpy(rng.uniform(0, most, (len(x), 1, 1, 1))).float()
        soft = avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        grain = torch.from_numpy(rng.standard_normal(x.shape)).float()
        return x + some(SHARPER) * (x - soft) + some(GRAIN) * grain * (soft > 0.02)

    def _spots(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        place = torch.linspace(-1, 1, self.side)
        for row in range(len(x)):
            for _ in range(rng.integers(1, 4)):
                v, u = rng.uniform(-0.6, 0.6, 2)
                a, b = np.exp(rng.uniform(math.log(0.03), math.log(0.2), 2))
                angle, edge = rng.uniform(0, math.pi), rng.uniform(4, 14)
                dy, dx = place[:, None] - v, place - u
                along = dx * math.cos(angle) + dy * math.sin(angle)
                across = dy * math.cos(angle) - dx * math.sin(angle)
                r = ((along / a) ** 2 + (across / b) ** 2).sqrt()
                inside = torch.sigmoid(edge * (1 - r))
                if rng.random() < 0.4:
                    inside = inside - torch.sigmoid(edge * (rng.uniform(0.5, 0.8) - r))
                x[row, 0] = x[row, 0] * (1 + float(rng.uniform(-0.8, 1.5)) * inside)
        return x

    def _turned(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """The magnitude with a phase: constant, linear and smooth."""
        count = len(x)
        place = torch.linspace(-1, 1, self.side)
        random = lambda v: torch.from_numpy(v).float().view(-1, 1, 1, 1)
        phase = random(rng.uniform(0, 2 * math.pi, count))
        phase = phase + random(PHASE * rng.standard_normal(count)) * place[:, None]
        phase = phase + random(PHASE * rng.standard_normal(count)) * place
        phase = phase + random(rng.uniform(0, PHASE, count)) * self._smooth(count, 4, rng)
        return torch.cat([x * phase.cos(), x * phase.sin()], 1)
