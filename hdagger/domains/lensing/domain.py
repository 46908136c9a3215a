"""Lensing as a domain: how a lensed image is put to a prior, and where a walk starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...domain import Domain, Posed
from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import LinearOperator
from ...priors.zoo import Card
from ...problem import Problem
from ...rings import Rings
from ...samplers.base import Sampler
from ...samplers.walk import karras_levels
from ...solving import HIGHEST, largest_gain
from ...tensors import Signal
from .galaxies import Galaxies
from .lenses import Lens
from .shooting import Frame, lensed

LOWEST = 0.01
"""The lowest noise level of a walk, unless the data ask for a lower one; a peak is about 1."""

MOST_PIXELS = 4096
"""A side of an image or a source."""

PEAK = 2.0
"""The unit of a prior over the brightest three by three pixels of an image, which the point
spread has dimmed."""


@dataclass(frozen=True)
class View:
    """What light goes through, and the frames it starts from and ends in.

    Attributes:
        lens: What bends it.
        source: The frame of the source.
        image: The frame of the image, about (0, 0).

    Example:
        >>> text = "source:64,64,0.03,0.1,0 | sie:1.2,0.75,20,0,0 | image:100,100,0.05"
        >>> str(View.read(text)) == text
        True
    """

    lens: Lens
    source: Frame
    image: Frame

    def __str__(self) -> str:
        s, i = self.source, self.image
        return (
            f"source:{s.rows},{s.columns},{s.scale:.12g},{s.x:.12g},{s.y:.12g} | {self.lens} | "
            f"image:{i.rows},{i.columns},{i.scale:.12g}"
        )

    @classmethod
    def read(cls, text: str) -> "View":
        """The view of a text form.

        Raises:
            SettingError: It is none.
        """
        try:
            first, *middle, last = (word.strip() for word in text.split("|"))
            source, image = _frame(first, "source"), _frame(last, "image")
        except ValueError as error:
            raise SettingError(
                "Wanted source:ROWS,COLUMNS,SCALE,X,Y | sie:1.2,0.75,20 | "
                f"image:ROWS,COLUMNS,SCALE, but got {text[:200]!r} ({error}). Mend it."
            ) from error
        return cls(Lens.read(" | ".join(middle)), source, image)

    def operator(self, psf: Float[Tensor, "rows columns"] | None = None) -> LinearOperator:
        """From a source, ``(1, rows, columns)``, to its image."""
        return lensed(self.lens, self.source, self.image, psf)


def _frame(word: str, name: str) -> Frame:
    found, _, said = word.partition(":")
    if found.strip() != name:
        raise ValueError(f"{found.strip()!r} is no {name}")
    rows, columns, *lengths = said.split(",")
    frame = Frame(int(rows), int(columns), *map(float, lengths))
    if not (0 < frame.rows <= MOST_PIXELS and 0 < frame.columns <= MOST_PIXELS):
        raise ValueError(f"a {name} of {frame.rows} x {frame.columns} pixels")
    if not 0 < frame.scale < 1e3 or max(abs(frame.x), abs(frame.y)) > 1e4:
        raise ValueError(f"pixels of {frame.scale:g} arcsec at {frame.x:g}, {frame.y:g}")
    return frame


class Lensing(Domain):
    """Signals ``(1, rows, columns)``: the surface brightness of a source, in the image's units."""

    name = "lensing"
    truths_are = "galaxies"

    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> LinearOperator:
        view = View.read(text)
        if signal_shape != (1, view.source.rows, view.source.columns):
            raise ShapeError(
                f"Wanted a source of {view.source.rows} x {view.source.columns} pixels, as "
                f"{text[:40]!r} says, but got a signal of shape {signal_shape}."
            )
        return view.operator(arrays.get("psf"))

    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        """An image put to a prior whose sources have a peak of about 1."""
        if card.channels != 1:
            raise ShapeError(
                f"Wanted a prior of one channel, but {card.name} has {card.channels}. "
                "Try --prior galaxy."
            )
        view = View.read(measurement.operator)
        H = view.operator(measurement.arrays.get("psf"))
        unit = unit_of(measurement.y, measurement.sigma_y)
        problem = Problem.of(measurement.y / unit, H, measurement.sigma_y / unit)

        def finish(x: Signal) -> tuple[Signal, dict[str, Any]]:
            return x * unit, {"unit": unit}

        return Posed(problem, finish)

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """Down to a quarter of the noise as the source sees it, but not below the prior's."""
        low = min(LOWEST, problem.sigma_y / largest_gain(problem.H) / 4)
        return karras_levels(steps, max(low, card.sigma_min), min(HIGHEST, card.sigma_max))

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
        """Galaxies and Sersic profiles, at any turn and size."""
        return Galaxies(folder, signal_shape[-1]).draw(count, seed)

    def basis(self, signal_shape: tuple[int, ...]) -> Rings:
        return Rings(signal_shape)


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
