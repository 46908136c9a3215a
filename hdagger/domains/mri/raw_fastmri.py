"""The files of fastMRI: HDF5 with ``kspace`` and the header of ISMRMRD.

References:
    Zbontar et al., fastMRI: an open dataset and benchmarks for accelerated MRI, 2018.
    https://arxiv.org/abs/1811.08839
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from ...errors import FileError
from ...files import brief
from .raw import (
    Raw,
    RawFile,
    check_middle,
    check_sizes,
    complex_tensor,
    h5py_for,
    sampling_of,
    without_oversampling,
)

LARGEST_HEADER = 2_000_000
NAMESPACE = "{http://www.ismrm.org/ISMRMRD}"


@dataclass(frozen=True)
class Header:
    """What is looked at of an ISMRMRD header.

    Attributes:
        rows: Of the image, None where it does not say.
        first: The first column of k-space that can have been measured.
        last: The one behind the last.
    """

    rows: int | None
    first: int
    last: int

    @classmethod
    def read(cls, text: str | bytes, columns: int) -> "Header":
        """From XML; entities are refused, and none is looked up.

        Raises:
            ValueError: It is none.
        """
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > LARGEST_HEADER or b"<!" in raw.replace(b"<!--", b""):
            raise ValueError("its header is too long, or declares entities")
        root = ElementTree.fromstring(raw)

        def number(place: str) -> int | None:
            found = root.findtext("/".join(NAMESPACE + name for name in place.split("/")))
            return None if found is None else int(found)

        centre = number("encoding/encodingLimits/kspace_encoding_step_1/center")
        most = number("encoding/encodingLimits/kspace_encoding_step_1/maximum")
        encoded = number("encoding/encodedSpace/matrixSize/y")
        rows = number("encoding/reconSpace/matrixSize/x")
        if centre is None or most is None or encoded is None:
            return cls(rows, 0, columns)
        first = encoded // 2 - centre
        return cls(rows, max(0, first), min(columns, first + most + 1))


class FastMRI(RawFile):
    """k-space ``(slices, coils, readout, phase)``, or ``(slices, readout, phase)`` of one coil.

    Columns that a header says were never measured are masked; what the readout sees beyond the
    image is removed.

    Args:
        path: A .h5 file.

    Raises:
        FileError: It is none.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, []
        with h5py_for(path).File(path, "r") as file:
            if "kspace" not in file:
                raise FileError(
                    f"Wanted raw data, a dataset kspace, but {path} has "
                    f"{', '.join(list(file)[:8]) or 'nothing'}. "
                    "Point at the file from the scanner, not at pictures made of it."
                )
            found = file["kspace"]
            if not np.issubdtype(found.dtype, np.complexfloating) or found.ndim not in (3, 4):
                raise FileError(
                    f"Wanted complex k-space (slices, coils, readout, phase), but that of {path} "
                    f"is {found.dtype} of shape {found.shape}. Point at the raw data."
                )
            self.slices = found.shape[0]
            shape = found.shape[1:] if found.ndim == 4 else (1, *found.shape[1:])
            check_sizes(path, self.slices, shape)
            self.header = self._header(file, shape[-1])
            self.mask = self._mask(file, shape[-1])
            if "affine" in file and file["affine"].shape == (4, 4):
                self.affine = np.asarray(file["affine"][()], np.float64)
            if "simulated" in file.attrs:
                self.notes.append(f"simulated: {str(file.attrs['simulated'])[:200]}")
        hidden = shape[-1] - (self.header.last - self.header.first)
        if hidden:
            self.notes.append(f"{hidden} padded columns of k-space are masked")
        self.rows = shape[1]
        if self.header.rows is not None and self.header.rows < self.rows:
            self.notes.append(f"readout oversampled: the middle {self.header.rows} rows are kept")
            self.rows = self.header.rows

    def read(self, number: int) -> Raw:
        with h5py_for(self.path).File(self.path, "r") as file:
            kspace = complex_tensor(file["kspace"][number])
        kspace = kspace if kspace.ndim == 3 else kspace[None]
        check_middle(self.path, kspace)
        mask = sampling_of(kspace)
        if self.mask is not None:
            mask = self.mask if mask.ndim == 1 else mask & self.mask
        inside = torch.zeros(kspace.shape[-1], dtype=torch.bool)
        inside[self.header.first : self.header.last] = True
        mask = mask & inside
        kspace = torch.where(mask, kspace, 0)
        if mask.ndim == 1:
            kspace = without_oversampling(kspace, self.rows)
        return Raw(kspace, mask)

    def _header(self, file: Any, columns: int) -> Header:
        if "ismrmrd_header" not in file:
            return Header(None, 0, columns)
        try:
            return Header.read(file["ismrmrd_header"][()], columns)
        except (ValueError, TypeError, ElementTree.ParseError) as error:
            raise FileError(
                f"Wanted an ISMRMRD header, but that of {self.path} cannot be read "
                f"({brief(error)}). Remove ismrmrd_header from a copy of the file."
            ) from error

    def _mask(self, file: Any, columns: int) -> torch.Tensor | None:
        if "mask" not in file:
            return None
        mask = np.asarray(file["mask"][()]).astype(bool).ravel()
        if len(mask) != columns:
            raise FileError(
                f"Wanted a mask of {columns} columns, as k-space has, but that of {self.path} has "
                f"{len(mask)}. Write it again from the same scan."
            )
        return torch.from_numpy(mask)
