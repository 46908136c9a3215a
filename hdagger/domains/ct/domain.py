"""CT as a domain: how line integrals are put to a prior of slices, and where a walk starts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ...domain import Domain, Job, Posed
from ...errors import ShapeError
from ...measurement import Measurement
from ...operators.base import LinearOperator
from ...operators.spectral import Identity
from ...priors.cards import Card
from ...problem import Problem
from ...report import Page
from ...rings import Rings
from ...samplers.base import Sampler
from ...samples import PosteriorSamples
from ...saved import Saved
from ...solving import levels_for
from .bodies import Bodies
from .job import job_of
from .judgement import body, psnr
from .pages import WINDOWS, page_of, window_words, windowed
from .projector import Projector
from .reading import read_slices
from .scan import Scan
from .sinograms import HDF5

LOWEST = 0.01
"""The lowest noise level of a walk, 10 HU, unless the data ask for a lower one."""

HIGHEST = 10.0
"""The highest: some tens of deviations of a slice, of which nothing is seen there."""

DRAWN_STEPS = 40
"""Noise levels of drawn steps. With half of the directions unseen, twice as many as elsewhere
bring the mean 1.3 dB closer to a chest."""


class Tomography(Domain):
    """Signals ``(1, rows, columns)``: HU / 1000. Data: line integrals beyond those of water."""

    name = "ct"
    prior = "chest"
    suffixes = (*HDF5, ".npz")
    truths_are = "slices"
    scale = window_words("soft tissue")
    object_is = "the body"

    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> LinearOperator:
        if text == "none":
            return Identity(signal_shape)
        scan = Scan.read(text)
        if signal_shape != scan.signal_shape:
            raise ShapeError(
                f"Wanted slices of {scan.frame.rows} x {scan.frame.columns} pixels, as "
                f"{text[:40]!r} says, but got a signal of shape {signal_shape}."
            )
        return Projector(scan)

    def job(self, source: Path, said: Mapping[str, Any]) -> Job:
        return job_of(source, said)

    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        if card.channels != 1:
            raise ShapeError(
                f"Wanted a prior of one channel, but {card.name} has {card.channels}. "
                "Try --prior chest."
            )
        text, shape = measurement.operator, measurement.signal_shape
        shape = shape or (Scan.read(text).signal_shape if text != "none" else measurement.y.shape)
        H = self.operator(text, tuple(shape), measurement.arrays)
        problem = Problem.of(measurement.y, H, measurement.sigma_y)
        loose = replace(problem, at_most=True)  # what pixels differ by is another body's
        return Posed(loose, steps={"drawn": DRAWN_STEPS})

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """Down to a quarter of the noise as a slice sees it, but not below the prior's."""
        return levels_for(problem, steps, LOWEST, HIGHEST, card.levels)

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        side = side or card.size or 128
        return 1, side, side

    def truths(
        self,
        folder: Path,
        signal_shape: tuple[int, ...],
        count: int,
        seed: int,
        in_turn: bool = False,
    ) -> Tensor:
        """Slices of the volumes of a folder at any turn, size and place; or as they are."""
        bodies = Bodies(folder, signal_shape[-1])
        return bodies.in_turn(count) if in_turn else bodies.draw(count, seed)

    def basis(self, signal_shape: tuple[int, ...]) -> Rings:
        return Rings(signal_shape)

    def inside(self, x: Tensor) -> Tensor:
        return body(x[0])[None]

    def psnr(self, x: Tensor, truth: Tensor) -> float:
        return psnr(x, truth)

    def page(self, saved: Saved) -> Page:
        return page_of(saved)

    def draws(self, folder: Path) -> PosteriorSamples:
        """Their file is in HU."""
        return super().draws(folder).mapped(lambda hu: hu / 1000)

    def truth(self, path: Path, shape: tuple[int, ...]) -> Tensor:
        return read_slices(path, shape)

    def drawn(self, x: Tensor, top: float) -> Image.Image:
        """The middle slice, in the window of soft tissue."""
        return windowed(x[len(x) // 2], *WINDOWS["soft tissue"])

    def spread(self, draws: Tensor) -> Tensor:
        return draws[:, draws.shape[1] // 2].std(0)

    def deviation(self, value: float) -> str:
        return f"{1000 * value:.3g} HU"


CT = Tomography()
