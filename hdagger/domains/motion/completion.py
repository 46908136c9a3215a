"""A motion whose gaps are filled: two baselines, and what was known put back."""

import torch
from jaxtyping import Bool
from torch import Tensor

from . import rotations
from .clips import Motion


def interpolated(motion: Motion, known: Bool[Tensor, " frames"]) -> Motion:
    """The baseline: unknown frames between known ones, along straight lines and great circles."""
    at, qpos = known.nonzero()[:, 0], motion.qpos.clone()
    for frame in (~known).nonzero()[:, 0].tolist():
        before, after = at[at < frame], at[at > frame]
        low = int(before[-1]) if len(before) else int(after[0])
        high = int(after[0]) if len(after) else low
        share = torch.tensor((frame - low) / max(high - low, 1), dtype=qpos.dtype)
        qpos[frame] = torch.lerp(motion.qpos[low], motion.qpos[high], share)
        columns = motion.skeleton.quaternions
        turns = rotations.slerp(motion.qpos[low][columns], motion.qpos[high][columns], share)
        qpos[frame, columns.flatten()] = turns.flatten()
    return motion.moved(qpos)


def smoothly_interpolated(motion: Motion, known: Bool[Tensor, " frames"]) -> Motion:
    """The other baseline: cubic Hermite curves, which keep the velocities at the edges of gaps.

    Rotations are vectors from the frame before the gap. Two frames on each side of a gap have to
    be known.
    """
    qpos, columns = motion.qpos.clone(), motion.skeleton.quaternions
    at = known.nonzero()[:, 0]
    for low, high in zip(at[:-1].tolist(), at[1:].tolist(), strict=True):
        if high == low + 1:
            continue
        edges = motion.qpos[[low - 1, low, high, high + 1]]
        start = edges[1, columns]
        vectors = rotations.to_vector(
            rotations.multiply(rotations.inverse(start), edges[:, columns])
        )
        before, left, right, after = torch.cat([edges, vectors.flatten(1)], 1)
        u = torch.linspace(0, 1, high - low + 1, dtype=qpos.dtype)[1:-1, None]
        bend = (1 - u) * (left - before) - u * (after - right)
        curve = torch.lerp(left, right, u**2 * (3 - 2 * u)) + (high - low) * u * (1 - u) * bend
        turns = rotations.from_vector(curve[:, qpos.shape[1] :].unflatten(1, (-1, 3)))
        qpos[low + 1 : high] = curve[:, : qpos.shape[1]]
        qpos[low + 1 : high, columns.flatten()] = rotations.multiply(start, turns).flatten(1)
    return motion.moved(qpos)


def with_known(
    motion: Motion, given: Motion, known: Bool[Tensor, " frames"], blend: int = 6
) -> Motion:
    """The motion with its known frames as given, the difference fading over ``blend`` frames."""
    at = known.nonzero()[:, 0]
    frames = torch.arange(len(motion))
    nearest = at[(frames[:, None] - at).abs().argmin(1)]
    share = (1 - (frames - nearest).abs().double() / (blend + 1)).clamp(min=0)[:, None]
    share = share**2 * (3 - 2 * share)
    qpos = motion.qpos + share * (given.qpos - motion.qpos)[nearest]
    columns = motion.skeleton.quaternions
    mine, theirs = motion.qpos[:, columns], given.qpos[:, columns]
    gap = rotations.multiply(theirs[nearest], rotations.inverse(mine[nearest]))
    fading = rotations.from_vector(share[..., None] * rotations.to_vector(gap))
    qpos[:, columns.flatten()] = rotations.multiply(fading, mine).flatten(1)
    qpos[known] = given.qpos[known]
    return motion.moved(qpos)
