"""A page that shows what was drawn: pictures, numbers, words, in one file.

It asks for nothing from anywhere, and runs nothing: that pictures are flipped through and blink
is told by CSS alone. It is light or dark as the reader's system is, and prints with all pictures
side by side.
"""

import base64
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .errors import FileError
from .files import brief, check_file

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --strong: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --strong: #7db8f0; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p { max-width: 48rem; }
.strip { display: grid; gap: .8rem; }
.strip { grid-template-columns: repeat(auto-fit, minmax(min(15rem, 44%), 1fr)); }
.strip.whole { grid-template-columns: 1fr; }
figure { margin: 0; min-width: 0; } figcaption { font-size: .85rem; opacity: .8; }
img { width: 100%; image-rendering: pixelated; border-radius: 4px; display: block; }
.whole img { image-rendering: auto; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
pre { background: var(--soft); padding: .8rem; border-radius: 4px; overflow-x: auto; }
.flips > input { position: absolute; opacity: 0; }
.flips > label { display: inline-block; margin: 0 .35rem .5rem 0; padding: .3rem .75rem; }
.flips > label { border: 1px solid var(--line); border-radius: 1rem; cursor: pointer; }
.flips > label { font-size: .9rem; }
.flips > input:checked + label { border-color: var(--strong); color: var(--strong); }
.flips > input:focus-visible + label { outline: 2px solid var(--strong); outline-offset: 2px; }
@media screen {
.flips > input:not(.all):checked ~ .strip { grid-template-columns: minmax(0, 40rem); }
.flips > input:not(.all):checked ~ .strip.whole { grid-template-columns: 1fr; }
.flips > input:not(.all):checked ~ .strip > figure { grid-area: 1 / 1; visibility: hidden; }
}
@page { margin: 15mm; }
@media print {
:root { color-scheme: light; }
body { max-width: none; margin: 0; padding: 0; font-size: 11pt; }
.flips > label, .flips > input { display: none; }
.strip { grid-template-columns: repeat(auto-fill, minmax(5cm, 1fr)); }
figure, tr, pre { break-inside: avoid; } h1, h2 { break-after: avoid; }
.wide { overflow: visible; } table { font-size: 8pt; } pre { white-space: pre-wrap; }
th, td { padding: .1rem .3rem; overflow-wrap: anywhere; }
}
"""

BLINK = 0.7
"""Seconds for which each picture is seen where they blink."""

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

    @classmethod
    def read(cls, caption: str, path: Path) -> "Panel":
        """A PNG file that was written for a page.

        Raises:
            FileError: It is not there any more, or is none.
        """
        check_file(path, "a picture of the report")
        try:
            with Image.open(path, formats=("PNG",)) as image:
                return cls(caption, image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise FileError(
                f"Wanted a picture of the report, but {path} is none that can be read "
                f"({brief(error)}). Restore again."
            ) from error


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: Its heading.
        panels: Pictures, side by side.
        text: A sentence or two on what they show.
        flips: Whether the reader may lay the pictures on each other, to flip through them or to
            let them blink.
        whole: Whether each picture is as wide as the page.
        rows: Numbers, told below as a table; all have the same keys.
    """

    title: str
    panels: Sequence[Panel] = ()
    text: str = ""
    flips: bool = False
    whole: bool = False
    rows: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: Its heading.
        sections: Its parts.
        settings: How it came about, as a text that could be a file.
        remarks: Sentences at the end.
    """

    title: str
    sections: Sequence[Section]
    settings: str = ""
    remarks: Sequence[str] = field(default_factory=tuple)


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


def nearly_largest(values: Tensor) -> float:
    """The value that 99.5 % of them do not exceed, above 0: the top of a heat map."""
    flat = values.flatten()
    return max(float(flat.kthvalue(max(1, int(0.995 * len(flat)))).values), 1e-12)


def residual_words(summary: Mapping[str, Any]) -> str:
    """What the residual, or the share of the data's numbers that was kept, says, in a sentence."""
    if "kept" in summary:
        return _kept_words(summary["kept"])
    chi2 = summary["chi2_dof"]
    if chi2 is None:
        off = summary["residual_max"]
        met = f"to {off:.1e}" if off else "to the last digit"
        return f"The data were taken as exact; the samples meet them {met}."
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


def write_page(path: Path, page: Page) -> None:
    """Writes a page into one file: pictures inside, no script, no request to anywhere."""
    title = html.escape(page.title)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<style>{STYLE}{_flipping(page)}</style><h1>{title}</h1>",
        *(_part(number, section) for number, section in enumerate(page.sections)),
    ]
    if page.settings:
        parts.append(f"<h2>How</h2><pre>{html.escape(page.settings)}</pre>")
    parts += [f"<p>{html.escape(remark)}" for remark in page.remarks]
    path.write_text("\n".join(parts) + "\n")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as an HTML table, which scrolls by itself where it is too wide."""
    head = "".join(f"<th>{html.escape(key)}" for key in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}" for value in row.values())
        for row in rows
    )
    return f"<div class=wide><table><tr>{head}{body}</table></div>"


def _part(number: int, section: Section) -> str:
    figures = "".join(
        f"<figure><img src='{_inline(panel.image)}' alt='{html.escape(panel.caption)}'>"
        f"<figcaption>{html.escape(panel.caption)}</figcaption></figure>"
        for panel in section.panels
    )
    strip = f"<div class='strip{' whole' if section.whole else ''}'>{figures}</div>"
    if _is_flipped(section):
        strip = f"<div class=flips>{_choices(number, section)}{strip}</div>"
    words = f"<p>{html.escape(section.text)}</p>" if section.text else ""
    numbers = table(section.rows) if section.rows else ""
    shown = strip if section.panels else ""
    return f"<section><h2>{html.escape(section.title)}</h2>{words}{shown}{numbers}</section>"


def _is_flipped(section: Section) -> bool:
    return section.flips and len(section.panels) > 1


def _choices(number: int, section: Section) -> str:
    """Side by side, blinking, or one of the pictures: a group of radio buttons."""
    shown = (re.split("[:,]", panel.caption)[0] for panel in section.panels)
    names = ["side by side", "blink", *shown]
    kinds = ["all", "blink", *(f"n{k}" for k in range(len(section.panels)))]
    return "".join(
        f"<input type=radio name=s{number} id=s{number}-{kind} class={kind}"
        f"{' checked' if kind == 'all' else ''}>"
        f"<label for=s{number}-{kind}>{html.escape(name)}</label>"
        for kind, name in zip(kinds, names, strict=True)
    )


def _flipping(page: Page) -> str:
    """The rules that show one picture of several, or one after the other."""
    counts = {len(section.panels) for section in page.sections if _is_flipped(section)}
    rules = []
    for k in range(max(counts, default=0)):
        one = f".strip > figure:nth-child({k + 1})"
        rules.append(f".flips > .n{k}:checked ~ {one} {{ visibility: visible !important; }}")
    for count in sorted(counts):
        share = 100 / count
        rules.append(
            f"@keyframes blink{count} {{ 0%, {share - 0.01:.2f}% {{ visibility: visible; }} "
            f"{share:.2f}%, 100% {{ visibility: hidden; }} }}"
        )
        for k in range(count):
            last = f":nth-child({k + 1}):nth-last-child({count - k})"
            rules.append(
                f".flips > .blink:checked ~ .strip > figure{last} "
                f"{{ animation: blink{count} {BLINK * count:.1f}s {BLINK * k:.1f}s infinite; }}"
            )
    return f"@media screen {{ {' '.join(rules)} }}" if rules else ""


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
