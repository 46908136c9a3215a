"""Motions as signals of the domain, ``(frames, features)``, and back; and windows of clips."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import FileError, SettingError
from .clips import FPS, Motion
from .features import SIZE, WINDOW, decode, encode
from .files import CLIP_SUFFIXES, read_deepmimic, read_motion
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
    frames = int(motion.seconds * FPS + 1e-6) + 1
    if not 2 <= frames <= WINDOW:
        raise SettingError(
            f"Wanted a clip of 2 to {WINDOW} frames at {FPS:.0f} a second, but got {frames}. "
            "Cut it to two seconds."
        )
    motion = motion.resampled(FPS)
    heading = motion.heading()[0]
    place = motion.qpos[0, :3] * motion.qpos.new_tensor([1, 1, 0])
    return motion.canonical(), lambda other: other.turned(heading).shifted(place)


def read_at(path: Path, speeds: Sequence[float] = (1.0,)) -> list[Motion]:
    """A clip at each speed, at the prior's rate, on the ground, of 60 frames or more.

    A short cycle goes on; of any other short clip the last frame is held.

    Raises:
        FileError: It cannot be read.
    """
    motion, cyclic = read_deepmimic(path) if path.suffix == ".txt" else (read_motion(path), False)
    found = []
    for speed in speeds:
        clip = Motion(motion.resampled(FPS / speed).qpos, FPS).grounded()
        if cyclic and len(clip) < 5 * WINDOW:
            clip = clip.repeated(WINDOW + len(clip))
        found.append(clip if len(clip) >= WINDOW else padded(clip))
    return found


def windows_in(folder: Path, count: int, seed: int) -> Float[Tensor, "count frames features"]:
    """Windows of the clips in a folder, and in the folders in it, at random places.

    Every place of every clip is as likely as any other, and none comes twice before all have
    come. Each window starts over the origin and faces x.

    Raises:
        FileError: There is no clip, or one is broken.
    """
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in CLIP_SUFFIXES]
    clips = [clip for path in sorted(paths) for clip in read_at(path)]
    places = [(clip, k) for clip in clips for k in range(len(clip) - WINDOW + 1)]
    if not places:
        raise FileError(
            f"Wanted a folder of clips, but {folder} has none. Put .bvh, .npz or DeepMimic's .txt "
            "files in it."
        )
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = [places[order[k % len(order)]] for k in range(count)]
    return to_signal([clip[start : start + WINDOW].canonical() for clip, start in chosen])


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
