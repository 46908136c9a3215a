"""What the commands on MRI leave: images, a page and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...domain import Before, write_pictures, write_saved
from ...measurement import Measurement
from ...recipe import Recipe
from ...report import Page, Panel, Section, heat_map
from ...samples import PosteriorSamples
from ...saved import SAMPLES, TRUTH, Saved, read_truth, write_truth
from ...volumes import write_nifti
from .encoding import reduced
from .figures import gray, phase, sampled
from .judgement import Fit, against, object_in, told
from .kspace import image_of, middle
from .reading import Reading
from .scan import Scan
from .simulation import Simulated

MEASUREMENT = "measurement.npz"

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


SHOWN = 4
"""Samples of a slice on the page."""


QUARTERS = (
    "Quarters: of the magnitude, from where the coils amplify noise least to most (g-factor)."
)


@dataclass(frozen=True)
class Restored:
    """A slice, as far as all of them are told of together.

    Attributes:
        summary: Its numbers.
        fit: How well its samples explain k-space.
        mean: Of the samples.
        std: Deviation of their magnitude.
    """

    summary: dict[str, Any]
    fit: Fit
    mean: Complex[Tensor, "rows columns"]
    std: Float[Tensor, "rows columns"]


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
    (mean,) = image_of(samples.mean[None])
    std = images.abs().std(0, correction=int(len(images) > 1))
    fit = Fit.of(samples.draws, H, measurement.y, sigma_y)
    summary: dict[str, Any] = {
        "slice": reading.number,
        **samples.provenance,
        **told([fit]),
        "notes": reading.notes,
    }
    if truth is not None:
        maps, amplified = scan.maps(measurement.arrays), None
        if maps is not None and scan.sampling == "lines":
            lines, _ = reduced(measurement.y, maps, scan.mask(measurement.arrays)[0])
            amplified = middle(lines.amplification(sigma_y / summary["unit"]), *truth.shape)
        shown = samples.mapped(lambda x: middle(x, *truth.shape))
        inside = object_in(truth.abs())
        summary["truth"] = against(shown, truth, inside, amplified)
        write_truth(folder, truth)
    samples.save(folder / SAMPLES)
    before = Before("the measured part of k-space alone", plain(measurement, scan))
    summary["shown"] = write_pictures(folder, samples, before)
    measurement.save(folder / MEASUREMENT)
    return Restored(summary, fit, mean, std)


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
    summary = {
        "domain": first["domain"],
        **told([one.fit for one in slices]),
        "slices": [one.summary for one in slices],
    }
    if len(slices) == 1:
        summary["shown"] = first["shown"]
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
    recipe = Recipe(**first["recipe"]).to_toml()
    write_saved(Saved(folder, None, summary, recipe), page_of)
    return summary


def plain(measurement: Measurement, scan: Scan) -> Float[Tensor, "2 rows columns"]:
    """H^T y: the image of a scan where zeros stand for all that was not measured."""
    return scan.operator(measurement.arrays).adjoint(measurement.y[None])[0]


def page_of(saved: Saved) -> Page:
    """The report on slices, which lie in the folder or in one each.

    Raises:
        FileError: One of them is not there any more.
    """
    slices = saved.summary["slices"]
    first, count = slices[0], len(slices)
    sections = [_section(slice_folder(saved.folder, count, s["slice"]), s) for s in slices]
    sections.append(Section("Numbers", rows=[_row(s) for s in slices]))
    if "truth" in first:
        title = "What 90 % intervals hold, inside of the object"
        rows = [_coverage(s) for s in slices]
        sections.append(Section(title, text=QUARTERS, rows=rows))
    return Page(
        f"MRI by {first['method']}, prior {first['prior']}",
        sections,
        f"{saved.recipe}operator = {first['operator']}\n",
        [
            f"{first['nfe']} network evaluations a sample, {first['seconds']} s for a slice.",
            NO_DEVICE,
        ],
    )


def slice_folder(folder: Path, count: int, number: int) -> Path:
    """Where the samples of a slice are, of so many."""
    return folder if count == 1 else folder / f"slice-{number:03d}"


def _section(folder: Path, summary: Mapping[str, Any]) -> Section:
    """What was drawn of a slice, how sure it is, and what was measured."""
    measurement = Measurement.load(folder / MEASUREMENT)
    images = image_of(PosteriorSamples.load(folder / SAMPLES).draws)
    scan, mean = Scan.read(measurement.operator), images.mean(0)
    std = images.abs().std(0, correction=int(len(images) > 1))
    top = float(mean.abs().flatten().quantile(0.995))
    panels = [
        Panel("mean", gray(mean.abs(), top)),
        *(Panel(f"sample {k + 1}", gray(x.abs(), top)) for k, x in enumerate(images[:SHOWN])),
    ]
    more = [
        Panel(f"deviation of the magnitude, 0 to {ERRORS * top:.3g}", heat_map(std, ERRORS * top)),
        Panel("phase of the mean, as hue", phase(mean, top)),
        Panel(f"measured k-space, {scan.coils} coils", sampled(scan.mask(measurement.arrays))),
    ]
    if (folder / TRUTH).is_file():
        truth = read_truth(folder / TRUTH)
        error = (middle(mean, *truth.shape).abs() - truth.abs()).abs()
        panels.insert(0, Panel("truth", gray(truth.abs(), top)))
        more.insert(1, Panel("error of the mean, same scale", heat_map(error, ERRORS * top)))
    title = f"Slice {summary['slice']}"
    return Section(title, [*panels, *more], slice_words(summary), flips=True)


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


def _coverage(summary: Mapping[str, Any]) -> dict[str, Any]:
    """How often 90 % intervals hold, by what and by where noise is amplified."""
    truth = summary["truth"]
    quarters = truth.get("coverage_by_amplification", [])
    told = {f"quarter {k + 1}": held for k, held in enumerate(quarters)}
    return {"slice": summary["slice"], **truth["coverage"], **told}
