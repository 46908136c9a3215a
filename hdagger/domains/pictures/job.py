"""A damaged picture as a job: what was measured, and what its restoration leaves."""

from pathlib import Path
from typing import Any

from ...domain import Job
from ...recipe import Recipe
from ...samples import PosteriorSamples
from .figures import write_restoration
from .options import Damages
from .reading import read
from .writing import to_image, write_picture


def job_of(picture: Path, damages: Damages) -> Job:
    """The job of a picture, a .jpg file or a measurement.

    Raises:
        HDaggerError: The file cannot be read, or what is said does not fit it.
    """
    reading = read(picture, damages)

    def write(folder: Path, samples: PosteriorSamples) -> dict[str, Any]:
        recipe = Recipe(**samples.provenance["recipe"]).to_toml() + damages.to_toml()
        upright = reading.upright(samples)
        return write_restoration(folder, reading.given, upright, recipe, reading.write)

    def write_finely(folder: Path, samples: PosteriorSamples) -> None:
        mean = reading.upright(samples).mean
        write_picture(folder / "mean-16bit.png", mean, 16, reading.extras)

    return Job(
        reading.measurement,
        write,
        lambda x: to_image(reading.turn(x)),
        [reading.found] if reading.found else [],
        lambda: to_image(reading.given),
        write_finely,
    )
