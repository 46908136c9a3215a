"""What a restoration leaves behind: pictures, numbers, and one page that shows them."""

import base64
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .domains.pictures.files import to_image
from .samples import PosteriorSamples
from .verdicts import Verdict

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.strip { display: grid; gap: .8rem; }
.strip { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .85rem; opacity: .75; }
img { width: 100%; image-rendering: pixelated; border-radius: 4px; display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
pre { background: #8881; padding: .8rem; border-radius: 4px; overflow-x: auto; }
"""

HEAT = torch.tensor(
    [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]],
    dtype=torch.float64,
)
"""Five colours of a perceptually even ramp from black to pale yellow."""


@dataclass(frozen=True)
class Panel:
    """One picture of a page.

    Attributes:
        caption: What it is.
        image: The picture.
    """

    caption: str
    image: Image.Image


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: Its heading.
        panels: Pictures, side by side.
        text: A sentence or two on what they show.
    """

    title: str
    panels: list[Panel]
    text: str = ""


def heat_map(values: Float[Tensor, "height width"], top: float) -> Image.Image:
    """Values from 0 (black) to ``top`` (pale yellow) as colours."""
    place = (values.double() / max(top, 1e-12)).clamp(0, 1) * (len(HEAT) - 1)
    low = place.floor().clamp(max=len(HEAT) - 2)
    share = (place - low)[..., None]
    colours = (1 - share) * HEAT[low.long()] + share * HEAT[low.long() + 1]
    return Image.fromarray(colours.round().to(torch.uint8).numpy())


def spread_panel(samples: PosteriorSamples) -> Panel:
    """Where the samples disagree, as a heat map with its scale in the caption."""
    spread = samples.std.mean(dim=0)
    top = max(float(spread.flatten().kthvalue(max(1, int(0.995 * spread.numel()))).values), 1e-6)
    return Panel(f"where samples disagree (std: black 0, pale {top:.2g})", heat_map(spread, top))


def verdict(summary: dict[str, Any]) -> str:
    """The residual check in words."""
    if "kept" in summary:
        return (
            f"{summary['kept']:.2%} of the numbers in the data are those of the samples, saved as "
            "bytes: each is a picture that these data could have come from."
        )
    chi2 = summary["chi2_dof"]
    if chi2 is None:
        return (
            "The data were taken as exact; the samples meet them to "
            f"{summary['residual_max']:.1e} of [-1, 1]."
        )
    if chi2 > 1.25:
        opinion = "more than that noise explains: the samples do not follow the data closely"
    elif chi2 < 0.8:
        opinion = "less than that noise would leave: the samples follow the noise too"
    else:
        opinion = "what that noise would leave"
    return f"The residual is {opinion} (chi2/dof {chi2:.2f}, sigma_y {summary['sigma_y']:.4g})."


def checked(summary: dict[str, Any]) -> str:
    """What ``hdagger check`` has found of this method with this prior, in words."""
    method, prior = summary["recipe"]["method"], summary["recipe"]["prior"]
    if not summary["checks"]:
        rounded = " --operator jpeg:10 --sigma-y 0" if "kept" in summary else ""
        return (
            f"The error bars of {method} with this prior have not been checked. "
            f"hdagger check --method {method} --prior {prior}{rounded} --store does it."
        )
    return "Checked: " + "; ".join(str(Verdict(**found)) for found in summary["checks"]) + "."


def write_page(path: Path, title: str, sections: list[Section], footer: str = "") -> None:
    """Writes one self-contained page: pictures inside, no script, no request to anywhere."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>")
        figures = "".join(
            f"<figure><img src='{_inline(panel.image)}' alt='{html.escape(panel.caption)}'>"
            f"<figcaption>{html.escape(panel.caption)}</figcaption></figure>"
            for panel in section.panels
        )
        parts.append(f"<div class=strip>{figures}</div>")
    path.write_text("\n".join([*parts, footer]))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as an HTML table."""
    head = "".join(f"<th>{html.escape(key)}" for key in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}" for value in row.values())
        for row in rows
    )
    return f"<table><tr>{head}{body}</table>"


def write_restoration(
    folder: Path,
    damaged: Float[Tensor, "c h w"],
    samples: PosteriorSamples,
    recipe: str,
    extras: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes everything that ``hdagger restore`` leaves, and returns the summary.

    ``samples/*.png``, ``mean.png`` and ``std.png`` to look at, ``samples.npz`` without loss,
    ``summary.json``, ``recipe.toml`` and ``report.html``.

    Args:
        folder: Where to.
        damaged: What was given.
        samples: What was drawn.
        recipe: How, as TOML.
        extras: What the given file carries along (EXIF, ICC profile), as arguments of
            ``Image.save``.
    """
    summary: dict[str, Any] = {**samples.provenance, "shape": list(samples.mean.shape)}
    (folder / "samples").mkdir()
    draws = [Panel(f"sample {k + 1}", to_image(draw)) for k, draw in enumerate(samples.draws)]
    for k, panel in enumerate(draws):
        panel.image.save(folder / "samples" / f"{k:03}.png", **extras)
    mean, spread = Panel("mean of the samples", to_image(samples.mean)), spread_panel(samples)
    mean.image.save(folder / "mean.png", **extras)
    spread.image.save(folder / "std.png")
    samples.save(folder / "samples.npz")
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    (folder / "recipe.toml").write_text(recipe)
    how_sure = f"{verdict(summary)} {checked(summary)}"
    panels = [Panel("given", to_image(damaged)), mean, spread, *draws]
    settings = html.escape(f"{recipe}operator = {summary['operator']!r}\n")
    write_page(
        folder / "report.html",
        f"{summary['operator']}, restored by {summary['recipe']['method']}",
        [Section("Given, restored, and how sure", panels, how_sure)],
        f"<h2>How</h2><pre>{settings}</pre>"
        f"<p>{summary['nfe']} network evaluations a sample, {summary['seconds']} s in all.",
    )
    return summary


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
