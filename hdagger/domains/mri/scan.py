"""How k-space was measured: its size, its coils, its sampling; and its text form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...operators.base import LinearOperator
from .encoding import Encoding, Fourier
from .trajectory import NonCartesian

Sampling = Literal["lines", "points", "trajectory"]

MOST_PIXELS = 2048
"""A side of an image."""

MOST_COILS = 256

CENTRE = 0.32
"""Share of k-space in the middle that is always measured, times the acceleration."""


@dataclass(frozen=True)
class Scan:
    """How k-space was measured. What is not said in words are arrays:

    =============  ================================================  ========================
    array          what it is                                        for
    =============  ================================================  ========================
    ``maps``       complex, ``(coils, rows, columns)``               all; not for one coil
    ``mask``       which were measured, ``(columns,)``               ``lines``
    ``mask``       the same, ``(rows, columns)``                     ``points``
    ``trajectory`` frequencies in cycles per pixel, ``(samples, 2)``  ``trajectory``
    =============  ================================================  ========================

    Attributes:
        rows: Of the image, along the readout.
        columns: Of the image, along the phase encoding.
        coils: How many.
        sampling: Whole lines of k-space, single points of its grid, or a trajectory off it.

    Example:
        >>> str(Scan.read("image:128,96 | coils:8 | lines"))
        'image:128,96 | coils:8 | lines'
    """

    rows: int
    columns: int
    coils: int
    sampling: Sampling

    def __str__(self) -> str:
        return f"image:{self.rows},{self.columns} | coils:{self.coils} | {self.sampling}"

    @classmethod
    def read(cls, text: str) -> "Scan":
        """The scan of a text form.

        Raises:
            SettingError: It is none.
        """
        try:
            image, coils, sampling = (word.strip() for word in text.split("|"))
            rows, columns = (int(n) for n in _after("image", image).split(","))
            count = int(_after("coils", coils))
            known: dict[str, Sampling] = {name: name for name in get_args(Sampling)}
            if sampling not in known:
                raise ValueError(f"{sampling!r} is no sampling")
            if not (1 <= rows <= MOST_PIXELS and 1 <= columns <= MOST_PIXELS):
                raise ValueError(f"an image of {rows} x {columns} pixels")
            if not 1 <= count <= MOST_COILS:
                raise ValueError(f"{count} coils")
        except ValueError as error:
            raise SettingError(
                f"Wanted image:ROWS,COLUMNS | coils:COUNT | {' or '.join(get_args(Sampling))}, "
                f"but got {text[:200]!r} ({error}). Mend it."
            ) from error
        return cls(rows, columns, count, known[sampling])

    def operator(self, arrays: Mapping[str, Tensor]) -> LinearOperator:
        """From an image, ``(2, rows, columns)``, to k-space.

        Raises:
            SettingError: An array is missing.
            ShapeError: One does not fit.
        """
        maps = self.maps(arrays)
        if self.sampling == "trajectory":
            whole = torch.ones(1, self.rows, self.columns, dtype=torch.complex128)
            return NonCartesian(whole if maps is None else maps, self._array(arrays, "trajectory"))
        mask = self.mask(arrays)
        return Fourier(mask) if maps is None else Encoding(maps, mask)

    def mask(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Which points of k-space were measured, ``(rows, columns)``."""
        mask, side = self._array(arrays, "mask").bool(), (self.rows, self.columns)
        wanted = side[1:] if self.sampling == "lines" else side
        if tuple(mask.shape) != wanted:
            raise ShapeError(
                f"Wanted a mask of shape {wanted} for {self}, but got {tuple(mask.shape)}. "
                "A mask of lines has one truth value for each column of k-space."
            )
        return mask.expand(side)

    def maps(self, arrays: Mapping[str, Tensor]) -> Tensor | None:
        """What each coil sees, ``(coils, rows, columns)``; None for one that sees all alike."""
        if "maps" not in arrays and self.coils == 1:
            return None
        maps, wanted = self._array(arrays, "maps"), (self.coils, self.rows, self.columns)
        if tuple(maps.shape) != wanted:
            raise ShapeError(
                f"Wanted coil maps of shape {wanted}, but got {tuple(maps.shape)}. "
                "Estimate them again from these data, with --maps espirit."
            )
        return maps

    def _array(self, arrays: Mapping[str, Tensor], name: str) -> Tensor:
        if name not in arrays:
            raise SettingError(
                f"Wanted {name} for {self}, but the measurement has none. Give it as an array."
            )
        return arrays[name]


def random_lines(
    side: int, acceleration: float, rng: np.random.Generator
) -> Bool[Tensor, " columns"]:
    """Random columns of k-space, the middle ones always: as many as the acceleration leaves."""
    count = round(side / acceleration)
    centre = min(count, max(1, round(CENTRE / acceleration * side)))
    mask = np.zeros(side, bool)
    mask[side // 2 - centre // 2 :][:centre] = True
    mask[rng.choice(np.flatnonzero(~mask), count - centre, replace=False)] = True
    return torch.from_numpy(mask)


def _after(name: str, word: str) -> str:
    found, _, said = word.partition(":")
    if found.strip() != name:
        raise ValueError(f"{word!r} is no {name}")
    return said
