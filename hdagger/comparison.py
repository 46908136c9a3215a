"""Restorations of one measurement side by side: methods, priors, settings; and their scores."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .domain import DOMAINS, Domain
from .errors import FileError, SettingError
from .files import check_restorations
from .judging import judge
from .report import Page, Panel, Section, heat_map, nearly_largest, write_page
from .samples import PosteriorSamples
from .saved import REPORT, SAMPLES

SAME = ("domain", "measurement_sha256")
"""What of their provenance restorations of one measurement have in common."""

TOLD = {
    **dict.fromkeys((*SAME, "method", "prior", "operator"), str),
    **dict.fromkeys(("steps", "nfe", "seconds", "sigma_y"), int | float),
    "chi2_dof": int | float | None,
}
"""What the provenance of each has to tell, and of what kind it is."""

SHOWN = 4
"""Samples of each that are shown."""

WIDE = 3
"""Width over height of a picture that needs the whole page."""

TILE, EDGE, LINE = 256, 10, 22
"""Pixels: height of a picture in the overview, what is around it, and of a line of text."""

TITLES = {
    "run": "",
    "method": "method",
    "prior": "prior",
    "steps": "steps",
    "samples": "samples",
    "nfe": "calls",
    "seconds": "seconds",
    "chi2_dof": "chi2/dof",
    "psnr_of_the_mean": "PSNR of the mean",
    "psnr_of_one": "of one",
    "crps": "CRPS",
    "energy_score": "energy score",
    "coverage_90": "90 % cover",
}
"""The numbers of a run, and what a person reads."""


@dataclass(frozen=True)
class Run:
    """One of the restorations.

    Attributes:
        name: What it is called.
        samples: As signals of the domain.
    """

    name: str
    samples: PosteriorSamples

    @property
    def title(self) -> str:
        """Its name, and how it was made."""
        told = self.samples.provenance
        return f"{self.name}: {told['method']}, {told['prior']}"

    def numbers(self, domain: Domain, truth: Tensor | None) -> dict[str, Any]:
        """What it cost, how well it explains the data, and how far it is from the truth.

        Those that need a truth, or two samples, are None without.
        """
        told, draws = self.samples.provenance, self.samples.draws
        row = dict.fromkeys(TITLES) | {
            "run": self.name,
            "method": told["method"],
            "prior": told["prior"],
            "steps": told["steps"],
            "samples": len(draws),
            "nfe": told["nfe"],
            "seconds": told["seconds"],
            "chi2_dof": told["chi2_dof"],
        }
        if truth is None:
            return row
        if len(draws) == 1:
            dB = domain.psnr(draws[0], truth)
            return row | {"psnr_of_the_mean": dB, "psnr_of_one": dB}
        found = judge(self.samples, truth, domain, seed=0)
        one, mean = found.psnr or (None, None)
        return row | {
            "psnr_of_the_mean": mean,
            "psnr_of_one": one,
            "crps": found.crps,
            "energy_score": found.energy,
            "coverage_90": found.covered[0.9],
        }


@dataclass(frozen=True)
class Comparison:
    """Restorations of one measurement.

    Attributes:
        runs: Each of them.
        domain: The kind of signal.
        truth: What was measured, if it is known.
    """

    runs: Sequence[Run]
    domain: Domain
    truth: Tensor | None = None

    @classmethod
    def of(cls, folders: Sequence[Path], truth: Path | None = None) -> "Comparison":
        """What lies in folders.

        Args:
            folders: Of restorations, two or more.
            truth: A file of what was measured, if it is known.

        Raises:
            SettingError: They are not of the same measurement, or of signals of another shape.
            FileError: One is no folder of a restoration.
        """
        places = check_restorations(folders)
        first, *others = (_samples_in(folder) for folder in places)
        for folder, samples in zip(places[1:], others, strict=True):
            if any(samples.provenance[name] != first.provenance[name] for name in SAME):
                raise SettingError(
                    f"Wanted restorations of one measurement, but {folder} is not of that of "
                    f"{places[0]}. Compare what was made of the same file and damage."
                )
            if samples.mean.shape != first.mean.shape:
                raise SettingError(
                    f"Wanted signals of one shape, but {folder} has {tuple(samples.mean.shape)} "
                    f"and {places[0]} has {tuple(first.mean.shape)}. Compare what fits."
                )
        DOMAINS.check(first.provenance["domain"])
        domain = DOMAINS[first.provenance["domain"]]
        runs = [Run(str(folder), domain.draws(folder)) for folder in places]
        shape = tuple(runs[0].samples.mean.shape)
        return cls(runs, domain, None if truth is None else domain.truth(truth, shape))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The numbers of each run: see :meth:`Run.numbers`."""
        return [run.numbers(self.domain, self.truth) for run in self.runs]

    def write(self, folder: Path) -> None:
        """Writes *report.html*, *comparison.csv* and *comparison.png*."""
        with (folder / "comparison.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(TITLES))
            writer.writeheader()
            writer.writerows(self.rows)
        self.overview.save(folder / "comparison.png")
        write_page(folder / REPORT, self.page)

    @cached_property
    def page(self) -> Page:
        """The report."""
        told = self.runs[0].samples.provenance
        known = [] if self.truth is None else [Panel("truth", self._drawn(self.truth))]
        means = [Panel(run.title, self._drawn(run.samples.mean)) for run in self.runs]
        rows = [{TITLES[k]: "" if v is None else v for k, v in row.items()} for row in self.rows]
        one = [Panel(run.title, self._drawn(run.samples.draws[0])) for run in self.runs]
        sections = [
            _section("Means", [*known, *means], "Lay them on each other: where do they differ?"),
            _section("One sample of each", [*known, *one]),
        ]
        if self._spreads:
            scale = f"Black is 0, pale {self.domain.deviation(self._top_spread)}, in each of them."
            maps = [Panel(name, image) for name, image in self._spreads.items()]
            sections.append(_section("Standard deviation of the samples", maps, scale))
        sections.append(Section("Numbers", text=self._words, rows=rows))
        sections += [
            _section(f"Samples of {run.name}", self._samples_of(run))
            for run in self.runs
            if len(run.samples.draws) > 1
        ]
        settings = f"operator = {told['operator']!r}\nsigma_y = {told['sigma_y']:.4g}\n"
        title = f"One measurement of {self.domain.name}, restored in {len(self.runs)} ways"
        return Page(title, sections, settings)

    @cached_property
    def overview(self) -> Image.Image:
        """A row for each run: its mean, a sample, and how far they vary; the truth first."""
        rows = []
        for run in self.runs:
            mean, draw = run.samples.mean, run.samples.draws[0]
            row = [("mean", self._drawn(mean)), ("sample 1", self._drawn(draw))]
            if run.name in self._spreads:
                row.append(("standard deviation", self._spreads[run.name]))
            rows.append(row)
        names = [run.title for run in self.runs]
        if self.truth is not None:
            rows.insert(0, [("truth", self._drawn(self.truth))])
            names.insert(0, "")
        return _sheet(names, rows)

    @cached_property
    def _top(self) -> float:
        known = self.runs[0].samples.mean if self.truth is None else self.truth
        return self.domain.brightness(known)

    @cached_property
    def _deviations(self) -> dict[str, Tensor]:
        several = [run for run in self.runs if len(run.samples.draws) > 1]
        return {run.name: self.domain.spread(run.samples.draws) for run in several}

    @cached_property
    def _top_spread(self) -> float:
        return max(nearly_largest(each) for each in self._deviations.values())

    @cached_property
    def _spreads(self) -> dict[str, Image.Image]:
        """Deviations of the runs that have them, all on one scale."""
        return {name: heat_map(each, self._top_spread) for name, each in self._deviations.items()}

    def _drawn(self, x: Tensor) -> Image.Image:
        return self.domain.drawn(x, self._top)

    def _samples_of(self, run: Run) -> list[Panel]:
        shown = run.samples.draws[:SHOWN]
        return [Panel(f"sample {k + 1}", self._drawn(draw)) for k, draw in enumerate(shown)]

    @property
    def _words(self) -> str:
        calls = "A call is one evaluation of the network; seconds are for all samples."
        if self.truth is None:
            return f"{calls} What is right is not known here: give --truth for scores."
        return (
            f"{calls} Of CRPS and energy score less is better; 90 % intervals should cover 90 % "
            "of the truth, of which one signal is a small sample."
        )


def _samples_in(folder: Path) -> PosteriorSamples:
    if folder.is_dir() and not (folder / SAMPLES).is_file():
        raise FileError(
            f"Wanted the folder of a restoration, but {folder} has no {SAMPLES}. "
            "Name the folder that restore wrote, of several slices that of one."
        )
    samples = PosteriorSamples.load(folder / SAMPLES)
    told = samples.provenance
    if missing := {k for k, kind in TOLD.items() if not isinstance(told.get(k, b""), kind)}:
        raise FileError(
            f"Wanted a restoration that says what of, but {folder} lacks "
            f"{', '.join(sorted(missing))}. Restore again."
        )
    return samples


def _section(title: str, panels: list[Panel], text: str = "") -> Section:
    """Pictures to flip through, each as wide as the page if they are very wide."""
    wide = max(panel.image.width / panel.image.height for panel in panels) > WIDE
    return Section(title, panels, text, flips=True, whole=wide)


def _sheet(names: Sequence[str], rows: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """Rows of pictures of one height, each under its name."""
    sized = [[(what, _tile(image)) for what, image in row] for row in rows]
    wide = max(sum(image.width + EDGE for _, image in row) for row in sized) + EDGE
    high = len(rows) * (TILE + 2 * LINE + EDGE)
    sheet, font = Image.new("RGB", (wide, high), "white"), ImageFont.load_default(14)
    canvas = ImageDraw.Draw(sheet)
    for k, (name, row) in enumerate(zip(names, sized, strict=True)):
        top, left = k * (TILE + 2 * LINE + EDGE), EDGE
        canvas.text((EDGE, top + 4), name, "black", font)
        for what, image in row:
            sheet.paste(image, (left, top + LINE))
            canvas.text((left, top + LINE + TILE + 2), what, (90, 90, 90), font)
            left += image.width + EDGE
    return sheet


def _tile(image: Image.Image) -> Image.Image:
    size = max(1, round(image.width * TILE / image.height)), TILE
    way = Image.Resampling.NEAREST if image.height < TILE else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, way)
