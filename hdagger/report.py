"""What a restoration leaves behind: pictures, numbers, and one page that shows them."""

import base64
import html
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.strip { display: grid; gap: .8rem; }
.strip { grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
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
    """Values from 0 (black) to ``top`` (pale yellow) as colours, in 256 steps."""
    place = torch.linspace(0, len(HEAT) - 1, 256, dtype=torch.float64)
    low = place.floor().clamp(max=len(HEAT) - 2)
    share = (place - low)[:, None]
    ramp = (1 - share) * HEAT[low.long()] + share * HEAT[low.long() + 1]
    steps = (values / max(top, 1e-12)).clamp(0, 1).mul(255).round().to(torch.uint8)
    image = Image.fromarray(steps.numpy(), "P")
    image.putpalette(ramp.round().to(torch.uint8).flatten().tolist())
    return image.convert("RGB")


def residual_words(summary: Mapping[str, Any]) -> str:
    """What the residual, or the share of the data's numbers that was kept, says, in a sentence."""
    if "kept" in summary:
        return _kept_words(summary["kept"])
    chi2 = summary["chi2_dof"]
    if chi2 is None:
        return (
            "The data were taken as exact; the samples meet them to "
            f"{summary['residual_max']:.1e}."
        )
    if chi2 > 1.25:
        opinion = "more than that noise explains: the samples do not follow the data closely"
    elif chi2 < 0.8:
        opinion = "less than that noise would leave: the samples follow the noise too"
    else:
        opinion = "what that noise would leave"
    return f"The residual is {opinion} (chi2/dof {chi2:.2f}, sigma_y {summary['sigma_y']:.4g})."


def _kept_words(kept: float) -> str:
    share = f"{math.floor(kept * 10_000) / 100:.2f} % of the numbers in the data"
    if kept == 1:
        return (
            "All of the numbers in the data are those of the samples, as saved: each is one that "
            "these data could have come from."
        )
    if kept > 0.999:
        return (
            f"{share} are those of the samples, as saved, and the others are next to them: each "
            "is very nearly one that these data could have come from."
        )
    return (
        f"Only {share} are those of the samples, as saved: the data could not have come from "
        "them as they are."
    )


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


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
