"""The geometry of a scan: which rays pass through which pixels' grid; and its text form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SettingError

MU_WATER = 0.0206
"""Attenuation of water near 60 keV, a mm."""

MOST_PIXELS = 2048
"""A side of a grid."""

MOST_BINS = MOST_VIEWS = 100_000
MOST_RAYS = 20_000_000
"""Of a scan of one slice."""

EVEN = 1e-6
"""Radians by which angles may be off even steps, and still be told as such."""

Points = Float[Tensor, "rays 2"]


@dataclass(frozen=True)
class Frame:
    """A grid of square pixels.

    Attributes:
        rows: How many there are, from above.
        columns: How many there are, from the left.
        pixel: Side of one, mm.
        x: Of the middle of the grid, mm from the axis.
        y: Of the middle.
    """

    rows: int
    columns: int
    pixel: float
    x: float = 0.0
    y: float = 0.0

    def __post_init__(self) -> None:
        sides = self.rows, self.columns
        if not (min(sides) >= 1 and max(sides) <= MOST_PIXELS and 1e-4 <= self.pixel <= 100):
            raise SettingError(
                f"Wanted a grid of 1 to {MOST_PIXELS} pixels a side, each of 0.0001 to 100 mm, "
                f"but got {self.rows} x {self.columns} of {self.pixel:g} mm. Try --pixels 128."
            )

    def centres(self) -> tuple[Float[Tensor, " columns"], Float[Tensor, " rows"]]:
        """x of the columns' middles and y of the rows', which falls."""
        across = torch.arange(self.columns, dtype=torch.float64) - (self.columns - 1) / 2
        up = (self.rows - 1) / 2 - torch.arange(self.rows, dtype=torch.float64)
        return self.x + self.pixel * across, self.y + self.pixel * up


@dataclass(frozen=True)
class Parallel:
    """Rays side by side. At angle t they run along (-sin t, cos t), and bins along (cos t, sin t).

    Attributes:
        bins: How many there are.
        width: Of one, mm.
        offset: Of the middle of the detector from the ray through the axis, mm.
    """

    bins: int
    width: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (2 <= self.bins <= MOST_BINS and 1e-5 <= self.width <= 1000):
            raise SettingError(
                f"Wanted 2 to {MOST_BINS} bins, each of 0.00001 to 1000 mm, but got {self.bins} "
                f"of {self.width:g} mm. Give the width of a bin at the detector."
            )

    @property
    def width_at_axis(self) -> float:
        """What a bin sees at the axis, mm."""
        return self.width

    @property
    def opening(self) -> float:
        """Between the outer rays of a view, radians."""
        return 0.0

    def places(self, rays: int = 1) -> Float[Tensor, " places"]:
        """Of rays along the detector, as many as said for each bin, mm from its middle ray."""
        fine = torch.arange(self.bins * rays, dtype=torch.float64) + 0.5
        return self.width * (fine / rays - self.bins / 2) + self.offset


@dataclass(frozen=True)
class Fan(Parallel):
    """Rays from a point to a flat detector. At angle t the middle one runs along (-sin t, cos t).

    Attributes:
        source_to_axis: Distance, mm.
        source_to_detector: Distance, mm.
    """

    source_to_axis: float = math.inf
    source_to_detector: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.source_to_axis <= self.source_to_detector < math.inf:
            raise SettingError(
                "Wanted an axis between source and detector, but got a source "
                f"{self.source_to_axis:g} mm from the axis and {self.source_to_detector:g} mm "
                "from the detector. Give both distances from the source."
            )

    @property
    def width_at_axis(self) -> float:
        return self.width * self.source_to_axis / self.source_to_detector

    @property
    def opening(self) -> float:
        ends = torch.atan(self.places()[[0, -1]] / self.source_to_detector)
        return float(ends[1] - ends[0])


class Rays(NamedTuple):
    """Lines: a point of each, mm, and its direction, of length 1."""

    point: Points
    direction: Points


@dataclass(frozen=True)
class Scan:
    """The geometry of a scan of one slice.

    Attributes:
        frame: The grid of the slice.
        detector: Its bins, and the source's distance if rays fan out.
        angles: Of the views, radians.
        mu_water: Attenuation of water, a mm.

    Example:
        >>> text = "frame:128,128,2.28,0,0 | parallel:182,2.28,0 | arc:23,0,0.1366 | water:0.0206"
        >>> str(Scan.read(text)) == text
        True
    """

    frame: Frame
    detector: Parallel
    angles: tuple[float, ...] = field(repr=False)
    mu_water: float = MU_WATER

    def __post_init__(self) -> None:
        if not 1 <= len(self.angles) <= MOST_RAYS // self.detector.bins:
            raise SettingError(
                f"Wanted 1 view or more, and {MOST_RAYS} rays at most, but got "
                f"{len(self.angles)} views of {self.detector.bins} bins. Leave some views out."
            )
        if not 0 < self.mu_water < 100:
            raise SettingError(
                f"Wanted the attenuation of water, a mm, but got {self.mu_water:g}. "
                f"Try {MU_WATER}."
            )

    @property
    def signal_shape(self) -> tuple[int, int, int]:
        """Of a slice."""
        return 1, self.frame.rows, self.frame.columns

    @property
    def data_shape(self) -> tuple[int, int]:
        """Of its line integrals: ``(views, bins)``."""
        return len(self.angles), self.detector.bins

    def rays(self, angle: float, per_bin: int = 1) -> Rays:
        """Those of one view, from the first bin on."""
        detector, cos, sin = self.detector, math.cos(angle), math.sin(angle)
        along = torch.tensor([-sin, cos], dtype=torch.float64)
        across = torch.tensor([cos, sin], dtype=torch.float64)
        place = detector.places(per_bin)[:, None]
        if not isinstance(detector, Fan):
            return Rays(place * across, along.expand(len(place), 2))
        to_bin = detector.source_to_detector * along + place * across
        source = -detector.source_to_axis * along
        return Rays(source.expand(len(place), 2), to_bin / to_bin.norm(dim=1, keepdim=True))

    def unseen(self) -> tuple[float, float]:
        """The widest gap between the directions of detectors: where it begins, and its width.

        Radians, modulo pi. A slice's Fourier coefficients in that wedge are not measured.
        """
        half = self.detector.opening / 2
        turned = torch.remainder(torch.tensor(self.angles, dtype=torch.float64), math.pi)
        turned = turned.sort().values
        gaps = torch.diff(turned, append=turned[:1] + math.pi)
        widest = int(gaps.argmax())
        return float(turned[widest]) + half, max(0.0, float(gaps[widest]) - 2 * half)

    def __str__(self) -> str:
        frame, detector = self.frame, self.detector
        kind, lengths = "parallel", [detector.width, detector.offset]
        if isinstance(detector, Fan):
            kind, lengths = "fan", [*lengths, detector.source_to_axis, detector.source_to_detector]
        return (
            f"frame:{frame.rows},{frame.columns},{_said(frame.pixel, frame.x, frame.y)} | "
            f"{kind}:{detector.bins},{_said(*lengths)} | {_angles_said(self.angles)} | "
            f"water:{self.mu_water:.12g}"
        )

    @classmethod
    def read(cls, text: str) -> "Scan":
        """The scan of a text form.

        Raises:
            SettingError: It is none.
        """
        try:
            frame, detector, angles, water = (_word(word) for word in text.split("|"))
            return cls(_frame(*frame), _detector(*detector), _angles(*angles), _water(*water))
        except SettingError:
            raise
        except (ValueError, OverflowError) as error:
            raise SettingError(
                "Wanted frame:ROWS,COLUMNS,PIXEL,X,Y | parallel:BINS,WIDTH,OFFSET | "
                f"arc:VIEWS,FIRST,STEP | water:MU, but got {text[:200]!r} ({error}). Mend it."
            ) from error


def _said(*numbers: float) -> str:
    return ",".join(f"{number:.12g}" for number in numbers)


def _angles_said(angles: Sequence[float]) -> str:
    count, first = len(angles), angles[0]
    step = (angles[-1] - first) / (count - 1) if count > 1 else 0.0
    if all(abs(angle - first - k * step) < EVEN for k, angle in enumerate(angles)):
        return f"arc:{count},{_said(first, step)}"
    return f"angles:{_said(*angles)}"


def _word(word: str) -> tuple[str, list[float]]:
    name, _, said = word.strip().partition(":")
    numbers = [float(number) for number in said.split(",")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("some numbers are not finite")
    return name, numbers


def _frame(name: str, numbers: list[float]) -> Frame:
    if name != "frame" or not 3 <= len(numbers) <= 5:
        raise ValueError(f"{name!r} is no frame")
    return Frame(int(numbers[0]), int(numbers[1]), *numbers[2:])


def _detector(name: str, numbers: list[float]) -> Parallel:
    kinds = {"parallel": (Parallel, 3), "fan": (Fan, 5)}
    kind, count = kinds.get(name, (Parallel, 0))
    if len(numbers) != count:
        raise ValueError(f"{name!r} with {len(numbers)} numbers is no detector")
    return kind(int(numbers[0]), *numbers[1:])


def _angles(name: str, numbers: list[float]) -> tuple[float, ...]:
    if name == "angles":
        return tuple(numbers)
    if name != "arc" or len(numbers) != 3 or not 1 <= numbers[0] <= MOST_VIEWS:
        raise ValueError(f"{name!r} is no arc")
    count, first, step = numbers
    return tuple(first + k * step for k in range(int(count)))


def _water(name: str, numbers: list[float]) -> float:
    if name != "water" or len(numbers) != 1:
        raise ValueError(f"{name!r} is no attenuation of water")
    return numbers[0]
