"""Clips: motions of the humanoid, resampled, turned, mirrored and repeated."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import FileError
from . import rotations
from .skeleton import HUMANOID, Pose, Skeleton

FPS = 30.0
MOST_FRAMES = 200_000
AT_ONCE = 5000
"""Frames of a long clip that are worked on at once, which bounds the memory."""

FARTHEST = 1000.0
"""Metres; what lies farther is a broken file."""


@dataclass(frozen=True)
class Motion:
    """A motion, sampled at equal times.

    Attributes:
        qpos: ``(frames, 43)`` in float64, unit quaternions that do not jump; see
            :mod:`.skeleton`.
        fps: Frames a second.
        skeleton: Whose coordinates they are.
    """

    qpos: Float[Tensor, "frames size"]
    fps: float = FPS
    skeleton: Skeleton = HUMANOID

    def __len__(self) -> int:
        return len(self.qpos)

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (len(self) - 1) / self.fps

    @cached_property
    def pose(self) -> Pose:
        return self.skeleton.pose(self.qpos)

    @cached_property
    def points(self) -> Float[Tensor, "frames points 3"]:
        """Joints and tips in the world."""
        return self.skeleton.place_points(self.pose)

    @cached_property
    def lowest(self) -> Float[Tensor, " frames"]:
        """Height of the lowest point of the body."""
        return self.skeleton.lowest(self.pose)

    @cached_property
    def centre_of_mass(self) -> Float[Tensor, "frames 3"]:
        return self.skeleton.centre_of_mass(self.pose)

    def moved(self, qpos: Float[Tensor, "frames size"]) -> "Motion":
        """The same body at the same rate, in other coordinates."""
        return replace(self, qpos=self.skeleton.normalise(qpos))

    def __getitem__(self, frames: slice) -> "Motion":
        return replace(self, qpos=self.qpos[frames])

    def shifted(self, offset: Float[Tensor, "*frames 3"]) -> "Motion":
        """Every frame moved by an offset, metres."""
        qpos = self.qpos.clone()
        qpos[:, :3] += offset
        return replace(self, qpos=qpos)

    def turned(self, angle: Tensor) -> "Motion":
        """Turned about the vertical axis through the origin, by an angle in radians."""
        qpos, turn = self.qpos.clone(), rotations.about_z(angle)
        qpos[:, :3] = qpos[:, :3] @ rotations.to_matrix(turn).mT
        qpos[:, 3:7] = rotations.multiply(turn, qpos[:, 3:7])
        return self.moved(qpos)

    def heading(self) -> Float[Tensor, " frames"]:
        """Where the root faces, in radians from x."""
        forward = self.pose.rotation[:, 0, :, 0]
        return torch.atan2(forward[:, 1], forward[:, 0])

    def canonical(self) -> "Motion":
        """Moved so that the first frame stands over the origin and faces x."""
        start = self.qpos[0, :3] * self.qpos.new_tensor([1, 1, 0])
        return self.shifted(-start).turned(-self.heading()[0])

    def mirrored(self) -> "Motion":
        """Left and right exchanged: a reflection of y."""
        flip = self.qpos.new_tensor([1, -1, 1, -1])
        qpos = self.qpos.clone()
        qpos[:, 1] *= -1
        other = {"r": "l", "l": "r"}
        for body in self.skeleton.bodies:
            columns = self.skeleton.columns[body.name]
            twin = other.get(body.name[0], "") + body.name[1:]
            source = self.skeleton.columns.get(twin, columns)
            values = self.qpos[:, source]
            qpos[:, columns] = values if body.joint == "hinge" else values * flip
        return self.moved(qpos)

    def resampled(self, fps: float) -> "Motion":
        """At another rate: positions and angles linearly, quaternions along the great circle."""
        if fps == self.fps or len(self) < 2:
            return replace(self, fps=fps)
        count = int(self.seconds * fps + 1e-6) + 1
        at = torch.arange(count, dtype=torch.float64) * (self.fps / fps)
        times = torch.arange(len(self), dtype=torch.float64)
        return replace(self, qpos=interpolate(self.skeleton, self.qpos, times, at), fps=fps)

    def repeated(self, frames: int) -> "Motion":
        """A cyclic motion, gone on with until it has ``frames`` frames or more."""
        parts, end = [self.qpos], self
        turn = self.heading()[-1] - self.heading()[0]
        while sum(map(len, parts)) < frames:
            step = end.turned(turn)
            step = step.shifted(_flat(parts[-1][-1, :3] - step.qpos[0, :3]))
            parts.append(step.qpos[1:])
            end = step
        return self.moved(torch.cat(parts))

    def grounded(self, share: float = 0.1) -> "Motion":
        """Moved up or down so that in ``share`` of the frames the body is below the ground."""
        return self.shifted(self.qpos.new_tensor([0, 0, -1]) * self.lowest.quantile(share))


def _flat(v: Tensor) -> Tensor:
    return v * v.new_tensor([1, 1, 0])


def interpolate(skeleton: Skeleton, qpos: Tensor, times: Tensor, at: Tensor) -> Tensor:
    """Coordinates at the times ``at``, from those at ``times``, which ascend."""
    high = torch.searchsorted(times, at, right=True).clamp(1, len(times) - 1)
    low = high - 1
    share = ((at - times[low]) / (times[high] - times[low]).clamp(min=1e-9)).clamp(0, 1)[:, None]
    found = torch.lerp(qpos[low], qpos[high], share)
    columns = skeleton.quaternions
    turns = rotations.slerp(qpos[low][:, columns], qpos[high][:, columns], share[..., None])
    found[:, columns.flatten()] = turns.flatten(1)
    return skeleton.normalise(found)


def unwatched(done: int, total: int) -> None:
    """For work whose progress nobody watches."""


def checked(path: Path, qpos: Tensor, fps: float) -> Motion:
    """A motion from a file, if its numbers are those of one.

    Raises:
        FileError: They are too few, too many, not finite, or kilometres away.
    """
    wrong = None
    if not 1 <= fps <= 1000:
        wrong = f"{fps:.4g} frames a second, where 1 to 1000 are read"
    elif len(qpos) < 2:
        wrong = f"{len(qpos)} frames, and a motion has 2 or more"
    elif len(qpos) > MOST_FRAMES:
        wrong = f"{len(qpos)} frames, more than {MOST_FRAMES}"
    elif not qpos.isfinite().all():
        frame = int((~qpos.isfinite()).any(1).nonzero()[0])
        wrong = f"a number that is not finite in frame {frame}"
    elif qpos[:, :3].abs().max() > FARTHEST:
        wrong = f"a root {float(qpos[:, :3].abs().max()):.3g} m from the origin"
    elif (qpos[:, HUMANOID.quaternions].norm(dim=-1) < 0.1).any():
        wrong = "a quaternion of length 0"
    if wrong:
        raise FileError(f"Wanted a motion, but {path} has {wrong}. Export the clip again.")
    whole = float(round(fps))
    return Motion(HUMANOID.normalise(qpos), whole if abs(fps - whole) < 2e-4 * fps else fps)
