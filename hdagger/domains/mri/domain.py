"""MRI as a domain: how k-space is put to a prior, and where a walk starts."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Complex
from torch import Tensor

from ...domain import Domain, Posed
from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import LinearOperator
from ...operators.spectral import Identity
from ...priors.zoo import Card
from ...problem import Problem
from ...rings import Rings
from ...samplers.base import Sampler
from ...samplers.walk import karras_levels
from ...solving import HIGHEST, largest_gain
from ...tensors import Signal
from .encoding import reduced
from .kspace import image_of
from .scan import Scan

LOWEST = 0.01
"""The lowest noise level of a walk, unless the data ask for a lower one; most is below 1."""

BRIGHT = 0.99
"""Of the pixels are darker than a prior's unit."""


class MRI(Domain):
    """Signals ``(2, rows, columns)``: a complex image, in the units of k-space."""

    name = "mri"
    truths_are = "slices of heads"

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
        H, maps = scan.operator(arrays), scan.maps(arrays)
        unit = unit_of(H, y)
        noise = measurement.sigma_y / unit
        one_noise = not isinstance(noise, Tensor) or noise.ndim == 0
        if scan.sampling == "lines" and maps is not None and one_noise:
            lines, data = reduced(y / unit, maps, arrays["mask"].bool())
            problem = Problem.of(data, lines, noise)
        else:
            problem = Problem.of(y / unit, H, noise)

        def finish(x: Signal) -> tuple[Signal, dict[str, Any]]:
            return x * unit, {"unit": unit}

        return Posed(problem, finish)

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """Down to a quarter of the noise as the image sees it, but not below the prior's."""
        low = min(LOWEST, problem.sigma_y / largest_gain(problem.H) / 4)
        return karras_levels(steps, max(low, card.sigma_min), min(HIGHEST, card.sigma_max))

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        side = side or card.size or 128
        return 2, side, side

    def basis(self, signal_shape: tuple[int, ...]) -> Rings:
        return Rings(signal_shape)


def unit_of(H: LinearOperator, y: Complex[Tensor, "*data"]) -> float:
    """What a prior's unit is in the units of the image: the bright end of |H^T y|.

    Raises:
        SettingError: It is dark.
    """
    seen = image_of(H.adjoint(y[None])).abs()
    unit = float(seen.flatten().sort().values[int(BRIGHT * (seen.numel() - 1))])
    if unit <= 0:
        raise SettingError(
            "Wanted k-space with a picture in it, but 99 % of what it shows is 0. "
            "Look at the mask and the maps."
        )
    return unit


SCANS = MRI()
