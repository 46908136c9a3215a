"""What the commands on motion leave: clips, animations, a page and numbers."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...report import Panel, Section, table, write_page
from .clips import Motion
from .files import write_motion
from .metrics import plausibility, root_relative_distance
from .render import foot_heights, renderer, strip, write_animation

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


def write_report(
    folder: Path, title: str, motions: Named, rows: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:  # fmt: skip
    """``report.html`` with a strip of each motion, the heights of the feet and the numbers, and
    ``summary.json``.

    Args:
        folder: Where to.
        title: Of the page.
        motions: What is drawn, the first 12 of them.
        rows: Numbers.
        about: How the motions came about.
    """
    shown = motions[:12]
    with renderer() as draw:
        sections = [
            Section(name, [Panel("from the first frame to the last", strip(motion, draw))])
            for name, motion in shown
        ]
    curves = Panel("0 is the ground", foot_heights(shown[:3]))
    sections.append(Section("Lowest point of the body", [curves]))
    numbers = [
        f"<h2>Numbers</h2>{table([dict(row) for row in rows])}<p>Millimetres a frame; jerk m/s^3.",
        f"<h2>How</h2><pre>{html.escape(json.dumps(about, indent=2))}</pre>",
        "<style>.strip{grid-template-columns:1fr}img{image-rendering:auto}</style>",
    ]
    write_page(folder / "report.html", title, sections, "".join(numbers))
    summary = {"rows": list(rows), **about}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the same keys as a table on the terminal."""
    shown = Table(box=None, pad_edge=False)
    for key in rows[0]:
        shown.add_column(key.replace("_", " "), justify="left" if not key else "right")
    for row in rows:
        shown.add_row(*(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=max(120, Console().width)).print(shown)
