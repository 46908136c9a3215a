"""A slice of raw data as a job: what was measured, and what its restoration leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ...domain import Job, check_said
from ...errors import SettingError
from ...samples import PosteriorSamples
from .figures import gray
from .kspace import image_of
from .pages import plain, write_restoration, write_slice
from .raw import numbers_in
from .reading import open_raw, read

KNOWN = "slice", "maps", "sigma"


def job_of(kspace: Path, said: Mapping[str, Any]) -> Job:
    """The job of one slice of a file of raw data; ``slice``, ``maps`` and ``sigma`` may be said.

    Raises:
        HDaggerError: The file cannot be read, or what is said does not fit it.
    """
    check_said("k-space", KNOWN, said)
    file = open_raw(kspace)
    (number, *more) = numbers_in(str(said.get("slice", 0)), file.slices, kspace)
    if more:
        raise SettingError("Wanted one slice a job, but got several. List the file once for each.")
    maps, sigma = said.get("maps"), said.get("sigma")
    reading = read(
        file,
        number,
        None if maps is None else str(maps),
        None if sigma is None else float(sigma),
    )

    def write(folder: Path, samples: PosteriorSamples) -> dict[str, Any]:
        return write_restoration(folder, [write_slice(folder, reading, samples)], file.affine)

    given = lambda: _drawn(plain(reading.measurement, reading.scan))
    return Job(reading.measurement, write, _drawn, reading.notes, given)


def _drawn(x: Tensor) -> Image.Image:
    """The magnitude of an image, in gray."""
    magnitude = image_of(x[None])[0].abs()
    return gray(magnitude, float(magnitude.max()))
