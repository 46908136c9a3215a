"""What the commands on lenses leave: FITS files, the figure, a page and numbers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...domain import write_pictures, write_saved
from ...recipe import Recipe
from ...report import Page, Panel, Section
from ...samples import PosteriorSamples
from ...saved import SAMPLES, Saved, write_truth
from .figures import Shown, bright, write_figure
from .fits import write_cube
from .judgement import Fit, against, told
from .lens_file import LensFile
from .lenses import Lens
from .reading import Reading
from .simulation import Simulated
from .unknown import drawn_lenses
from .view import View

FIGURE = "figure.png"

SHOWN = 8
"""Samples on the page."""


def write_restoration(
    folder: Path,
    reading: Reading,
    samples: PosteriorSamples,
    truth: Float[Tensor, "h w"] | None = None,
) -> dict[str, Any]:
    """Writes everything that ``hdagger lens restore`` leaves, and returns the summary.

    Args:
        folder: Where to.
        reading: What was read.
        samples: What was drawn.
        truth: The source, if it is known.
    """
    measurement, view = reading.measurement, reading.view
    psf, numbers = measurement.arrays.get("psf"), samples.known.get("numbers")
    H: Any = view.operator(psf)
    lenses: list[Lens] = []
    if numbers is not None:
        lenses = drawn_lenses(view.lens, measurement.arrays["deviations"].tolist(), numbers)
        H = [replace(view, lens=lens).operator(psf) for lens in lenses]
    y, noise = measurement.y, torch.as_tensor(measurement.sigma_y).expand_as(measurement.y)
    fit = Fit.of(samples.draws, H, y, noise)
    summary: dict[str, Any] = {
        **samples.provenance,
        **told(samples.draws, fit, view.source.scale, view.image.scale),
        "notes": reading.notes,
    }
    if lenses:
        found = torch.tensor([lens.numbers for lens in lenses], dtype=torch.float64)
        each = zip(view.lens.names, found.mean(0).tolist(), found.std(0).tolist(), strict=True)
        summary["lens"] = {name: [mean, std] for name, mean, std in each if std > 0}
        view = replace(view, lens=view.lens.moved(found.mean(0).tolist()))
    summary["view"] = str(view)
    if truth is not None:
        summary["truth"] = against(samples, truth)
        write_truth(folder, truth)
    x, about = samples.draws[:, 0], {"BUNIT": "as the image"}
    write_cube(folder / "samples.fits", x, view.source, about)
    write_cube(folder / "mean.fits", samples.mean[0], view.source, about)
    write_cube(folder / "std.fits", samples.std[0], view.source, about)
    write_cube(folder / "model.fits", fit.model, view.image, about)
    write_cube(folder / "residual.fits", fit.residual, view.image, {"BUNIT": "sigma"})
    samples.save(folder / SAMPLES)
    summary["shown"] = write_pictures(folder, samples)
    measurement.save(folder / "measurement.npz")
    summary["words"] = [summary_words(summary)]
    recipe = Recipe(**samples.provenance["recipe"]).to_toml()
    write_figure(folder / FIGURE, Shown(view, y[0], noise[0], x, samples.mean[0], fit, truth))
    write_saved(Saved(folder, samples, summary, recipe, truth), page_of)
    return summary


def page_of(saved: Saved) -> Page:
    """The report on a source.

    Raises:
        FileError: Its figure is not there any more.
    """
    summary, x = saved.summary, saved.draws[:, 0]
    peak, lens = float(x.mean(0).max()), View.read(summary["view"]).lens
    panels = [Panel(f"sample {k + 1}", bright(one, peak)) for k, one in enumerate(x[:SHOWN])]
    sections = [
        Section(
            "Data, model, source",
            [Panel.read("lines: critical curves and caustics", saved.folder / FIGURE)],
            summary_words(summary),
            whole=True,
        ),
        Section("What else it may have been", panels, flips=True),
        Section("Numbers", rows=[_row(summary)]),
    ]
    if "lens" in summary:
        found = summary["lens"].items()
        rows = [{"lens": name, "mean": mean, "deviation": std} for name, (mean, std) in found]
        sections.append(Section("Lens", rows=rows))
    return Page(
        f"The source behind {lens}, by {summary['method']}",
        sections,
        f"{saved.recipe}operator = {summary['view']}\n",
        [f"{summary['nfe']} network evaluations a sample, {summary['seconds']} s in all."],
    )


def write_simulation(folder: Path, view: View, simulated: Simulated) -> None:
    """Writes the files that ``hdagger lens restore`` reads, and the source."""
    write_cube(folder / "image.fits", simulated.image, view.image)
    write_cube(folder / "noise.fits", simulated.noise, view.image, {"EXTNAME": "ERR"})
    spread = view.image.around(*simulated.psf.shape)
    write_cube(folder / "psf.fits", simulated.psf, spread)
    write_cube(folder / "truth.fits", simulated.truth, view.source)
    source = view.source
    size = source.rows * source.scale
    (folder / "lens.toml").write_text(LensFile(view.lens, source.x, source.y, size).to_toml())


def summary_words(summary: Mapping[str, Any]) -> str:
    """The numbers of a restoration in a few sentences."""
    flux, flux_std = summary["flux"]
    magnified, magnified_std = summary["magnification"]
    words = (
        f"chi2/N is {summary['chi2_n_of_samples']:.3f} for samples and "
        f"{summary['chi2_n_of_mean']:.3f} for their mean. Flux {flux:.4g} +- {flux_std:.2g}, "
        f"magnified {magnified:.3g} +- {magnified_std:.2g} times. {summary['checked']}"
    )
    if "lens" in summary:
        found = (
            f"{name} {mean:.4g} +- {std:.2g}" for name, (mean, std) in summary["lens"].items()
        )
        words += f" The lens, drawn with the source: {', '.join(found)}."
    if "truth" in summary:
        truth = summary["truth"]
        words += (
            f" On the known source the mean errs by {100 * truth['nrmse']:.1f} %, and "
            f"90 % intervals hold {100 * truth['coverage']:.0f} % of its pixels."
        )
    return words


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    pair = lambda name: "{:.4g} +- {:.2g}".format(*summary[name])
    row = {"flux": pair("flux"), "magnification": pair("magnification")}
    row |= {
        "chi2/N of samples": summary["chi2_n_of_samples"],
        "chi2/N of the mean": summary["chi2_n_of_mean"],
    }
    return row | summary.get("truth", {})
