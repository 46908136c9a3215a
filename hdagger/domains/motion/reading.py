"""A clip and what was said of it become a measurement, and a way back to where the clip was."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from ...domain import DOMAINS
from ...errors import FileError, SettingError
from ...files import check_file
from ...measurement import Measurement
from .clips import Motion, unwatched
from .completion import with_known
from .files import read_motion
from .noise import check_noisy, check_tracked
from .operators import points_named
from .prior import MotionPrior
from .windows import SHAPE, frames_of, padded, to_signal, window


@dataclass(frozen=True)
class Reading:
    """What a clip and the options say.

    Attributes:
        measurement: What was measured.
        given: The clip as the prior sees it, at its rate and over the origin.
        undo: From there to where the clip was.
        kept: The frames of it that are kept as they are; None for none.
    """

    measurement: Measurement
    given: Motion
    undo: Callable[[Motion], Motion]
    kept: Bool[Tensor, " frames"] | None = None

    def finished(self, motion: Motion) -> Motion:
        """A motion that was drawn, as long as the clip, with what is kept of it."""
        motion = motion[: len(self.given)]
        return motion if self.kept is None else with_known(motion, self.given, self.kept)


def read_clip(
    path: Path, joints: Path | None = None, watch: Callable[[int, int], None] = unwatched
) -> Motion:
    """Reads a clip, with a TOML file that tells how its joints are called.

    Args:
        path: The clip.
        joints: The table; None for names that are known.
        watch: For long BVH files: called with (frames read, frames in all).

    Raises:
        FileError: Either is broken.
    """
    names: dict[str, str] = {}
    if joints is not None:
        check_file(joints, "a table of joints")
        try:
            names = {str(k): str(v) for k, v in tomllib.loads(joints.read_text()).items()}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileError(
                f"Wanted TOML such as lhip = 'LeftUpLeg', but {joints} is not ({error}). Mend it."
            ) from error
    return read_motion(path, names, watch)


def nothing_known() -> Measurement:
    """No frame is seen: samples of the prior."""
    return Measurement(
        torch.zeros(SHAPE, dtype=torch.float64), "frames", 0.0, {"frames": frames_of(0)}, SHAPE,
        "motion",
    )  # fmt: skip


def some_frames(clip: Motion, keep: str) -> Reading:
    """In-betweening: the frames that ``0:10,50:60`` names.

    Raises:
        SettingError: They do not exist, or the clip is too long.
    """
    given, undo = window(clip)
    kept = known_frames(keep, len(given))
    known = frames_of(0)
    known[: len(kept)] = kept
    x = to_signal([padded(given)])[0]
    measurement = DOMAINS["motion"].measure(x, "frames", {"frames": known}, 0.0)
    return Reading(measurement, given, undo, kept)


def some_points(clip: Motion, trackers: str, noise: float, seed: int) -> Reading:
    """Trackers: where points of the body are, with noise in metres.

    Raises:
        SettingError: There are no such points, no such noise, or the clip is too long.
    """
    points_named(trackers)
    check_tracked(noise)
    given, undo = window(clip)
    text, arrays = f"trackers:{trackers} | frames", {"frames": frames_of(len(given))}
    x = to_signal([padded(given)])[0]
    measurement = DOMAINS["motion"].measure(x, text, arrays, noise, seed)
    return Reading(measurement, given, undo)


def noisy(clip: Motion, sigma_y: float, prior: MotionPrior) -> Reading:
    """Denoising: all of a clip is taken as noisy.

    Args:
        clip: The clip.
        sigma_y: Deviation of the noise, 1 being one unit of the prior.
        prior: The prior.

    Raises:
        SettingError: There is no such noise, or the clip is too long.
    """
    check_noisy(sigma_y)
    given, undo = window(clip)
    noise = (sigma_y * prior.scale.double().cpu()).expand(SHAPE).clone()
    noise[~frames_of(len(given))] = torch.inf
    y = to_signal([padded(given)])[0]
    return Reading(Measurement(y, "none", noise, {}, SHAPE, "motion"), given, undo)


def known_frames(text: str, count: int) -> Bool[Tensor, " frames"]:
    """Which frames ``0:10,50:60`` names, ``(count,)``.

    Raises:
        SettingError: It names frames that do not exist, or not the first.
    """
    known = torch.zeros(count, dtype=torch.bool)
    for part in text.split(","):
        first, colon, stop = part.strip().partition(":")
        if not (colon and first.isdecimal() and stop.isdecimal()):
            raise SettingError(
                f"Wanted frames such as 0:10,50:60, but got {part[:40]!r}. Try --keep 0:10."
            )
        if not 0 <= int(first) < int(stop) <= count:
            raise SettingError(
                f"Wanted frames from 0 to {count}, at 30 a second, but got {part[:40]!r}. "
                f"Try --keep 0:{min(count, 10)}."
            )
        known[int(first) : int(stop)] = True
    if not known[0]:
        raise SettingError(f"Wanted frame 0 among those known, but got {text[:60]!r}. Keep 0:10.")
    return known
