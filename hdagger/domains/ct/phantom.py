"""Bodies of ellipses, whose line integrals are known exactly.

References:
    Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, section 3.1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .scan import Frame, Rays, Scan

FINE = 8
"""Parts of a pixel, a side, over which a picture is averaged."""


@dataclass(frozen=True)
class Ellipse:
    """What is inside differs from what is around it by ``value``.

    Attributes:
        value: HU / 1000.
        a: Half of an axis, mm.
        b: Half of the other.
        x: Of the middle, mm.
        y: Of the middle.
        turn: Of the first axis from +x, radians.
    """

    value: float
    a: float
    b: float
    x: float = 0.0
    y: float = 0.0
    turn: float = 0.0

    def _round(self, v: Tensor) -> Tensor:
        """Vectors where the ellipse is a circle of radius 1, ``(..., 2)``."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        turned = v @ torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        return turned / torch.tensor([self.a, self.b], dtype=torch.float64)

    def holds(self, points: Float[Tensor, "*shape 2"]) -> Tensor:
        """Which points lie in it."""
        middle = torch.tensor([self.x, self.y], dtype=torch.float64)
        return self._round(points - middle).square().sum(-1) < 1

    def chords(self, rays: Rays) -> Float[Tensor, " rays"]:
        """The length of each ray within it, mm."""
        middle = torch.tensor([self.x, self.y], dtype=torch.float64)
        p, d = self._round(rays.point - middle), self._round(rays.direction)
        dd, pd = d.square().sum(1), (p * d).sum(1)
        return 2 * (pd.square() - dd * (p.square().sum(1) - 1)).clamp(min=0).sqrt() / dd


@dataclass(frozen=True)
class Phantom:
    """Ellipses in air; where they overlap, their values add."""

    ellipses: tuple[Ellipse, ...]

    def line_integrals(self, scan: Scan, angle: float, rays: int) -> Float[Tensor, "bins rays"]:
        """Of mu along the rays of a view; exact."""
        through = scan.rays(angle, rays)
        total = torch.stack([e.value * e.chords(through) for e in self.ellipses]).sum(0)
        return scan.mu_water * total.unflatten(0, (-1, rays))

    def picture(self, frame: Frame) -> Float[Tensor, "rows columns"]:
        """HU / 1000, the mean over each pixel."""
        fine = Frame(frame.rows * FINE, frame.columns * FINE, frame.pixel / FINE, frame.x, frame.y)
        x, y = fine.centres()
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        value = torch.zeros(points.shape[:2], dtype=torch.float64)
        for ellipse in self.ellipses:
            value[ellipse.holds(points)] += ellipse.value
        return avg_pool2d(value[None], FINE)[0] - 1


def chest(seed: int) -> Phantom:
    """A body with lungs, a heart, a spine, ribs and a few nodules, 290 mm across at most."""
    rng = np.random.default_rng(seed)
    near = lambda value, spread: float(rng.normal(value, spread))
    a, b = near(125, 4), near(85, 3)
    parts = [Ellipse(near(0.94, 0.01), a, b), Ellipse(near(0.1, 0.01), 0.94 * a, 0.92 * b)]
    for side in (-1, 1):
        x, turn = side * near(0.45, 0.01) * a, -side * near(0.15, 0.03)
        parts.append(
            Ellipse(near(-0.85, 0.02), 0.35 * a, near(0.68, 0.02) * b, x, near(4, 2), turn)
        )
        for _ in range(4):
            size = rng.uniform(2, 6)
            place = x + rng.uniform(-0.18, 0.18) * a, rng.uniform(-0.35, 0.35) * b
            parts.append(Ellipse(near(0.8, 0.1), size, rng.uniform(0.7, 1) * size, *place))
    parts.append(Ellipse(near(0.02, 0.01), 13, 24, near(0, 1), near(15, 2), near(0.4, 0.1)))
    parts.append(Ellipse(near(0.45, 0.05), 15, 12, 0.0, -0.62 * b))
    parts.append(Ellipse(-0.3, 8, 6, 0.0, -0.62 * b))
    for turn in np.linspace(0, 2 * math.pi, 12, endpoint=False) + 0.26:
        place = 0.88 * a * math.cos(turn), 0.86 * b * math.sin(turn)
        parts.append(Ellipse(near(0.6, 0.1), near(9, 1), 3, *place, turn + math.pi / 2))
    return Phantom(tuple(parts))
