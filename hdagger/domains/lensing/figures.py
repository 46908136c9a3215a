"""The figure of a lensed galaxy: does the model explain the data, and what is behind the lens?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...errors import FileError
from ...report import heat_map
from .critical import caustics, critical_curves
from .judgement import Fit
from .shooting import Frame
from .view import View

Plane = Float[Tensor, "rows columns"]

REACH = 4.0
"""Deviations of the noise at the ends of the scale of residuals."""

KNEE = 0.03
"""Share of the peak from which on the stretch is logarithmic."""

WIDTH = 15.0
"""Inches."""

LENGTHS = 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50
"""Of the scale bar, arcsec."""

LINE = {"color": "#59d8e6", "linewidth": 0.8}
"""Of critical curves and caustics."""


@dataclass(frozen=True)
class Shown:
    """What the figure shows.

    Attributes:
        view: The lens and the frames.
        y: The data, ``(rows, columns)``.
        noise: Their deviation, infinite where nothing was seen.
        draws: Samples of the source, ``(samples, h, w)``.
        mean: The answer.
        fit: How well they explain the data.
        truth: The source, if it is known, ``(h, w)``.
        others: Sources that something else found, by name.
    """

    view: View
    y: Plane
    noise: Plane
    draws: Float[Tensor, "samples h w"]
    mean: Float[Tensor, "h w"]
    fit: Fit
    truth: Float[Tensor, "h w"] | None = None
    others: Sequence[tuple[str, Tensor]] = ()


def write_figure(path: Path, shown: Shown) -> None:
    """Draws two rows: data, model, residual and its histogram; truth, mean, deviation, samples.

    Every panel of brightness has the same arcsinh stretch.

    Raises:
        FileError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FileError(
            "Wanted matplotlib for the figure, but it is not installed. "
            "pip install 'hdagger[astro]'"
        ) from error
    mean = shown.mean
    named: list[tuple[str, Tensor | None]] = [("mean", mean), ("standard deviation", None)]
    if shown.truth is not None:
        named.insert(0, ("truth", shown.truth))
    named += [(f"sample {k + 1}", draw) for k, draw in enumerate(shown.draws[:2])]
    named += shown.others
    heights = WIDTH / 4, WIDTH / len(named) + 0.3
    figure = Figure(figsize=(WIDTH, sum(heights)), facecolor="white")
    figure.set_layout_engine("constrained")
    rows = figure.add_gridspec(2, 1, height_ratios=heights)
    above, below = (figure.add_subfigure(row) for row in rows)
    peak = float(max(mean.max(), shown.truth.max() if shown.truth is not None else 0))
    view = shown.view
    panels = above.subplots(1, 4)
    seen = torch.where(shown.noise.isfinite(), shown.y, torch.nan)
    _brightness(panels[0], "data", seen, view.image, peak)
    _brightness(panels[1], "model of the mean", shown.fit.model, view.image, peak)
    for line in critical_curves(view.lens, view.image):
        panels[1].plot(*line.T, **LINE)
    _residual(above, panels[2], shown.fit.residual, view.image)
    _histogram(panels[3], shown.fit)
    curves = caustics(view.lens, view.image)
    for axes, (name, plane) in zip(below.subplots(1, len(named)), named, strict=True):
        if plane is None:
            deviation = shown.draws.std(0, correction=int(len(shown.draws) > 1))
            _deviation(below, axes, deviation, view.source)
        else:
            _brightness(axes, name, plane, view.source, peak)
        for line in curves:
            axes.plot(*line.T, **LINE)
        _frame(axes, view.source)
    figure.savefig(path, dpi=110)


def stretched(plane: Plane, peak: float) -> Plane:
    """Brightness by an arcsinh, 1 at the peak: linear in what is faint, a logarithm beyond."""
    return torch.asinh(plane.double() / (KNEE * peak)) / math.asinh(1 / KNEE)


def bright(plane: Plane, peak: float) -> Image.Image:
    """A source in colours, north up, black where it is dark and pale at the peak."""
    return heat_map(stretched(plane, max(peak, 1e-12)).flip(0), 1.0)


def _frame(axes: Any, frame: Frame) -> tuple[float, float, float, float]:
    """Clears the axes, limits them to a frame, and draws a scale of a round length."""
    across, up = frame.columns * frame.scale / 2, frame.rows * frame.scale / 2
    extent = frame.x - across, frame.x + across, frame.y - up, frame.y + up
    axes.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    return extent


def _bar(axes: Any, frame: Frame) -> None:
    width = frame.columns * frame.scale
    length = max([0.01, *(length for length in LENGTHS if length <= width / 3)])
    left, bottom = frame.x - 0.46 * width, frame.y - 0.45 * frame.rows * frame.scale
    axes.plot([left, left + length], [bottom, bottom], color="white", linewidth=2)
    axes.text(left, bottom + 0.02 * width, f'{length:g}"', color="white", fontsize=9)


def _brightness(axes: Any, name: str, plane: Plane, frame: Frame, peak: float) -> None:
    shown = stretched(plane, peak).numpy()
    axes.set_facecolor("0.5")
    extent = _frame(axes, frame)
    axes.imshow(shown, origin="lower", extent=extent, cmap="inferno", vmin=-0.1, vmax=1)
    axes.set_title(name, fontsize=10)
    _bar(axes, frame)


def _deviation(figure: Any, axes: Any, plane: Plane, frame: Frame) -> None:
    extent = _frame(axes, frame)
    drawn = axes.imshow(plane.numpy(), origin="lower", extent=extent, cmap="magma", vmin=0)
    axes.set_title("standard deviation", fontsize=10)
    inset = axes.inset_axes((0.55, 0.07, 0.4, 0.03))
    scale = figure.colorbar(drawn, cax=inset, orientation="horizontal")
    scale.ax.xaxis.set_ticks_position("top")
    scale.ax.tick_params(colors="white", labelsize=7)
    scale.ax.locator_params(nbins=3)


def _residual(figure: Any, axes: Any, residual: Plane, frame: Frame) -> None:
    extent = _frame(axes, frame)
    values = residual.numpy()
    drawn = axes.imshow(
        values, origin="lower", extent=extent, cmap="RdBu_r", vmin=-REACH, vmax=REACH
    )
    axes.set_title("residual / noise", fontsize=10)
    if np.isnan(values).any():
        x, y = frame.centres()
        hidden = np.isnan(values).astype(float)
        levels, hatches = [0.5, 1.5], ["////"]
        axes.contourf(x, y, hidden, levels=levels, hatches=hatches, colors="none")
    figure.colorbar(drawn, ax=axes, shrink=0.8)


def _histogram(axes: Any, fit: Fit) -> None:
    z = fit.residual[fit.residual.isfinite()].numpy()
    edges = np.linspace(-5, 5, 51)
    axes.hist(z.clip(-5, 5), edges, density=True, color="#7a7f87", label="residual / noise")
    bell = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(edges, bell, color="#c2362b", label="N(0, 1)")
    samples = sum(fit.of_samples) / len(fit.of_samples)
    said = (
        f"mean {z.mean():+.3f}\ndeviation {z.std():.3f}\n"
        f"$\\chi^2/N$ {fit.of_mean:.3f}\nof samples {samples:.3f}"
    )
    axes.text(0.03, 0.97, said, transform=axes.transAxes, va="top", fontsize=10)
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    axes.set(yticks=[], xlim=(-5, 5), ylim=(0, 0.55), xlabel="deviations of the noise")
    axes.set_box_aspect(1)
