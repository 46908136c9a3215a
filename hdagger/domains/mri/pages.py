"""What the commands on MRI leave: images, a page and numbers."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...recipe import Recipe
from ...report import Panel, Section, heat_map, table, write_page
from ...samples import PosteriorSamples
from ...volumes import write_nifti
from .encoding import reduced
from .figures import gray, phase, sampled
from .judgement import Fit, against, told
from .kspace import image_of, middle
from .reading import Reading, object_in
from .simulation import Simulated

NO_DEVICE = "Not a medical device: for research, not for diagnosis."

ERRORS = 0.2
"""Share of the brightness at the upper end of the scales of deviations and of errors."""

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{readout}</x><y>{columns}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum>
<center>{centre}</center></kspace_encoding_step_1></encodingLimits>
</encoding></ismrmrdHeader>
"""


@dataclass(frozen=True)
class Restored:
    """A slice, as far as it is shown.

    Attributes:
        summary: Its numbers.
        fit: How well its samples explain k-space.
        mean: Of the samples.
        std: Deviation of their magnitude.
        section: Its part of the page.
    """

    summary: dict[str, Any]
    fit: Fit
    mean: Complex[Tensor, "rows columns"]
    std: Float[Tensor, "rows columns"]
    section: Section


def write_slice(
    folder: Path,
    reading: Reading,
    samples: PosteriorSamples,
    truth: Complex[Tensor, "rows columns"] | None = None,
) -> Restored:
    """Writes the samples of a slice and what was measured.

    Args:
        folder: Where to.
        reading: What was read.
        samples: What was drawn.
        truth: The image, if it is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measurement, scan = reading.measurement, reading.scan
    H, sigma_y = scan.operator(measurement.arrays), measurement.noise
    images = image_of(samples.draws)
    mean, std = images.mean(0), images.abs().std(0, correction=int(len(images) > 1))
    fit = Fit.of(samples.draws, H, measurement.y, sigma_y)
    summary: dict[str, Any] = {
        "slice": reading.number,
        **samples.provenance,
        **told([fit]),
        "notes": reading.notes,
    }
    top = float(mean.abs().flatten().quantile(0.995))
    mask = scan.mask(measurement.arrays)
    panels = [
        Panel("mean", gray(mean.abs(), top)),
        Panel(f"deviation of the magnitude, 0 to {ERRORS * top:.3g}", heat_map(std, ERRORS * top)),
        Panel("phase of the mean, as hue", phase(mean, top)),
        *(Panel(f"sample {k + 1}", gray(x.abs(), top)) for k, x in enumerate(images[:2])),
    ]
    if truth is not None:
        maps, amplified = scan.maps(measurement.arrays), None
        if maps is not None and scan.sampling == "lines":
            lines, _ = reduced(measurement.y, maps, mask[0])
            amplified = middle(lines.amplification(sigma_y / summary["unit"]), *truth.shape)
        shown, inside = middle(samples.draws, *truth.shape), object_in(truth.abs())
        summary["truth"] = against(shown, truth, inside, amplified)
        error = (middle(mean, *truth.shape).abs() - truth.abs()).abs()
        panels += [
            Panel("truth", gray(truth.abs(), top)),
            Panel("error of the mean, same scale", heat_map(error, ERRORS * top)),
        ]
    panels.append(Panel(f"measured k-space, {scan.coils} coils", sampled(mask)))
    samples.save(folder / "samples.npz")
    measurement.save(folder / "measurement.npz")
    section = Section(f"Slice {reading.number}", panels, slice_words(summary))
    return Restored(summary, fit, mean, std, section)


def write_restoration(
    folder: Path, slices: Sequence[Restored], affine: np.ndarray | None = None
) -> dict[str, Any]:
    """Writes everything of ``hdagger mri restore`` but the samples, and returns the summary.

    Args:
        folder: Where to.
        slices: What :func:`write_slice` gave.
        affine: From (column, row, slice) to millimetres, if it is known.
    """
    first = slices[0].summary
    summary = {"slices": [one.summary for one in slices], **told([one.fit for one in slices])}
    mean, std = torch.stack([s.mean for s in slices]), torch.stack([s.std for s in slices])
    if affine is None:
        np.save(folder / "mean.npy", mean.numpy())
        np.save(folder / "std.npy", std.numpy())
    else:
        placed = affine.copy()
        placed[:3, 3] += affine[:3, 2] * first["slice"]
        write_nifti(folder / "mean.nii.gz", mean.abs(), placed)
        write_nifti(folder / "std.nii.gz", std, placed)
    summary["words"] = [summary_words(summary), NO_DEVICE]
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    recipe = Recipe(**first["recipe"]).to_toml()
    (folder / "recipe.toml").write_text(recipe)
    settings = html.escape(f"{recipe}operator = {first['operator']}\n")
    write_page(
        folder / "report.html",
        f"MRI by {first['method']}, prior {first['prior']}",
        [one.section for one in slices],
        f"<p><strong>{NO_DEVICE}</strong></p>{table([_row(one.summary) for one in slices])}"
        f"{_coverage_table(slices)}<h2>How</h2><pre>{settings}</pre>"
        f"<p>{first['nfe']} network evaluations a sample, {first['seconds']} s for a slice.",
    )
    return summary


def write_simulation(folder: Path, simulated: Simulated, about: str) -> None:
    """Writes *kspace.h5* as fastMRI has it, *maps.npy* and *truth.npy*.

    Args:
        folder: Where to.
        simulated: What was simulated.
        about: What of, to be told with the data.
    """
    import h5py

    readout, columns = simulated.kspace.shape[-2:]
    rows = simulated.truth.shape[1]
    header = HEADER.format(
        readout=readout, rows=rows, columns=columns, last=columns - 1, centre=columns // 2
    )
    with h5py.File(folder / "kspace.h5", "w") as file:
        file["kspace"] = simulated.kspace.to(torch.complex64).numpy()
        file["mask"] = simulated.mask.numpy()
        file["ismrmrd_header"] = header
        file.attrs["simulated"] = about
        if simulated.affine is not None:
            file["affine"] = simulated.affine
    np.save(folder / "maps.npy", simulated.maps.to(torch.complex64).numpy())
    np.save(folder / "truth.npy", simulated.truth.to(torch.complex64).numpy())


def slice_words(summary: Mapping[str, Any]) -> str:
    """The numbers of a slice in a few sentences."""
    words = (
        f"{'; '.join(summary['notes'])}. chi2/N is {summary['chi2_n_of_samples']:.3f} for samples "
        f"and {summary['chi2_n_of_mean']:.3f} for their mean. {summary['checked']}"
    )
    if "truth" in summary:
        truth = summary["truth"]
        words += (
            f" Against the known image the mean has {truth['psnr']:.1f} dB, and 90 % intervals "
            f"hold {100 * truth['coverage']['magnitude']:.0f} % of the object's magnitude."
        )
    return words


def summary_words(summary: Mapping[str, Any]) -> str:
    """The numbers of a restoration in a few sentences."""
    slices = summary["slices"]
    if len(slices) == 1:
        return slice_words(slices[0])
    return (
        f"{len(slices)} slices. chi2/N is {summary['chi2_n_of_samples']:.3f} for samples and "
        f"{summary['chi2_n_of_mean']:.3f} for their means."
    )


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    truth = summary.get("truth", {})
    row = {
        "slice": summary["slice"],
        "chi2/N of samples": summary["chi2_n_of_samples"],
        "chi2/N of the mean": summary["chi2_n_of_mean"],
    }
    names = {"psnr": "PSNR, dB", "nmse": "NMSE", "ssim": "SSIM", "spread": "spread over error"}
    return row | {said: truth[name] for name, said in names.items() if name in truth}


def _coverage_table(slices: Sequence[Restored]) -> str:
    """How often 90 % intervals hold, by what and by where noise is amplified."""
    rows = []
    for one in slices:
        truth = one.summary.get("truth", {})
        row = {"slice": one.summary["slice"], **truth.get("coverage", {})}
        quarters = truth.get("coverage_by_amplification", [])
        rows.append(row | {f"quarter {k + 1}": q for k, q in enumerate(quarters)})
    if len(rows[0]) == 1:
        return ""
    return (
        "<h2>What 90 % intervals hold, inside of the object</h2>"
        "<p>Quarters: of the magnitude, from where the coils amplify noise least to most "
        f"(g-factor).</p>{table(rows)}"
    )
