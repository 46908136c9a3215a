"""Kinematic clean-up: a motion smoothed, set on the ground, its feet held where they stand.

No simulator. The lowest point of the body is put on the ground wherever the body does not fall
freely, so that jumps stay; the drift of feet that should stand is taken from the root; heels and
toes in contact get one place and one direction, which the legs reach by damped least squares.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from . import rotations
from .clips import AT_ONCE, Motion
from .metrics import GRAVITY
from .skeleton import HINGE_AXIS

SMOOTH = 1 / 30
"""Seconds: standard deviation of the smoothing."""

GROUND = 0.13
"""Seconds: that of the ground's height."""

NEAR = 0.025
"""Metres: a heel or toe so close to the lowest one may be in contact."""

STILL = 0.5
"""Metres a second: the fastest that a contact moves."""

SHORTEST, BLEND = 0.1, 0.17
"""Seconds: of a contact, and over which its correction fades."""

TURN = 0.35
"""Radians: how far a foot in contact may turn in the motion without turning in the clean-up."""

LIFT, CLEAR, UPRIGHT = 0.045, 0.07, 1 / 30
"""The least height of a foot that is not in contact, metres; seconds until it is so high; seconds
in which it moves straight up or down."""

FREE = 0.2
"""What a heel or toe that is not in contact weighs against one that is."""


def smooth(x: Float[Tensor, "frames *rest"], frames: float) -> Float[Tensor, "frames *rest"]:
    """Filtered along the first axis by a Gaussian with this standard deviation, in frames."""
    reach = max(1, round(4 * frames))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=x.dtype) / frames) ** 2)
    padded = torch.cat([x[:1].expand(reach, *x.shape[1:]), x, x[-1:].expand(reach, *x.shape[1:])])
    found = torch.zeros_like(x)
    for shift, tap in enumerate(taps / taps.sum()):
        found += tap * padded[shift : shift + len(x)]
    return found


def clean_up(motion: Motion) -> Motion:
    """The motion with its feet on the ground; of the same length and rate."""
    motion = motion.moved(smooth(motion.qpos, SMOOTH * motion.fps))
    motion = _without_drift(set_on_ground(motion))
    corners = _corners(motion)
    ends = corners.mean(-2)
    contact = _near(ends) & (_velocity(ends, motion.fps).norm(dim=-1) < STILL)
    goals, share = _goals(corners, contact, motion.fps)
    parts = [slice(k, k + AT_ONCE) for k in range(0, len(motion), AT_ONCE)]
    return motion.moved(torch.cat([reach(motion[k], goals[k], share[k]).qpos for k in parts]))


def set_on_ground(motion: Motion) -> Motion:
    """Moved up and down, slowly, so that the lowest point is on the ground but for flights."""
    low, stands = motion.lowest, ~_falls(motion)
    if stands.any():
        time = np.arange(len(low))
        low = low.new_tensor(np.interp(time, time[stands.numpy()], low[stands].numpy()))
    ground = smooth(low, GROUND * motion.fps)
    return motion.shifted(-ground[:, None] * low.new_tensor([0, 0, 1]))


def _falls(motion: Motion) -> Bool[Tensor, " frames"]:
    """Frames in which the centre of mass falls at half of gravity or more."""
    height = smooth(motion.centre_of_mass[:, 2], SMOOTH * motion.fps)
    fall = height.diff(n=2) * motion.fps**2 < -GRAVITY / 2
    return torch.nn.functional.pad(fall, (1, len(height) - len(fall) - 1))


def _corners(motion: Motion) -> Float[Tensor, "frames feet 2 2 3"]:
    """Of the soles: of heel and toe, the right and the left."""
    return motion.skeleton.soles(motion.pose).unflatten(-2, (2, 2))


def _near(ends: Tensor) -> Bool[Tensor, "frames feet 2"]:
    height = ends[..., 2]
    lowest = height.flatten(1).amin(1).clamp(min=0)[:, None, None]
    return (height - lowest < NEAR) & (height < NEAR + 0.01)


def _velocity(ends: Tensor, fps: float) -> Tensor:
    return torch.gradient(smooth(ends[..., :2], SMOOTH * fps), spacing=1 / fps, dim=0)[0]


def _without_drift(motion: Motion) -> Motion:
    """The mean horizontal velocity of what is in contact, taken from the root."""
    ends = _corners(motion).mean(-2)
    velocity = _velocity(ends, motion.fps)
    speed = velocity.norm(dim=-1)
    weight = (_near(ends) & (speed < 3 * STILL)).double()
    weight = weight * torch.exp(-ends[..., 2].clamp(min=0) / 0.015 - speed / 0.25)
    total = weight.sum((1, 2))
    drift = (velocity * weight[..., None]).sum((1, 2)) / total.clamp(min=1e-6)[:, None]
    drift = smooth(torch.where(total[:, None] < 1e-3, 0.0, drift), 1.5 * SMOOTH * motion.fps)
    way = torch.nn.functional.pad(drift.cumsum(0) / motion.fps, (0, 1))
    return motion.shifted(way[:1] - way)


def _goals(
    corners: Float[Tensor, "frames feet 2 2 3"], contact: Bool[Tensor, "frames feet 2"], fps: float
) -> tuple[Float[Tensor, "frames feet 2 2 3"], Float[Tensor, "frames feet 2"]]:
    """Where the corners of the soles shall be, and how much that matters, from 0 to 1.

    A heel or toe in contact lies flat in one place; from there it goes straight up, and so it
    comes. Between two contacts the correction of the one turns into that of the other. A foot is
    lifted only while another stands.
    """
    goals, share = corners.clone(), torch.zeros_like(corners[..., 0, 0])
    away = torch.full_like(share, math.inf)
    time, shortest = torch.arange(len(corners)), max(2, round(SHORTEST * fps))
    for foot in range(contact.shape[1]):
        for end in range(2):
            own = corners[:, foot, end]
            if not (runs := _runs(contact[:, foot, end], shortest)):
                continue
            after = torch.searchsorted(torch.tensor([stop for _, stop in runs]), time, right=True)
            around = [(after - 1).clamp(min=0), after.clamp(max=len(runs) - 1)]
            corrections, gaps = zip(*(_held(own, runs, run, fps) for run in around), strict=True)
            gap = torch.stack(gaps)
            beyond = (gap - UPRIGHT).clamp(min=0)
            near = 1 / (beyond**2 + 1e-12)
            correction = (near[..., None, None] * torch.stack(corrections)).sum(0)
            rest = (1 - beyond.amin(0) / BLEND).clamp(min=0)
            fade = rest**2 * (3 - 2 * rest)
            goals[:, foot, end] += (fade / near.sum(0))[:, None, None] * correction
            share[:, foot, end] = fade
            away[:, foot, end] = gap.amin(0)
    stands = (1 - away.amin((1, 2), keepdim=True) / BLEND).clamp(min=0)
    clear = LIFT * (away / CLEAR).clamp(max=1) * stands
    goals[..., 2] += (clear - goals[..., 2].amin(-1)).clamp(min=0)[..., None]
    return goals, share


def _held(
    own: Float[Tensor, "frames 2 3"], runs: list[tuple[int, int]], run: Int[Tensor, " frames"],
    fps: float,
) -> tuple[Float[Tensor, "frames 2 3"], Float[Tensor, " frames"]]:  # fmt: skip
    """What two corners lack, in each frame, to where they stand in a contact, and its distance.

    Beyond the contact and the time of going straight up, what they lack there is taken.

    Args:
        own: The corners.
        runs: Contacts, as (first, one past the last).
        run: Which of them, for each frame.
        fps: Frames a second.
    """
    time, upright = torch.arange(len(own)), round(UPRIGHT * fps)
    first, stop = torch.tensor(runs)[run].T
    frame = time.clamp(first - upright, stop - 1 + upright).clamp(0, len(own) - 1)
    middle = torch.stack([own[a:b].mean(1).median(0).values for a, b in runs])[run]
    across = torch.view_as_complex((own[:, 1, :2] - own[:, 0, :2]).contiguous())
    facing = torch.stack([across[a:b].mean() for a, b in runs])[run]
    turn = (across[frame] / facing).angle()
    turn = turn - turn.clamp(-TURN, TURN)
    half = torch.view_as_real(torch.polar(across.abs().mean() / 2, facing.angle() + turn))
    place = torch.stack([middle[:, :2] - half, middle[:, :2] + half], 1)
    lacking = torch.nn.functional.pad(place, (0, 1)) - own[frame]
    return lacking, (time - time.clamp(first, stop - 1)).abs().to(own) / fps


def _runs(flags: Bool[Tensor, " frames"], shortest: int) -> list[tuple[int, int]]:
    """The stretches in which the flag is set, as (first, one past the last)."""
    edges = torch.nn.functional.pad(flags.int(), (1, 1)).diff()
    firsts, stops = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    return [(a, b) for a, b in zip(firsts, stops, strict=True) if b - a >= shortest]


def reach(
    motion: Motion,
    goals: Float[Tensor, "frames feet 2 2 3"],
    share: Float[Tensor, "frames feet 2"],
    sweeps: int = 8,
    damping: float = 1e-3,
) -> Motion:
    """The legs bent so that the corners of the soles come to the goals: damped least squares.

    Args:
        motion: The motion.
        goals: Where the corners shall be.
        share: How much heels and toes matter, from 0 to 1.
        sweeps: Linear solves, at most.
        damping: Of a step, square metres.
    """
    skeleton, qpos = motion.skeleton, motion.qpos.clone()
    identity = torch.eye(7, dtype=qpos.dtype)
    weight = (FREE + (1 - FREE) * share).repeat_interleave(6, -1)
    for _ in range(sweeps):
        pose = skeleton.pose(qpos)
        corners = skeleton.soles(pose)
        error = goals.flatten(2, 3) - corners
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
            arm = corners[:, side, :, None] - pivot[:, None]
            J = torch.linalg.cross(axes[:, None].expand_as(arm), arm).mT.flatten(1, 2)
            weighted = (weight[:, side, :, None] * J).mT
            pull = weighted @ error[:, side].flatten(1)[..., None]
            step = torch.linalg.solve(weighted @ J + damping * identity, pull)[..., 0]
            step = step.clamp(-0.15, 0.15)
            for body, turn in ((hip, step[:, :3]), (foot, step[:, 4:])):
                columns = skeleton.columns[skeleton.names[body]]
                change = rotations.from_vector(turn)
                qpos[:, columns] = rotations.multiply(qpos[:, columns], change)
            qpos[:, skeleton.columns[skeleton.names[knee]]] += step[:, 3:4]
    return motion.moved(qpos)
