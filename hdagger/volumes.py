"""Volumes of scanners: NIfTI, NRRD and DICOM series, all in one orientation.

Slices go from the feet up, rows from the front to the back, columns from the patient's right to
the left, as a radiologist looks at them.

References:
    NIfTI-1.1. https://nifti.nimh.nih.gov/nifti-1
    NRRD 5. https://teem.sourceforge.net/nrrd/format.html
    DICOM PS3.3, C.7.6.2 (image plane) and C.11.1 (rescale).
    https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .errors import FileError, HDaggerError
from .files import brief, check_file

LARGEST = 2**27
"""Numbers in a volume."""

FILES = 4096
"""Files of a series."""

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd",)
KINDS = {
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
"""NRRD's names of numbers."""

READ_BY = "pip install nibabel pynrrd pydicom"

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between NRRD's and DICOM's axes (left, back, up) and NIfTI's (right, front, up)."""


@dataclass(frozen=True)
class Volume:
    """A volume.

    Attributes:
        values: ``(slices, rows, columns)``, in the units of the file, its slope applied.
        spacing: Millimetres between slices, rows and columns.
        affine: From (column, row, slice) to millimetres right, front and up, ``(4, 4)``; float64.
        modality: What DICOM calls it, such as "CT" or "MR"; empty where the file does not say.
        notes: What is to be told, a sentence each.
    """

    values: Float[Tensor, "slices rows columns"]
    spacing: tuple[float, float, float]
    affine: np.ndarray
    modality: str = ""
    notes: list[str] = field(default_factory=list)


def read_volume(path: Path) -> Volume:
    """Reads a NIfTI or NRRD file, a DICOM file, or a folder with the files of a DICOM series.

    Raises:
        FileError: It is none, it is too large, or what reads it is not installed.
    """
    if not path.is_dir():
        check_file(path, "a volume")
    try:
        if path.is_dir():
            return _series(sorted(file for file in path.iterdir() if file.is_file()), path)
        if path.name.lower().endswith(NIFTI):
            return _nifti(path)
        if path.name.lower().endswith(NRRD):
            return _nrrd(path)
        return _series([path], path)
    except HDaggerError:
        raise
    except ImportError as error:
        raise FileError(
            f"Wanted {error.name} to read {path}, but it is not installed. {READ_BY}"
        ) from error
    except Exception as error:  # whatever a reader makes of a file that is damaged
        raise FileError(
            f"Wanted a volume, NIfTI, NRRD or DICOM, but {path} cannot be read as one "
            f"({brief(error)}). Export it again."
        ) from error


def write_nifti(path: Path, values: Float[Tensor, "..."], affine: np.ndarray) -> None:
    """Writes ``(slices, rows, columns)``, or a stack of them as a fourth axis, as NIfTI.

    Args:
        path: Ends with .nii or .nii.gz.
        values: The volume, or ``(stack, slices, rows, columns)``.
        affine: As :class:`Volume` has it.
    """
    import nibabel

    array = values.detach().cpu().float().numpy().T
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _oriented(array: np.ndarray, affine: np.ndarray, **about: Any) -> Volume:
    """A volume of ``(i, j, k)`` with an affine in NIfTI's axes, turned to ours."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import (
        apply_orientation,
        axcodes2ornt,
        inv_ornt_aff,
        io_orientation,
        ornt_transform,
    )

    turn = ornt_transform(io_orientation(affine), axcodes2ornt(("L", "P", "S")))
    affine = affine @ inv_ornt_aff(turn, array.shape)
    values = apply_orientation(array, turn).T
    column, row, slice_ = (float(v) for v in voxel_sizes(affine))
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    if not torch.isfinite(tensor).all():
        raise ValueError("it holds values that are not finite")
    return Volume(tensor, (slice_, row, column), affine, **about)


def _check_size(shape: Sequence[int], path: Path) -> None:
    if len(shape) != 3 or min(shape) < 1 or np.prod([float(side) for side in shape]) > LARGEST:
        raise FileError(
            f"Wanted a volume of three sides and at most {LARGEST} numbers, but {path} says "
            f"{' x '.join(map(str, shape))}. Take one volume, or a part of it."
        )


def _nifti(path: Path) -> Volume:
    import nibabel

    image = nibabel.Nifti1Image.from_filename(path)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    _check_size(shape, path)
    array = np.asarray(image.dataobj, np.float32).reshape(shape)
    affine = np.asarray(image.affine, np.float64)
    return _oriented(array, affine)


def _nrrd(path: Path) -> Volume:
    import nrrd

    with path.open("rb") as file:
        header = nrrd.read_header(file)
        if "data file" in header or "datafile" in header:
            raise FileError(
                f"Wanted a .nrrd that holds its data, but {path} names another file. "
                "Save header and data as one."
            )
        shape = tuple(int(side) for side in header["sizes"])
        _check_size(shape, path)
        kind = np.dtype(KINDS[header["type"]])
        if header.get("endian") == "big":
            kind = kind.newbyteorder(">")
        size = kind.itemsize * int(np.prod(shape))
        if header["encoding"] == "raw":
            raw = file.read(size)
        elif header["encoding"] in ("gzip", "gz"):
            with gzip.GzipFile(fileobj=file) as inner:
                raw = inner.read(size)
        else:
            raise ValueError(f"its encoding is {header['encoding']!r}, not raw or gzip")
    array = np.frombuffer(raw, kind).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], np.float64).T
    affine[:3, 3] = np.asarray(header.get("space origin", (0, 0, 0)), np.float64)
    space = str(header.get("space", "")).lower()
    if space in ("left-posterior-superior", "lps"):
        affine = FLIP @ affine
    elif space not in ("right-anterior-superior", "ras"):
        raise ValueError(f"its space is {space!r}, not LPS or RAS")
    return _oriented(array, affine)


def _series(paths: Sequence[Path], where: Path) -> Volume:
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels.processing import apply_rescale

    if len(paths) > FILES:
        raise FileError(
            f"Wanted a series of at most {FILES} files, but {where} has {len(paths)}. "
            "Put one series into a folder."
        )
    slices = []
    for path in paths:
        try:
            slices.append(pydicom.dcmread(path))
        except InvalidDicomError:
            continue
    slices = [one for one in slices if "PixelData" in one]
    if not slices:
        raise FileError(
            f"Wanted DICOM files with pictures, but {where} has none. Point at a series, or at "
            "a .nii, .nii.gz or .nrrd file."
        )
    series = sorted({str(one.get("SeriesInstanceUID", "")) for one in slices})
    if len(series) > 1:
        raise FileError(
            f"Wanted one DICOM series, but {where} holds {len(series)}: "
            f"{', '.join(series)[:200]}. Put one into a folder of its own."
        )
    first = slices[0]
    _check_size((int(first.Columns), int(first.Rows), len(slices)), where)
    across, down = np.reshape(
        np.array(first.get("ImageOrientationPatient", (1, 0, 0, 0, 1, 0)), float), (2, 3)
    )
    normal = np.cross(across, down)
    place = lambda one: np.array(one.get("ImagePositionPatient", (0, 0, 0)), float)
    slices.sort(key=lambda one: float(normal @ place(one)))
    heights = np.array([float(normal @ place(one)) for one in slices])
    thick = float(first.get("SliceThickness") or 1)
    steps = np.diff(heights) if len(slices) > 1 else np.array([thick])
    if steps.min() <= 0 or steps.max() > 1.02 * steps.min() + 0.01:
        raise FileError(
            f"Wanted slices at even distances, but those of {where} are {steps.min():.3g} to "
            f"{steps.max():.3g} mm apart. A slice is missing or there twice."
        )
    planes, notes = [], []
    for one in slices:
        raw = one.pixel_array
        if raw.shape != (first.Rows, first.Columns):
            raise ValueError(f"a slice has the shape {raw.shape}")
        plane = np.asarray(apply_rescale(raw, one), np.float32)
        if "PixelPaddingValue" in one:
            padding = raw == one.PixelPaddingValue
            if padding.any() and not padding.all():
                plane[padding] = plane[~padding].min()
                notes = ["padding around the field of view is taken for its lowest value"]
        planes.append(plane)
    row, column = (float(v) for v in first.get("PixelSpacing", (1, 1)))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * column, down * row
    affine[:3, 2], affine[:3, 3] = normal * float(steps.mean()), place(slices[0])
    array = np.stack(planes).transpose(2, 1, 0)
    return _oriented(array, FLIP @ affine, modality=str(first.get("Modality", "")), notes=notes)
