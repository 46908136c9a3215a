"""What the commands on CT leave: volumes in HU, numbers, and a page in a radiologist's windows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...domain import Before, write_pictures, write_saved
from ...measurement import Measurement
from ...problem import Problem
from ...recipe import Recipe
from ...report import Page, Panel, Section, heat_map
from ...samples import PosteriorSamples
from ...saved import SAMPLES, Saved, write_truth
from .judgement import Slice, against, body, told
from .projector import Projector, filtered_back_projection, water
from .reading import Reading
from .scan import Scan
from .simulation import Simulated
from .sinograms import write_sinogram

WINDOWS = {"lung": (-1.35, 0.15), "soft tissue": (-0.16, 0.24)}
"""Of HU / 1000, black to white."""

FBP = "filtered back projection"

SHOWN = 4
"""Samples on the page."""

NO_DEVICE = "This is research software and no medical device: nothing here is fit for a diagnosis."


def write_restoration(
    folder: Path,
    reading: Reading,
    samples: Sequence[PosteriorSamples],
    truth: Float[Tensor, "slices rows columns"] | None = None,
) -> dict[str, Any]:
    """Writes everything that ``hdagger ct restore`` leaves, and returns the summary.

    Args:
        folder: Where to.
        reading: What was read.
        samples: What was drawn of each slice, HU / 1000.
        truth: The slices, if they are known, HU / 1000.
    """
    H, rows = Projector(reading.scan), []
    for place, (measurement, drawn) in enumerate(zip(reading.measurements, samples, strict=True)):
        problem = Problem.of(measurement.y, H, measurement.sigma_y)
        row = {"slice": reading.numbers[place], **told(drawn, problem, reading.scan)}
        if truth is not None:
            row["truth"] = against(drawn, truth[place], reading.scan)
        rows.append(row)
    summary = {**samples[0].provenance, **_averaged(rows), "notes": reading.notes, "slices": rows}
    hu = torch.cat([1000 * drawn.draws for drawn in samples], dim=1)
    mean = torch.cat([1000 * drawn.mean for drawn in samples])
    whole = PosteriorSamples(hu, {**samples[0].provenance, "units": "HU"}, expected=mean)
    whole.save(folder / SAMPLES)
    slices = whole.mapped(lambda hu: hu / 1000)
    summary["shown"] = write_pictures(folder, slices, Before(FBP, plain(reading, len(rows) // 2)))
    _write_volume(folder, "mean", whole.mean, reading.affine)
    _write_volume(folder, "std", whole.std, reading.affine)
    for number, measurement in zip(reading.numbers, reading.measurements, strict=True):
        measurement.save(folder / _measurement_name(number, len(rows)))
    if truth is not None:
        write_truth(folder, truth)
    summary["words"] = [summary_words(summary), NO_DEVICE]
    recipe = Recipe(**samples[0].provenance["recipe"]).to_toml()
    write_saved(Saved(folder, whole, summary, recipe, truth), page_of)
    return summary


def page_of(saved: Saved) -> Page:
    """The report on slices; it shows the middle one.

    Raises:
        FileError: What was measured of it is not there any more.
    """
    summary, rows = saved.summary, saved.summary["slices"]
    middle = len(rows) // 2
    number = rows[middle]["slice"]
    measurement = Measurement.load(saved.folder / _measurement_name(number, len(rows)))
    known = None if saved.truth is None else saved.truth[middle]
    x = saved.draws[:, middle] / 1000
    return Page(
        f"{_title(rows, middle)}, by {summary['method']}",
        [
            *_sections(measurement, x, known, summary_words(summary)),
            Section("Numbers", rows=[_flat(row) for row in rows]),
        ],
        f"{saved.recipe}operator = {measurement.operator}\n",
        [
            f"{summary['nfe']} network evaluations a sample, {summary['seconds']} s a slice.",
            NO_DEVICE,
        ],
    )


def write_simulation(folder: Path, simulated: Simulated) -> None:
    """Writes the sinogram that ``hdagger ct restore`` reads, and the truth in HU."""
    scan = simulated.scan
    arrays: dict[str, np.ndarray | float] = {
        "counts": simulated.counts.numpy(),
        "i0": simulated.i0,
        "angles": np.array(scan.angles),
        "bin": scan.detector.width,
        "offset": scan.detector.offset,
        "source_to_axis": np.inf,
        "mu_water": scan.mu_water,
        "pixel": scan.frame.pixel,
    }
    if simulated.affine is not None:
        arrays["affine"] = simulated.affine
    write_sinogram(folder / "sinogram.npz", arrays)
    _write_volume(folder, "truth", 1000 * simulated.truth, simulated.affine)


def truth_name(simulated: Simulated) -> str:
    """The file of the truth."""
    return "truth.npy" if simulated.affine is None else "truth.nii.gz"


def summary_words(summary: Mapping[str, Any]) -> str:
    """The numbers of a restoration in a few sentences."""
    words = (
        f"chi2/N is {summary['chi2_n_of_samples']:.3f} for samples and "
        f"{summary['chi2_n_of_mean']:.3f} for their mean. In the body they differ by "
        f"{summary['std_in_body_hu']:.0f} HU. {summary['checked']}"
    )
    if "std_unseen_over_seen" in summary:
        words += (
            f" {summary['unseen_degrees']:.0f} degrees of 180 were not seen: Fourier coefficients "
            f"there vary {summary['std_unseen_over_seen']:.1f} times as much as elsewhere."
        )
    if "truth" in summary:
        truth = summary["truth"]
        words += (
            f" In the known body the mean errs by {truth['rmse_hu']:.0f} HU, and 90 % intervals "
            f"hold {100 * truth['coverage']:.0f} % of its pixels."
        )
    return words


def window_words(name: str) -> str:
    """A window and its ends."""
    low, high = WINDOWS[name]
    return f"{name}, {1000 * low:.0f} to {1000 * high:.0f} HU"


def plain(reading: Reading, place: int) -> Float[Tensor, "1 rows columns"]:
    """A slice as it is seen without a prior, HU / 1000; the first one read has the place 0."""
    p = reading.sinogram.p[reading.numbers[place]]
    return filtered_back_projection(p, reading.scan)[None]


def windowed(x: Slice, low: float, high: float) -> Image.Image:
    """Values from ``low`` (black) to ``high`` (white) in gray."""
    gray = ((x.double() - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(gray.numpy())


def _write_volume(
    folder: Path,
    name: str,
    hu: Float[Tensor, "slices rows columns"],
    affine: np.ndarray | None,
) -> None:
    """HU as NIfTI where their place is known, else as an array."""
    if affine is None:
        np.save(folder / f"{name}.npy", hu.float().numpy())
        return
    from ...volumes import write_nifti

    write_nifti(folder / f"{name}.nii.gz", hu, affine)


def _averaged(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The means of numbers over slices, within tables too."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name != "slice"):
        found = [row[name] for row in rows if name in row]
        means[name] = _averaged(found) if isinstance(found[0], Mapping) else fmean(found)
    return means


def _measurement_name(number: int, count: int) -> str:
    """The file of what was measured of a slice, of so many."""
    return "measurement.npz" if count == 1 else f"measurement-{number:04d}.npz"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != "truth"} | dict(row.get("truth", {}))


def _title(rows: Sequence[Mapping[str, Any]], middle: int) -> str:
    if len(rows) == 1:
        return "A slice from its projections"
    return f"{len(rows)} slices from their projections (here number {rows[middle]['slice']})"


def _sections(
    measurement: Measurement,
    x: Float[Tensor, "samples rows columns"],
    truth: Slice | None,
    words: str,
) -> list[Section]:
    """Windows of what was drawn beside filtered back projection, how sure it is, and the data."""
    scan = Scan.read(measurement.operator)
    p = measurement.y + water(Projector(scan))
    start = filtered_back_projection(p, scan)
    mean, std = x.mean(0), x.std(0, correction=int(len(x) > 1))
    shown = {"mean": mean, FBP: start}
    shown |= {f"sample {k + 1}": one for k, one in enumerate(x[:SHOWN])}
    if truth is not None:
        shown = {"truth": truth} | shown
    sections = []
    for number, (name, (low, high)) in enumerate(WINDOWS.items()):
        panels = [Panel(what, windowed(one, low, high)) for what, one in shown.items()]
        title = window_words(name)
        title = title[0].upper() + title[1:]
        sections.append(Section(title, panels, "" if number else words, flips=True))
    inside = body(truth if truth is not None else mean)
    top = float(std[inside].quantile(0.99)) if inside.any() else float(std.max())
    panels = [Panel(f"standard deviation: black 0, pale {1000 * top:.0f} HU", heat_map(std, top))]
    if truth is not None:
        error = (mean - truth).abs()
        panels.append(Panel("error of the mean, on the same scale", heat_map(error, top)))
    panels.append(
        Panel(
            f"sinogram: {p.shape[0]} views of {p.shape[1]} bins, 0 to {float(p.max()):.2f}",
            windowed(p, 0.0, float(p.max())),
        )
    )
    return [*sections, Section("How sure, and the data", panels)]
