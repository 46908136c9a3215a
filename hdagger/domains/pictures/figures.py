"""What a restored picture leaves behind: pictures, numbers, and one page that shows them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...domain import GIVEN, Before, write_pictures, write_saved
from ...report import Page, Panel, Section, heat_map, nearly_largest, residual_words
from ...samples import PosteriorSamples
from ...saved import SAMPLES, Saved
from .files import read_picture
from .writing import to_image

Write = Callable[[Path, Float[Tensor, "channels height width"]], None]
"""Writes a picture in the manner of the file that was given."""

OF_255 = 255 / 2
"""Steps of an 8-bit picture in one unit of a signal."""


def deviation_words(samples: PosteriorSamples, std: float) -> str:
    """A standard deviation in steps of 255, and what it is in 90 % intervals if a check tells."""
    reach = samples.provenance.get("interval_90")
    interval = "" if reach is None else f", in 90 % intervals -+ {OF_255 * reach * std:.3g}"
    return f"{OF_255 * std:.3g} of 255{interval}"


def answer_words(samples: PosteriorSamples) -> str:
    """What the answer is, and how sure, in a sentence."""
    count = len(samples.draws)
    if count == 1:
        return "The answer is from one sample, which does not tell how sure it is."
    off = deviation_words(samples, float(samples.std.square().mean().sqrt()))
    return f"The answer is the mean, from {count} samples; its standard deviation is {off}."


def spread_panel(samples: PosteriorSamples) -> Panel:
    """How sure each pixel is, as a heat map with its scale in the caption."""
    spread = samples.std.mean(dim=0)
    top = max(nearly_largest(spread), 1e-6)
    scale = deviation_words(samples, top)
    return Panel(f"standard deviation: black 0, pale {scale}", heat_map(spread, top))


def write_restoration(
    folder: Path,
    given: Float[Tensor, "c h w"],
    samples: PosteriorSamples,
    recipe: str,
    write: Write,
) -> dict[str, Any]:
    """Writes everything that ``hdagger restore`` leaves, and returns the summary.

    Pictures to look at (:func:`write_pictures`), ``samples.npz`` without loss, ``summary.json``,
    ``recipe.toml`` and ``report.html``.

    Args:
        folder: Where to.
        given: What was given, as a picture.
        samples: What was drawn.
        recipe: How, as TOML; `hdagger restore PICTURE --recipe` repeats it.
        write: Writes a picture.
    """
    summary: dict[str, Any] = {
        **samples.provenance,
        "shape": list(samples.mean.shape),
        "words": how_sure(samples),
        "shown": write_pictures(folder, samples, Before("given", given), write),
    }
    samples.save(folder / SAMPLES)
    write_saved(Saved(folder, samples, summary, recipe), page_of)
    return summary


def page_of(saved: Saved) -> Page:
    """The report on a picture.

    Raises:
        FileError: What was given is not there any more.
    """
    samples, summary = saved.samples, saved.summary
    assert samples is not None
    given = read_picture(saved.folder / GIVEN).pixels
    panels = [Panel("given", to_image(given)), Panel("the answer", to_image(samples.mean))]
    words = " ".join(how_sure(samples))
    sections = [Section("The answer, and how sure it is", panels, words, flips=True)]
    if len(samples.draws) > 1:
        panels.append(spread_panel(samples))
        sections.append(others(samples))
    return Page(
        f"{summary['operator']}, restored by {summary['method']}",
        sections,
        f"{saved.recipe}operator = {summary['operator']!r}\n",
        [f"{summary['nfe']} network evaluations a sample, {summary['seconds']} s in all."],
    )


def how_sure(samples: PosteriorSamples) -> list[str]:
    """What is known of the answer, in sentences."""
    told = samples.provenance
    parts = (answer_words(samples), told["warning"], residual_words(told), told["checked"])
    return [part for part in parts if part]


def others(samples: PosteriorSamples) -> Section:
    """The samples, as what else it may have been."""
    return Section(
        "What else it may have been",
        [Panel(f"sample {k + 1}", to_image(draw)) for k, draw in enumerate(samples.draws)],
        "Where they differ, the data do not tell.",
        flips=True,
    )
