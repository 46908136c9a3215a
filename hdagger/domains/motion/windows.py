"""Motions as signals of the domain, ``(frames, features)``, and back; and windows of clips."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import SettingError
from .clips import FPS, Motion
from .features import SIZE, WINDOW, decode, encode
from .metrics import root_relative_distance
from .skeleton import HUMANOID

SHAPE = (WINDOW, SIZE)


def to_motions(x: Float[Tensor, "batch frames features"]) -> list[Motion]:
    """Signals -> motions at the prior's rate."""
    return [Motion(HUMANOID.normalise(decode(row)), FPS) for row in x.double().cpu()]


def to_signal(motions: Sequence[Motion]) -> Float[Tensor, "batch frames features"]:
    """Motions of one length -> signals, in float64."""
    return encode(torch.stack([motion.qpos for motion in motions]))


def window(motion: Motion) -> tuple[Motion, Callable[[Motion], Motion]]:
    """A clip as the prior sees it, at its rate and over the origin, and the way back.

    Raises:
        SettingError: It is longer than a signal of the prior.
    """
    motion = motion.resampled(FPS)
    if not 2 <= len(motion) <= WINDOW:
        raise SettingError(
            f"Wanted a clip of 2 to {WINDOW} frames at {FPS:.0f} a second, but got {len(motion)}. "
            "Cut it to two seconds."
        )
    heading = motion.heading()[0]
    place = motion.qpos[0, :3] * motion.qpos.new_tensor([1, 1, 0])
    return motion.canonical(), lambda other: other.turned(heading).shifted(place)


def padded(motion: Motion) -> Motion:
    """A motion of 60 frames: the last one held."""
    hold = motion.qpos[-1:].expand(WINDOW - len(motion), -1)
    return motion.moved(torch.cat([motion.qpos, hold]))


def frames_of(count: int) -> Bool[Tensor, " frames"]:
    """The first frames of a window, so many of them."""
    return torch.arange(WINDOW) < count


def central_order(motions: Sequence[Motion]) -> list[int]:
    """Their numbers: the one nearest to all others first, then the next."""
    apart = [sum(root_relative_distance(a, b) for b in motions) for a in motions]
    return sorted(range(len(motions)), key=lambda k: apart[k])
