"""How physically plausible a motion is, in millimetres, and how far two motions are apart.

The metrics of PhysDiff, on the surface of the body over the plane z = 0:

- Penetrate: mean over frames of the depth of the lowest point, where it is below the ground by
  more than the tolerance;
- Float: mean over frames of its height, where it is above by more than the tolerance (the whole
  height counts, not what exceeds the tolerance);
- Skate: mean over pairs of frames of the horizontal way of the corners of the soles that are
  under the margin in both, 0 where there is none;
- Phys-Err: their sum.

Traps: a real flight counts as Float, so ``grounded`` leaves out frames in which the centre
of mass falls freely (at -g, give or take 2 m/s^2); a floating body cannot skate; Skate depends on
the margin and, being a way per frame, on the rate. The numbers carry all three.

References:
    Yuan, Song, Iqbal, Vahdat and Kautz, PhysDiff, ICCV 2023, section 4.
    https://arxiv.org/abs/2212.02500
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from .clips import Motion

TOLERANCE = 0.005
MARGIN = 0.005
GRAVITY, FREE = 9.81, 2.0


@dataclass(frozen=True)
class Plausibility:
    """The metrics of one motion, and what they depend on.

    Attributes:
        penetrate: In mm a frame.
        floating: In mm a frame.
        skate: In mm a frame.
        grounded: Floating without the frames of free flight.
        flight: Share of the frames in free flight.
        jerk: Mean of the third derivative of the points, m/s^3.
        tolerance: Heights up to this are on the ground, mm.
        margin: Soles up to this touch the ground, mm.
        fps: Frames a second.
    """

    penetrate: float
    floating: float
    skate: float
    grounded: float
    flight: float
    jerk: float
    tolerance: float
    margin: float
    fps: float

    @property
    def phys_err(self) -> float:
        return self.penetrate + self.floating + self.skate

    def row(self) -> dict[str, float]:
        """The numbers by their names, Phys-Err first, rounded."""
        names = {"floating": "float", "grounded": "float_grounded"}
        numbers = {"phys_err": self.phys_err} | asdict(self)
        return {names.get(name, name): round(value, 3) for name, value in numbers.items()}


def plausibility(
    motion: Motion, tolerance: float = TOLERANCE, margin: float = MARGIN
) -> Plausibility:
    """The metrics of a motion of 2 frames or more.

    Args:
        motion: The motion.
        tolerance: In metres.
        margin: In metres.
    """
    low = motion.lowest
    penetrate = torch.where(low < -tolerance, -low, 0.0)
    above = torch.where(low > tolerance, low, 0.0)
    soles = motion.skeleton.soles(motion.pose).flatten(1, 2)
    down = (soles[:-1, :, 2] <= margin) & (soles[1:, :, 2] <= margin)
    way = soles.diff(dim=0)[..., :2].norm(dim=-1)
    skate = (way * down).sum(1) / down.sum(1).clamp(min=1)
    flies = in_flight(motion)
    jerk = torch.zeros(1)
    if len(motion) > 3:
        jerk = motion.points.diff(n=3, dim=0).norm(dim=-1) * motion.fps**3
    return Plausibility(
        penetrate=1e3 * float(penetrate.mean()),
        floating=1e3 * float(above.mean()),
        skate=1e3 * float(skate.mean()),
        grounded=1e3 * float(torch.where(flies, 0.0, above).mean()),
        flight=float(flies.double().mean()),
        jerk=float(jerk.mean()),
        tolerance=1e3 * tolerance,
        margin=1e3 * margin,
        fps=motion.fps,
    )


def in_flight(motion: Motion) -> Bool[Tensor, " frames"]:
    """Frames in which nothing but gravity moves the centre of mass."""
    flies = torch.zeros(len(motion), dtype=torch.bool)
    if len(motion) > 2:
        rise = motion.centre_of_mass[:, 2].diff(n=2) * motion.fps**2
        flies[1:-1] = (rise + GRAVITY).abs() < FREE
    return flies & (motion.lowest > TOLERANCE)


def distance(a: Motion, b: Motion) -> float:
    """Mean distance of joints and tips in the world, mm."""
    return 1e3 * float((a.points - b.points).norm(dim=-1).mean())


def root_relative_distance(a: Motion, b: Motion) -> float:
    """The same with both roots at the origin, mm."""
    apart = (a.points - a.points[:, :1]) - (b.points - b.points[:, :1])
    return 1e3 * float(apart.norm(dim=-1).mean())
