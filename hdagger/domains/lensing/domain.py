"""Lensing as a domain: how a lensed image is put to a prior, and where a walk starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...domain import Domain, Job, Posed
from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import LinearOperator
from ...operators.family import Family
from ...operators.spectral import Identity
from ...operators.whitened import Weights
from ...priors.cards import Card
from ...problem import Problem
from ...report import Page
from ...rings import Rings
from ...samplers.base import Sampler
from ...samplers.drawn import NEVER
from ...saved import Saved
from ...solving import HIGHEST, levels_for
from ...tensors import Signal
from .figures import bright
from .fits import Sky, read_psf
from .galaxies import Galaxies
from .job import PATHS, job_of
from .judgement import on_source
from .pages import page_of
from .reading import read_source
from .unknown import rough_lens
from .view import View

LOWEST = 0.01
"""The lowest noise level of a walk, unless the data ask for a lower one; a peak is about 1."""

ROUGH = 1.0
"""Where a walk begins whose lens is known roughly: above it the data tell little of the lens. Of
20 steps from 80 so few are left below that samples keep a wrong lens to the end, of 16 one in
every third image (benchmarks/lensing.py, ``rough``)."""

PEAK = 2.0
"""The unit of a prior over the brightest three by three pixels of an image, which the point
spread has dimmed."""


class Lensing(Domain):
    """Signals ``(1, rows, columns)``: the surface brightness of a source, in the image's units."""

    name = "lensing"
    prior = "galaxy"
    suffixes = (".fits",)
    named = PATHS
    truths_are = "galaxies"
    scale = "brightness by an arcsinh"
    object_is = "the source"

    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> LinearOperator:
        if text == "none":
            return Identity(signal_shape)
        view = View.read(text)
        if signal_shape != (1, view.source.rows, view.source.columns):
            raise ShapeError(
                f"Wanted a source of {view.source.rows} x {view.source.columns} pixels, as "
                f"{text[:40]!r} says, but got a signal of shape {signal_shape}."
            )
        return view.operator(arrays.get("psf"))

    def with_files(self, text: str) -> tuple[str, dict[str, Tensor]]:
        """Without a last word ``psf:FILE``, which is the point spread."""
        before, _, last = text.rpartition("|")
        name, _, file = last.strip().partition(":")
        if name != "psf":
            return text, {}
        text = before.strip()
        return text, {"psf": read_psf(Path(file), Sky(View.read(text).image.scale))}

    def job(self, source: Path, said: Mapping[str, Any]) -> Job:
        return job_of(source, said)

    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        """An image put to a prior whose sources have a peak of about 1."""
        if card.channels != 1:
            raise ShapeError(
                f"Wanted a prior of one channel, but {card.name} has {card.channels}. "
                "Try --prior galaxy."
            )
        text, arrays, shape = measurement.operator, measurement.arrays, measurement.signal_shape
        if text == "none":
            return Posed(Problem.of(measurement.y, Identity(shape or tuple(measurement.y.shape))))
        view, unit = View.read(text), unit_of(measurement.y, measurement.sigma_y)
        y, noise = measurement.y / unit, measurement.sigma_y / unit
        if "deviations" in arrays:
            noise = torch.as_tensor(noise, dtype=torch.float64).expand_as(y)
            H = rough_lens(view, arrays.get("psf"), noise, arrays["deviations"].tolist())
            problem = Problem.of(Weights(noise, tuple(y.shape))(y), H, 1.0)
        else:
            problem = Problem.of(y, view.operator(arrays.get("psf")), noise)

        def finish(x: Signal) -> tuple[Signal, dict[str, Any]]:
            return x * unit, {"unit": unit}

        return Posed(problem, finish, suits={"asked": NEVER})

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """Down to a quarter of the noise as the source sees it, but not below the prior's."""
        highest = ROUGH if isinstance(problem.H, Family) else HIGHEST
        return levels_for(problem, steps, LOWEST, highest, card.levels)

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        side = side or card.size or 64
        return 1, side, side

    def truths(
        self,
        folder: Path,
        signal_shape: tuple[int, ...],
        count: int,
        seed: int,
        in_turn: bool = False,
    ) -> Tensor:
        """Galaxies and Sersic profiles at any turn and size; or real ones, not blurred."""
        return Galaxies(folder, signal_shape[-1]).draw(count, seed, sharp=in_turn)

    def inside(self, x: Tensor) -> Tensor:
        return on_source(x)

    def basis(self, signal_shape: tuple[int, ...]) -> Rings:
        return Rings(signal_shape)

    def page(self, saved: Saved) -> Page:
        return page_of(saved)

    def truth(self, path: Path, shape: tuple[int, ...]) -> Tensor:
        return read_source(path, *shape[1:])[None]

    def brightness(self, x: Tensor) -> float:
        return float(x.max())

    def drawn(self, x: Tensor, top: float) -> Image.Image:
        return bright(x[0], top)

    def spread(self, draws: Tensor) -> Tensor:
        return draws[:, 0].std(0).flip(0)


def unit_of(y: Tensor, sigma_y: float | Tensor) -> float:
    """What a prior's unit is in the units of the image: about the peak of the source."""
    seen = y if not isinstance(sigma_y, Tensor) else torch.where(sigma_y.isfinite(), y, 0)
    brightest = float(avg_pool2d(seen[None], 3, 1).max())
    if brightest <= 0:
        raise SettingError(
            f"Wanted an image with some light, but its brightest 3 x 3 pixels have "
            f"{brightest:.3g} on average. Subtract the sky."
        )
    return PEAK * brightest


LENSING = Lensing()
