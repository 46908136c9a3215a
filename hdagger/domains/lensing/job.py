"""A lensed image as a job: what was measured, and what its restoration leaves."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ...domain import Job, check_said
from ...errors import SettingError
from ...report import heat_map
from .pages import write_restoration
from .reading import Files, read

PATHS = ("lens", "noise", "psf")
"""What is said by the names of files."""


def job_of(image: Path, said: Mapping[str, Any]) -> Job:
    """The job of a FITS image; what is said has the names of :class:`Files`.

    Raises:
        HDaggerError: A file cannot be read, or does not fit the others.
    """
    check_said("a lensed image", [entry.name for entry in fields(Files)[1:]], said)
    if "lens" not in said:
        raise SettingError(
            f"Wanted the lens before {image}, but got none. Say lens, as in --lens lens.toml."
        )
    told: dict[str, Any] = {k: Path(str(v)) if k in PATHS else v for k, v in said.items()}
    reading = read(Files(image, **told))
    write = lambda folder, samples: write_restoration(folder, reading, samples)
    given = lambda: _drawn(reading.measurement.y)
    return Job(reading.measurement, write, _drawn, reading.notes, given)


def _drawn(plane: Tensor) -> Image.Image:
    """Brightness from 0 to its peak, as a heat map."""
    return heat_map(plane[0].double(), float(plane.max()))
