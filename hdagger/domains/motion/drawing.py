"""From a recipe and what is known of a motion to a folder with the motions drawn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...files import whole_folder
from ...measurement import Measurement
from ...progress import progress
from ...recipe import Recipe
from ...restoration import restore
from ...samples import PosteriorSamples
from ...telling import tell
from .pages import numbers_of, print_rows, write_restoration
from .reading import Reading
from .windows import central_order, to_motions


def draw_to(
    out: Path,
    title: str,
    recipe: Recipe,
    measurement: Measurement,
    reading: Reading | None = None,
    as_json: bool = False,
) -> None:
    """Draws motions and writes them, where the clip was, with a page, the draws and the recipe;
    tells their numbers.

    Args:
        out: Folder; what an earlier command on motion left there goes.
        title: Of the page.
        recipe: How to draw.
        measurement: What is known.
        reading: The clip that is completed, if there is one. Then the first motion is the one
            nearest to the others.
        as_json: Whether it tells the summary as JSON, and not a table.
    """
    with whole_folder(out, "motion") as folder:
        with progress(f"{recipe.samples} motions") as watch:
            samples = restore(recipe, measurement, watch)
        summary = write_drawn(folder, title, samples, measurement, reading)
    if as_json:
        tell(summary)
        return
    print_rows(summary["rows"])
    print(f"{out / 'report.html'}")


def write_drawn(
    folder: Path,
    title: str,
    samples: PosteriorSamples,
    measurement: Measurement,
    reading: Reading | None = None,
) -> dict[str, Any]:
    """Writes motions that were drawn, where the clip was, with all that tells of them; returns
    the summary. See :func:`draw_to`, whose arguments these are.
    """
    motions = to_motions(samples.draws)
    named, given = [], None
    if reading is not None:
        given = reading.given
        named.append(("given", given))
        motions = [reading.finished(motion) for motion in motions]
        order = central_order(motions)
        motions = [motions[k] for k in order]
        known = {name: value[order] for name, value in samples.known.items()}
        samples = replace(samples, draws=samples.draws[order], known=known)
    named += [(f"{k:03}", motion) for k, motion in enumerate(motions)]
    rows = numbers_of(named, given)
    if reading is not None:
        motions, given = [*map(reading.undo, motions)], reading.undo(reading.given)
    measurement.save(folder / "measurement.npz")
    return write_restoration(folder, title, samples, motions, rows, given)
