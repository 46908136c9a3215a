"""What the commands on motion leave: clips, animations, a page and numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...domain import write_saved
from ...recipe import Recipe
from ...report import Page, Panel, Section, write_page
from ...samples import PosteriorSamples
from ...saved import REPORT, SAMPLES, SUMMARY, Saved
from .clips import Motion
from .files import read_motion, write_motion
from .metrics import plausibility, root_relative_distance
from .render import foot_heights, renderer, strip, write_animation

GIVEN = "given.npz"
"""The clip that was given, beside the motions drawn."""

SHOWN = 12
"""Motions on the page."""

Named = Sequence[tuple[str, Motion]]
"""Motions, and what a page calls them."""


def numbers_of(motions: Named, given: Motion | None = None) -> list[dict[str, Any]]:
    """The metrics of each, and its distance to the clip that was given, if one was."""
    rows = []
    for name, motion in motions:
        row: dict[str, Any] = {"": name}
        if given is not None:
            row["root_relative_distance"] = round(root_relative_distance(motion, given), 1)
        rows.append(row | plausibility(motion).row())
    return rows


def write_motions(folder: Path, motions: Sequence[Motion]) -> None:
    """Each motion as BVH, as NPZ and as an animation."""
    with renderer() as draw:
        for k, motion in enumerate(motions):
            write_motion(folder / f"{k:03}.bvh", motion)
            write_motion(folder / f"{k:03}.npz", motion)
            write_animation(folder / f"{k:03}.gif", motion, draw)


def write_restoration(
    folder: Path,
    title: str,
    samples: PosteriorSamples,
    motions: Sequence[Motion],
    rows: Sequence[Mapping[str, Any]],
    given: Motion | None = None,
) -> dict[str, Any]:
    """Writes the motions that were drawn, their page and their numbers; returns the summary.

    Args:
        folder: Where to.
        title: Of the page.
        samples: What was drawn.
        motions: The same as motions, where the clip was.
        rows: Their numbers.
        given: The clip, if one was given.
    """
    known = {name: value.tolist() for name, value in samples.known.items()}
    told = {**samples.provenance, **({"physics": known} if known else {})}
    words = [answer_words(len(motions), rows[1])] if given is not None else []
    summary = {"title": title, "words": words, "rows": list(rows), **told}
    if given is not None:
        write_motion(folder / GIVEN, given)
    write_motions(folder, motions)
    samples.save(folder / SAMPLES)
    recipe = Recipe(**samples.provenance["recipe"]).to_toml()
    write_saved(Saved(folder, samples, summary, recipe), page_of)
    return summary


def answer_words(count: int, row: Mapping[str, Any]) -> str:
    """The answer in a sentence, from its row."""
    far, wrong = row["root_relative_distance"], row["phys_err"]
    of = f"The answer is the one of {count} motions that is nearest to the others"
    return (
        f"{of if count > 1 else 'The answer is one motion'}. It is {far:.0f} mm from the clip, "
        f"relative to the root; its feet sink in, float and slide by {wrong:.1f} mm a frame."
    )


def page_of(saved: Saved) -> Page:
    """The report on motions that were drawn.

    Raises:
        FileError: One of them is not there any more.
    """
    summary, folder = saved.summary, saved.folder
    count = min(SHOWN, len(saved.draws))
    named = [(f"{k:03}", read_motion(folder / f"{k:03}.npz")) for k in range(count)]
    if (folder / GIVEN).is_file():
        named.insert(0, ("given", read_motion(folder / GIVEN)))
    told = (summary["warning"], summary["checked"])
    settings = f"{saved.recipe}operator = {summary['operator']!r}\n"
    return page(summary["title"], named, summary["rows"], settings, [*filter(None, told)])


def write_report(
    folder: Path, title: str, motions: Named, rows: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:  # fmt: skip
    """``report.html`` and ``summary.json`` of motions that no prior drew: see :func:`page`."""
    write_page(folder / REPORT, page(title, motions, rows, json.dumps(about, indent=2)))
    summary = {"title": title, "rows": list(rows), **about}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def page(
    title: str,
    motions: Named,
    rows: Sequence[Mapping[str, Any]],
    settings: str,
    remarks: Sequence[str] = (),
) -> Page:
    """A strip of each motion, the heights of the feet, and the numbers.

    Args:
        title: Of the page.
        motions: What is drawn, the first of them.
        rows: Numbers.
        settings: How the motions came about.
        remarks: What else is to be told.
    """
    shown = motions[: SHOWN + 1]
    with renderer() as draw:
        strips = [Panel(name, strip(motion, draw)) for name, motion in shown]
    curves = Panel("0 is the ground", foot_heights(shown[:3]))
    return Page(
        title,
        [
            Section("From the first frame to the last", strips, flips=True, whole=True),
            Section("Lowest point of the body", [curves], whole=True),
            Section("Numbers", text="Millimetres a frame; jerk m/s^3.", rows=rows),
        ],
        settings,
        remarks,
    )


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the same keys as a table on the terminal."""
    shown = Table(box=None, pad_edge=False)
    for key in rows[0]:
        shown.add_column(key.replace("_", " "), justify="left" if not key else "right")
    for row in rows:
        shown.add_row(*(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=max(120, Console().width)).print(shown)
