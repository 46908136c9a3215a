"""Raw data of scanners, whatever their file: one slice at a time."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from ...errors import FileError, SettingError
from .kspace import to_image, to_kspace
from .scan import MOST_COILS, MOST_PIXELS

MOST_SLICES = 4096
MOST_NUMBERS = 2**29
"""Of k-space in a file."""

MIDDLE = 1 / 8
"""How far from the middle the peak of k-space may lie, in sides."""


@dataclass(frozen=True)
class Raw:
    """The k-space of a slice.

    Attributes:
        kspace: ``(coils, rows, columns)``, complex128; 0 where nothing was measured.
        mask: Which lines were measured, ``(columns,)``, or which points, ``(rows, columns)``.
        noise: Covariance of the coils' noise, if it was measured: see ``coils.covariance``.
    """

    kspace: Complex[Tensor, "coils rows columns"]
    mask: Bool[Tensor, "..."]
    noise: Complex[Tensor, "coils coils"] | None = None


class RawFile(abc.ABC):
    """A file of raw data.

    Attributes:
        path: Where it is.
        slices: How many it has.
        notes: What is to be told, a sentence each.
        affine: From (column, row, slice) to millimetres, if the file says; see ``Volume``.
    """

    path: Path
    slices: int
    notes: list[str]
    affine: np.ndarray | None = None

    @abc.abstractmethod
    def read(self, number: int) -> Raw:
        """The k-space of a slice, from 0 on."""


def numbers_in(text: str | None, count: int, path: Path) -> list[int]:
    """The slices that ``12`` or ``8-16`` names, from 0 on; all of them for None.

    Raises:
        SettingError: There are no such slices.
    """
    first, dash, last = (text or f"0-{count - 1}").partition("-")
    try:
        low, high = int(first), int(last) if dash else int(first)
    except ValueError:
        low = high = -1
    if not 0 <= low <= high < count:
        raise SettingError(
            f"Wanted slices from 0 to {count - 1} of {path}, but got --slice {text}. "
            f"Try --slice {count // 2}."
        )
    return list(range(low, high + 1))


def h5py_for(path: Path) -> ModuleType:
    """The library that reads HDF5.

    Raises:
        FileError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise FileError(
            f"Wanted h5py to read {path}, but it is not installed. pip install 'hdagger[mri]'"
        ) from error
    return h5py


def check_sizes(path: Path, slices: int, shape: Sequence[int]) -> None:
    """Refuses sizes, ``(coils, rows, columns)``, that no scan has.

    Raises:
        FileError: One is too large, or too small.
    """
    coils, rows, columns = shape
    fits = 1 <= coils <= MOST_COILS and 1 <= slices <= MOST_SLICES
    fits &= slices * coils * rows * columns <= MOST_NUMBERS
    fits &= min(rows, columns) >= 8 and max(rows, columns) <= 2 * MOST_PIXELS
    if not fits:
        raise FileError(
            f"Wanted k-space (slices, coils, readout, phase), but {path} has "
            f"({slices}, {', '.join(map(str, shape))}). Put its axes into that order."
        )


def check_middle(path: Path, kspace: Complex[Tensor, "coils rows columns"]) -> None:
    """Refuses k-space with values that are not finite, without any, or off its middle.

    Raises:
        FileError: It is so.
    """
    energy = kspace.abs().square().sum(0)
    if not energy.isfinite().all():
        count = int((~energy.isfinite()).sum())
        raise FileError(
            f"Wanted finite k-space, but {path} has {count} points that are not. Export it again."
        )
    if not energy.any():
        raise FileError(f"Wanted k-space, but a slice of {path} is all 0. Choose another --slice.")
    row, column = divmod(int(energy.argmax()), energy.shape[1])
    off = [
        abs(at - side // 2) / side for at, side in zip((row, column), energy.shape, strict=True)
    ]
    if max(off) > MIDDLE:
        raise FileError(
            f"Wanted k-space with its peak in the middle, but that of {path} is at ({row}, "
            f"{column}) of {tuple(energy.shape)}. Apply numpy.fft.fftshift, or transform pictures "
            "to k-space first."
        )


def sampling_of(kspace: Complex[Tensor, "coils rows columns"]) -> Bool[Tensor, "..."]:
    """What was measured, being not exactly 0: lines if it is whole ones, else points."""
    points = (kspace != 0).any(0)
    lines = points.any(0)
    return lines if bool(points[:, lines].all()) else points


def without_oversampling(
    kspace: Complex[Tensor, "coils rows columns"], rows: int
) -> Complex[Tensor, "coils fewer columns"]:
    """k-space of the middle ``rows`` of the image: a readout sees twice what is wanted."""
    first = kspace.shape[1] // 2 - rows // 2
    return to_kspace(to_image(kspace, (-2,))[:, first : first + rows], (-2,))


def complex_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, np.complex128))
