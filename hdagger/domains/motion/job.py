"""A clip as a job: what is known of it, and what its restoration leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...domain import Job, check_said
from ...errors import SettingError
from .clips import Motion
from .drawing import write_drawn
from .noise import NOISY, TRACKED
from .prior import motion_prior
from .reading import Reading, noisy, read_clip, some_frames, some_points
from .render import drawn
from .windows import to_motions

NUMBERS = "noise", "sigma_y"
KNOWN = "keep", "trackers", *NUMBERS, "joints"


def job_of(clip: Path, said: Mapping[str, Any]) -> Job:
    """The job of a clip of up to two seconds: to complete it, or to free it from noise.

    Args:
        clip: The file.
        said: As ``hdagger motion inbetween`` says it: ``keep``, or ``trackers`` with their
            ``noise``; else as ``denoise`` does: ``sigma_y``. And ``joints``, a file.

    Raises:
        HDaggerError: The file cannot be read, or what is said does not fit it.
    """
    check_said("a clip", KNOWN, said)
    for name in NUMBERS:
        if not isinstance(said.get(name, 0), int | float):
            raise SettingError(
                f"Wanted a number for {name}, but got {str(said[name])[:40]!r}. Try {name}=0.1."
            )
    joints = said.get("joints")
    reading, done = _known(read_clip(clip, None if joints is None else Path(str(joints))), said)
    write = lambda folder, samples: write_drawn(
        folder, f"{clip.name}, {done}", samples, reading.measurement, reading
    )
    show = lambda x: drawn(to_motions(x[None])[0])
    note = f"Found a clip of {reading.given.seconds:.1f} s; it is {done}."
    return Job(reading.measurement, write, show, [note], lambda: drawn(reading.given))


def _known(clip: Motion, said: Mapping[str, Any]) -> tuple[Reading, str]:
    """What is known of a clip, and in words what is done with it."""
    keep, trackers = said.get("keep"), said.get("trackers")
    if keep is not None and trackers is not None:
        raise SettingError("Wanted keep or trackers, but got both. Leave one out.")
    if keep is not None:
        return some_frames(clip, str(keep)), f"completed from its frames {keep}"
    if trackers is not None:
        noise = said.get("noise", TRACKED)
        return some_points(clip, str(trackers), noise, 0), f"completed from {trackers}"
    sigma_y = said.get("sigma_y", NOISY)
    prior = motion_prior("motion")
    return noisy(clip, sigma_y, prior), f"freed from noise of {sigma_y:g} of the prior's spread"
