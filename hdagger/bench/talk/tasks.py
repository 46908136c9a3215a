"""The tasks of the talk's tables, by the text form of their operators, for any size."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...domains.pictures.domain import PICTURES
from ...domains.pictures.kernels import of_sum_one
from ...domains.pictures.words import operator_for_signal
from ...errors import HDaggerError, SettingError
from ...measurement import Measurement
from ...trials import generator_for

NOISE = 0.1
"""The papers' .05 of pictures in [0, 1], in [-1, 1]."""

Mask = Bool[Tensor, "height width"]
Draw = Callable[[int, int, torch.Generator], Mask]


def centre(height: int, width: int, generator: torch.Generator) -> Mask:
    """The middle square, of half the side: 128 x 128 of 256 x 256 as in Palette."""
    missing = torch.zeros(height, width, dtype=torch.bool)
    top, left = height // 4, width // 4
    missing[top : height - top, left : width - left] = True
    return missing


def freeform(height: int, width: int, generator: torch.Generator) -> Mask:
    """Strokes of a brush until 20 to 30 % are missing, as Palette's; another for each picture.

    A stroke is a walk of a disk in straight pieces that turn by up to 72 degrees.
    """
    side = min(height, width)
    share = 0.2 + 0.1 * float(torch.rand((), generator=generator))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    missing = torch.zeros(height, width, dtype=torch.bool)
    reach = max(1.0, side / 28)
    while float(missing.double().mean()) < share:
        row, column, turned = torch.rand(3, generator=generator).tolist()
        place, angle = (row * height, column * width), 2 * math.pi * turned
        for turn, far in torch.rand(6, 2, generator=generator).tolist():
            angle += 0.8 * math.pi * (turn - 0.5)
            pieces = max(1, round(far * side / 4))
            for _ in range(pieces):
                place = place[0] + math.sin(angle), place[1] + math.cos(angle)
                near = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 <= reach**2
                if float((missing | near).double().mean()) > 0.3:
                    return missing
                missing |= near
    return missing


def taps(count: int, deviation: float) -> Float[Tensor, " taps"]:
    """A Gaussian of this deviation in ``count`` pixels; for an infinite one all are equal."""
    t = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    return torch.exp(-(t**2) / (2 * deviation**2))


@dataclass(frozen=True)
class Task:
    """What is done to a picture.

    Attributes:
        text: The operator's text form.
        title: What a table calls it.
        sigma_y: Noise on the data, of pictures in [-1, 1].
        missing: Draws what is missing, for a mask.
        kernel: Of a blur.
        colours: Whether it is one for pictures in colours alone.
    """

    text: str
    title: str
    sigma_y: float = 0.0
    missing: Draw | None = None
    kernel: Float[Tensor, "rows columns"] | None = None
    colours: bool = False

    def arrays(self, shape: tuple[int, ...], item: int, seed: int) -> dict[str, Tensor]:
        """What the operator needs beyond its text."""
        arrays: dict[str, Tensor] = {}
        if self.kernel is not None:
            arrays["kernel"] = self.kernel
        if self.missing is not None:
            before = self.text.split("mask")[0].rstrip(" |") or "none"
            shown = operator_for_signal(before, shape, arrays).data_shape
            generator = generator_for(seed, item)
            arrays["mask"] = self.missing(shown[1], shown[2], generator)
        return arrays

    def measured(self, x: Tensor, item: int, seed: int) -> Measurement:
        """A measurement of a clean picture, with noise and a mask of its own.

        Args:
            x: ``(channels, height, width)`` in [-1, 1].
            item: Which picture it is.
            seed: Of noise and mask.
        """
        arrays = self.arrays(tuple(x.shape), item, seed)
        return PICTURES.measure(x, self.text, arrays, self.sigma_y, seed, item)

    def check(self, shape: tuple[int, ...]) -> None:
        """Can pictures of this shape be measured so?

        Raises:
            HDaggerError: They cannot.
        """
        if self.colours and shape[0] != 3:
            raise SettingError(
                f"Wanted pictures in colours for {self.title}, but the prior's are gray. "
                "Leave the task out."
            )
        operator_for_signal(self.text, shape, self.arrays(shape, 0, 0))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether pictures of this shape can be measured so."""
        try:
            self.check(shape)
        except HDaggerError:
            return False
        return True


def _blur(title: str, down: Tensor, across: Tensor, sigma_y: float = 0.0) -> Task:
    """A blur whose surroundings are the picture's mirror image."""
    return Task("kernel:mirror", title, sigma_y, kernel=of_sum_one(torch.outer(down, across)))


def _blurs(sigma_y: float, more: str = "") -> dict[str, Task]:
    """DDRM's three blurs."""
    even, wide, narrow = taps(9, math.inf), taps(9, 20.0), taps(9, 1.0)
    nearly, told = taps(5, 10.0), more.replace("-", ", ")
    return {
        f"gauss{more}": _blur(f"Gaussian blur{told}", nearly, nearly, sigma_y),
        f"uniform{more}": _blur(f"uniform blur 9 x 9{told}", even, even, sigma_y),
        f"anisotropic{more}": _blur(f"anisotropic blur{told}", narrow, wide, sigma_y),
    }


TASKS: Mapping[str, Task] = {
    "average4": Task("average:4", "x4 by block average"),
    "average4-noisy": Task("average:4", "x4 by block average, noisy", NOISE),
    "bicubic4": Task("bicubic:4", "x4 bicubic"),
    "centre": Task("mask", "centre missing", missing=centre),
    "centre-noisy": Task("mask", "centre missing, noisy", NOISE, missing=centre),
    "freeform": Task("mask", "20 to 30 % missing, freeform", missing=freeform),
    "freeform-noisy": Task("mask", "20 to 30 % missing, noisy", NOISE, missing=freeform),
    "jpeg5": Task("jpeg:5", "JPEG of quality 5"),
    "jpeg10": Task("jpeg:10", "JPEG of quality 10"),
    "jpeg20": Task("jpeg:20", "JPEG of quality 20"),
    **_blurs(0.0),
    **_blurs(NOISE, "-noisy"),
    "colour": Task("gray", "without colours", colours=True),
    "average2+jpeg10": Task("average:2 | jpeg:10", "x2 by block average, then JPEG"),
    "average4+freeform": Task("average:4 | mask", "x4, then 20 to 30 % missing", missing=freeform),
    "freeform+jpeg10": Task("mask | jpeg:10", "20 to 30 % missing, then JPEG", missing=freeform),
    "colour+average4": Task("gray | average:4", "without colours, then x4", colours=True),
}
"""Name -> the task. Blurs are those of DDRM's code, with the picture's mirror image around it:
5 taps of deviation 10, 9 equal taps, and 9 taps of deviation 1 down and 20 across."""
