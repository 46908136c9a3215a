"""What a restored picture leaves behind: pictures, numbers, and one page that shows them."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...report import Panel, Section, heat_map, residual_words, write_page
from ...samples import PosteriorSamples
from .writing import to_image

Write = Callable[[Path, Float[Tensor, "channels height width"]], None]
"""Writes a picture in the manner of the file that was given."""


def spread_panel(samples: PosteriorSamples) -> Panel:
    """Where the samples disagree, as a heat map with its scale in the caption.

    Where a check promises 90 % intervals, the scale is told in half of their width, too.
    """
    spread = samples.std.mean(dim=0)
    top = max(float(spread.flatten().kthvalue(max(1, int(0.995 * spread.numel()))).values), 1e-6)
    reach = samples.provenance.get("interval_90")
    interval = "" if reach is None else f", in 90 % intervals -+ {reach * top:.2g}"
    caption = f"where samples disagree (std: black 0, pale {top:.2g}{interval})"
    return Panel(caption, heat_map(spread, top))


def write_restoration(
    folder: Path,
    given: Float[Tensor, "c h w"],
    samples: PosteriorSamples,
    recipe: str,
    write: Write,
) -> dict[str, Any]:
    """Writes everything that ``hdagger restore`` leaves, and returns the summary.

    ``samples/*.png``, ``mean.png`` and ``std.png`` to look at, ``samples.npz`` without loss,
    ``summary.json``, ``recipe.toml`` and ``report.html``.

    Args:
        folder: Where to.
        given: What was given, as a picture.
        samples: What was drawn.
        recipe: How, as TOML; `hdagger restore PICTURE --recipe` repeats it.
        write: Writes a picture.
    """
    summary: dict[str, Any] = {**samples.provenance, "shape": list(samples.mean.shape)}
    (folder / "samples").mkdir()
    for k, draw in enumerate(samples.draws):
        write(folder / "samples" / f"{k:03}.png", draw)
    write(folder / "mean.png", samples.mean)
    spread = spread_panel(samples)
    spread.image.save(folder / "std.png")
    samples.save(folder / "samples.npz")
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    (folder / "recipe.toml").write_text(recipe)
    draws = [Panel(f"sample {k + 1}", to_image(draw)) for k, draw in enumerate(samples.draws)]
    panels = [
        Panel("given", to_image(given)),
        Panel("mean of the samples", to_image(samples.mean)),
    ]
    how_sure = f"{residual_words(summary)} {summary['checked']}"
    settings = html.escape(f"{recipe}operator = {summary['operator']!r}\n")
    write_page(
        folder / "report.html",
        f"{summary['operator']}, restored by {summary['method']}",
        [Section("Given, restored, and how sure", [*panels, spread, *draws], how_sure)],
        f"<h2>How</h2><pre>{settings}</pre>"
        f"<p>{summary['nfe']} network evaluations a sample, {summary['seconds']} s in all.",
    )
    return summary
