"""MRI as a domain: how k-space is put to a prior, and where a walk starts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...domain import Domain, Job, Posed
from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import LinearOperator
from ...operators.spectral import Identity
from ...priors.cards import Card
from ...problem import Problem
from ...report import Page
from ...rings import Rings
from ...samplers.base import Sampler
from ...samplers.drawn import Drawn
from ...saved import Saved
from ...solving import levels_for
from ...tensors import Signal
from .coils import birdcage
from .encoding import reduced
from .figures import gray
from .heads import Heads
from .job import job_of
from .judgement import object_in, psnr
from .kspace import signal_of
from .pages import page_of
from .reading import PICTURES, complex_tensor, read_array
from .scan import Scan, random_lines

LOWEST = 0.01
"""The lowest noise level of a walk, unless the data ask for a lower one; most is below 1."""

LAST_DRAW = 0.03, 2.0
"""The lowest level of a walk of drawn steps, and that over the noise as the image sees it. What is
finer the data know better than a prior of few heads, and the last draw, unlike a prediction,
leaves it to them; docs/mri.md has the figures."""

HIGHEST = 4.0
"""The highest: 17 deviations of an image, of which nothing is seen there. What is coarse the data
know; a higher one fits them a little worse in as many steps."""

BRIGHT = 0.99
"""Share of the pixels that are darker than a prior's unit."""

TOGETHER = 4
"""Samples that share a pass over the matrices of whole lines."""

EXACT = 1e-3
"""Noise that exact data are taken to have where their unit is looked for, in units."""


class MRI(Domain):
    """Signals ``(2, rows, columns)``: a complex image, in the units of k-space."""

    name = "mri"
    prior = "brain"
    suffixes = (".h5",)
    named = ("maps",)
    truths_are = "slices of heads"
    scale = "magnitude"
    object_is = "the head"

    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> LinearOperator:
        if text == "none":
            return Identity(signal_shape)
        scan = Scan.read(text)
        if signal_shape != (2, scan.rows, scan.columns):
            raise ShapeError(
                f"Wanted an image of {scan.rows} x {scan.columns} pixels, as {text!r} says, "
                f"but got a signal of shape {signal_shape}."
            )
        return scan.operator(arrays)

    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        """k-space put to a prior whose images have a brightness of about 1.

        Whole lines of several coils are reduced to as many numbers as an image has.
        """
        if card.channels != 2:
            raise ShapeError(
                f"Wanted a prior of complex images, two channels, but {card.name} has "
                f"{card.channels}. Try --prior brain."
            )
        text, arrays, y = measurement.operator, measurement.arrays, measurement.y
        if text == "none":
            return Posed(Problem.of(y, Identity(tuple(y.shape)), measurement.sigma_y))
        scan = Scan.read(text)
        maps, noise = scan.maps(arrays), measurement.sigma_y
        if scan.sampling == "lines" and maps is not None and not isinstance(noise, Tensor):
            H, y = reduced(y, maps, scan.mask(arrays)[0])
            batch = TOGETHER
        else:
            H, batch = scan.operator(arrays), None
        problem = Problem.of(y, H, noise)
        unit = unit_of(problem)
        problem = replace(problem, y=problem.y / unit, sigma_y=problem.sigma_y / unit)

        def finish(x: Signal) -> tuple[Signal, dict[str, Any]]:
            return x * unit, {"unit": unit}

        return Posed(problem, finish, batch=batch)

    def job(self, source: Path, said: Mapping[str, Any]) -> Job:
        return job_of(source, said)

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """Down to a quarter of the noise as the image sees it, or twice it if steps are drawn."""
        if isinstance(method, Drawn):
            lowest, share = LAST_DRAW
            return levels_for(problem, steps, lowest, HIGHEST, card.levels, share)
        return levels_for(problem, steps, LOWEST, HIGHEST, card.levels)

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        side = side or card.size or 128
        return 2, side, side

    def arrays(
        self, text: str, signal_shape: tuple[int, ...], given: Mapping[str, Tensor], seed: int
    ) -> dict[str, Tensor]:
        """What is not given: a birdcage, and a quarter of the lines or of the points."""
        found = dict(given)
        if text == "none":
            return found
        scan, rng = Scan.read(text), np.random.default_rng(seed)
        if "maps" not in found and scan.coils > 1:
            found["maps"] = birdcage(scan.coils, scan.rows, scan.columns)
        if "mask" not in found and scan.sampling != "trajectory":
            mask = random_lines(scan.columns, 4, rng)
            if scan.sampling == "points":
                near = torch.from_numpy(rng.random((scan.rows, scan.columns)) < 1 / 4)
                mask = near | mask & random_lines(scan.rows, 4, rng)[:, None]
            found["mask"] = mask
        return found

    def truths(
        self,
        folder: Path,
        signal_shape: tuple[int, ...],
        count: int,
        seed: int,
        in_turn: bool = False,
    ) -> Tensor:
        """Planes of heads with any pose, contrast and phase; or as they are, with a phase."""
        heads = Heads(folder, signal_shape[-1])
        return heads.in_turn(count, seed) if in_turn else heads.draw(count, seed)

    def inside(self, x: Tensor) -> Tensor:
        return object_in(x.norm(dim=0)).expand_as(x)

    def psnr(self, x: Tensor, truth: Tensor) -> float:
        return psnr(x.norm(dim=0), truth.norm(dim=0))

    def page(self, saved: Saved) -> Page:
        return page_of(saved)

    def truth(self, path: Path, shape: tuple[int, ...]) -> Tensor:
        image = complex_tensor(read_array(path, "an image", *PICTURES))
        image = image[0] if image.ndim == 3 and len(image) == 1 else image
        if tuple(image.shape) != shape[1:]:
            raise ShapeError(
                f"Wanted the image that was measured, of {' x '.join(map(str, shape[1:]))} "
                f"pixels, but {path} has {' x '.join(map(str, image.shape))}. Cut one slice out."
            )
        return signal_of(image[None])[0]

    def brightness(self, x: Tensor) -> float:
        return float(x.norm(dim=0).flatten().quantile(0.995))

    def drawn(self, x: Tensor, top: float) -> Image.Image:
        """Its magnitude."""
        return gray(x.norm(dim=0), top)

    def spread(self, draws: Tensor) -> Tensor:
        """Of the magnitude."""
        return draws.norm(dim=1).std(0)

    def basis(self, signal_shape: tuple[int, ...]) -> Rings:
        return Rings(signal_shape)


def unit_of(problem: Problem) -> float:
    """What a prior's unit is in the units of the image: about its bright end.

    H^T y is darker the less was measured. So its bright end is only the deviation of a white
    image, and that of the most likely such image is the unit.

    Raises:
        SettingError: It is dark.
    """
    H, y = problem.H, problem.y
    assert isinstance(H, LinearOperator)
    rough = bright(H.adjoint(y))
    if rough <= 0:
        raise SettingError(
            "Wanted k-space with a picture in it, but 99 % of what it shows is 0. "
            "Look at the mask and the maps."
        )
    least = max(problem.sigma_y, EXACT * rough)
    return bright(rough**2 * H.pull(y, rough**2, least**2, tolerance=1e-2))


def bright(x: Signal) -> float:
    """The magnitude that 99 % of the pixels of an image do not reach."""
    ordered = x[0].norm(dim=0).flatten().sort().values
    return float(ordered[int(BRIGHT * (len(ordered) - 1))])


SCANS = MRI()
