"""Kinematic clean-up: a motion smoothed, set on the ground, its feet held where they stand.

No simulator. Heights follow the lowest point of the body (a low quantile over 0.6 s, so that
jumps stay); the drift of feet that should stand is taken from the root; heels and toes in
contact get one place, which the legs reach by damped least squares.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import rotations
from .clips import Motion
from .skeleton import HINGE_AXIS

SMOOTH = 1 / 30
"""Seconds: standard deviation of the smoothing."""

WINDOW = 0.6
"""Seconds over which the ground is sought; longer flights are taken for floating."""

NEAR = 0.035
"""Metres: a heel or toe so close to the lowest one may be in contact."""

STILL = 0.5
"""Metres a second: the fastest that a contact moves."""

SHORTEST, BLEND = 0.1, 0.17
"""Seconds: of a contact, and over which its correction fades."""

LIFT = 0.025
"""Metres: the least height of a foot that is not in contact."""


def smooth(x: Float[Tensor, "frames *rest"], frames: float) -> Float[Tensor, "frames *rest"]:
    """Filtered along the first axis by a Gaussian with this standard deviation, in frames."""
    reach = max(1, round(4 * frames))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=x.dtype) / frames) ** 2)
    padded = torch.cat([x[:1].expand(reach, *x.shape[1:]), x, x[-1:].expand(reach, *x.shape[1:])])
    return torch.einsum("f...k,k->f...", padded.unfold(0, 2 * reach + 1, 1), taps / taps.sum())


def clean_up(motion: Motion) -> Motion:
    """The motion with its feet on the ground; of the same length and rate."""
    motion = motion.moved(smooth(motion.qpos, SMOOTH * motion.fps))
    motion = set_on_ground(motion)
    ends = _ends(motion)
    motion, ends = _without_drift(motion, ends)
    contact = _near(ends) & (_velocity(ends, motion.fps).norm(dim=-1) < STILL)
    return reach(motion, *_goals(ends, contact, motion.fps))


def set_on_ground(motion: Motion) -> Motion:
    """Moved up and down, slowly, with the ground that the lowest points tell."""
    half = max(1, round(WINDOW * motion.fps / 2))
    low = motion.lowest
    padded = torch.cat([low[:1].expand(half), low, low[-1:].expand(half)])
    ground = padded.unfold(0, 2 * half + 1, 1).quantile(0.15, dim=1)
    return motion.shifted(-smooth(ground, half / 2)[:, None] * low.new_tensor([0, 0, 1]))


def _ends(motion: Motion) -> Float[Tensor, "frames feet 2 3"]:
    """The middle of the heel and of the toe, on the sole."""
    return motion.skeleton.soles(motion.pose).unflatten(-2, (2, 2)).mean(-2)


def _near(ends: Tensor) -> Bool[Tensor, "frames feet 2"]:
    height = ends[..., 2]
    lowest = height.flatten(1).amin(1).clamp(min=0)[:, None, None]
    return (height - lowest < NEAR) & (height < NEAR + 0.02)


def _velocity(ends: Tensor, fps: float) -> Tensor:
    return torch.gradient(smooth(ends[..., :2], SMOOTH * fps), spacing=1 / fps, dim=0)[0]


def _without_drift(motion: Motion, ends: Tensor) -> tuple[Motion, Tensor]:
    """The mean horizontal velocity of what is in contact, taken from the root."""
    velocity = _velocity(ends, motion.fps)
    speed = velocity.norm(dim=-1)
    weight = (_near(ends) & (speed < 3 * STILL)).double()
    weight = weight * torch.exp(-ends[..., 2].clamp(min=0) / 0.015 - speed / 0.25)
    total = weight.sum((1, 2))
    drift = (velocity * weight[..., None]).sum((1, 2)) / total.clamp(min=1e-6)[:, None]
    drift = smooth(torch.where(total[:, None] < 1e-3, 0.0, drift), 1.5 * SMOOTH * motion.fps)
    way = torch.nn.functional.pad(drift.cumsum(0) / motion.fps, (0, 1))
    way = way - way[:1]
    return motion.shifted(-way), ends - way[:, None, None]


def _goals(
    ends: Tensor, contact: Tensor, fps: float
) -> tuple[Float[Tensor, "frames feet 2 3"], Float[Tensor, "frames feet 2"]]:
    """Where heels and toes shall be, and how much they shall lie flat there, from 0 to 1.

    A contact has one place; around it its correction fades, and the foot is lifted as it leaves.
    """
    goals, flat = ends.clone(), torch.zeros(ends.shape[:-1], dtype=ends.dtype)
    for foot in range(ends.shape[1]):
        for end in range(2):
            held = torch.zeros(len(ends), dtype=torch.bool)
            for first, stop in _runs(contact[:, foot, end], max(2, round(SHORTEST * fps))):
                spot = ends[first:stop, foot, end, :2].median(0).values
                goals[first:stop, foot, end, :2] = spot
                goals[first:stop, foot, end, 2] = 0
                held[first:stop] = True
            share, clear = held.to(ends), torch.zeros_like(ends[:, 0, 0, 0])
            if held.any() and not held.all():
                at, free = held.nonzero()[:, 0], (~held).nonzero()[:, 0]
                nearest = at[(free[:, None] - at).abs().argmin(1)]
                away = (free - nearest).abs().to(ends) / fps
                rest = (1 - away / (BLEND + 1 / fps)).clamp(min=0)
                share[free] = rest**2 * (3 - 2 * rest)
                moved = (goals - ends)[nearest, foot, end]
                goals[free, foot, end] += share[free, None] * moved
                clear[free] = LIFT * (away / SHORTEST).clamp(max=1)
            goals[:, foot, end, 2] = torch.maximum(goals[:, foot, end, 2], clear)
            flat[:, foot, end] = share
    return goals, flat


def _runs(flags: Bool[Tensor, " frames"], shortest: int) -> list[tuple[int, int]]:
    """The stretches in which the flag is set, as (first, one past the last)."""
    edges = torch.nn.functional.pad(flags.int(), (1, 1)).diff()
    firsts, stops = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    return [(a, b) for a, b in zip(firsts, stops, strict=True) if b - a >= shortest]


def reach(
    motion: Motion,
    goals: Float[Tensor, "frames feet 2 3"],
    flat: Float[Tensor, "frames feet 2"],
    sweeps: int = 8,
    damping: float = 1e-3,
) -> Motion:
    """The legs bent so that heels and toes come to the goals: damped least squares.

    Args:
        motion: The motion.
        goals: Where the middles of heels and toes shall be.
        flat: How much of a foot's sideways tilt shall go there, from 0 to 1.
        sweeps: Linear solves, at most.
        damping: Of a step, square metres.
    """
    skeleton, qpos = motion.skeleton, motion.qpos.clone()
    identity = torch.eye(7, dtype=qpos.dtype)
    for _ in range(sweeps):
        pose = skeleton.pose(qpos)
        corners = skeleton.soles(pose).unflatten(-2, (2, 2))
        middle = corners.mean(-2, keepdim=True)
        sideways = corners - middle
        level = sideways * sideways.new_tensor([1, 1, 0])
        wanted = goals[..., None, :] + torch.lerp(sideways, level, flat[..., None, None])
        error = (wanted - corners).flatten(2, 3)
        if error.abs().max() < 1e-3:
            break
        for side, foot in enumerate(skeleton.feet):
            hip, knee = foot - 2, foot - 1
            axes = torch.cat(
                [
                    pose.rotation[:, hip].mT,
                    (pose.rotation[:, knee] @ qpos.new_tensor(HINGE_AXIS))[:, None],
                    pose.rotation[:, foot].mT,
                ],
                1,
            )
            pivot = pose.position[:, [hip] * 3 + [knee] + [foot] * 3]
            arm = corners[:, side].flatten(1, 2)[:, :, None] - pivot[:, None]
            J = torch.linalg.cross(axes[:, None].expand_as(arm), arm).mT.flatten(1, 2)
            pull = J.mT @ error[:, side].flatten(1)[..., None]
            step = torch.linalg.solve(J.mT @ J + damping * identity, pull)[..., 0]
            step = step.clamp(-0.15, 0.15)
            for body, turn in ((hip, step[:, :3]), (foot, step[:, 4:])):
                columns = skeleton.columns[skeleton.names[body]]
                change = rotations.from_vector(turn)
                qpos[:, columns] = rotations.multiply(qpos[:, columns], change)
            qpos[:, skeleton.columns[skeleton.names[knee]]] += step[:, 3:4]
    return motion.moved(qpos)
