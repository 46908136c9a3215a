"""A slice of a sinogram as a job: what was measured, and what its restoration leaves."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...domain import Job, check_said
from ...errors import SettingError
from .pages import WINDOWS, plain, windowed, write_restoration
from .reading import read
from .sinograms import Said

OF_FILE = tuple(entry.name for entry in fields(Said))
OF_READING = "pixels", "pixel", "number"


def job_of(sinogram: Path, said: Mapping[str, Any]) -> Job:
    """The job of a sinogram's only slice, or of its slice of this ``number``.

    Args:
        sinogram: The file.
        said: By the names of :class:`Said` and of :func:`.reading.read`.

    Raises:
        HDaggerError: The file cannot be read, or what is said does not fit it.
    """
    check_said("a sinogram", (*OF_FILE, *OF_READING), said)
    own = Said(**{name: said[name] for name in OF_FILE if name in said})
    reading = read(sinogram, own, **{name: said[name] for name in OF_READING if name in said})
    if len(reading.measurements) > 1:
        raise SettingError(
            f"Wanted one slice a job, but {sinogram} has {len(reading.measurements)}. "
            "Say number, which one, from 0."
        )
    write = lambda folder, samples: write_restoration(folder, reading, [samples])
    show = lambda x: windowed(x[0], *WINDOWS["soft tissue"])
    given = lambda: show(plain(reading, 0))
    return Job(reading.measurements[0], write, show, reading.notes, given)
