"""From a file of raw data to measurements."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from ...errors import FileError, SettingError
from ...files import check_file, read_arrays
from ...measurement import Measurement
from .coils import Maps, covariance, of_unit_length, whitener
from .espirit import espirit
from .judgement import object_in
from .kspace import to_image
from .raw import Raw, RawFile, complex_tensor, h5py_for
from .raw_fastmri import FastMRI
from .raw_ismrmrd import ISMRMRD
from .scan import Scan

ESPIRIT = "espirit"
"""What ``--maps`` says for maps from the middle of k-space."""

RIM = 0.05
"""Share of the measured points, those farthest from the middle, that are taken for noise."""

FEWEST = 20
"""Points of the rim for each coil, so that their covariance is of use."""

UNSEEN = 0.5
"""Share of the object that coil maps may leave out."""

PICTURES = "reconstruction_rss", "reconstruction_esc"
"""What fastMRI calls its own pictures."""


@dataclass(frozen=True)
class Reading:
    """A slice as it was read.

    Attributes:
        measurement: What was measured.
        scan: How.
        number: Of the slice.
        notes: What is to be told, a sentence each.
    """

    measurement: Measurement
    scan: Scan
    number: int
    notes: list[str]


def open_raw(path: Path) -> RawFile:
    """A file of fastMRI or of ISMRMRD.

    Raises:
        FileError: It is neither.
    """
    check_file(path, "raw data of a scanner")
    h5py = h5py_for(path)
    if not h5py.is_hdf5(path):
        raise FileError(
            f"Wanted raw data as HDF5, of fastMRI or ISMRMRD, but {path} is no HDF5 file. "
            "Pictures (NIfTI, DICOM, PNG) hold no k-space: hdagger mri simulate makes some of one."
        )
    with h5py.File(path, "r") as file:
        is_ismrmrd = "dataset" in file and "kspace" not in file
    return ISMRMRD(path) if is_ismrmrd else FastMRI(path)


def read(
    file: RawFile, number: int, maps: str | None = None, sigma: float | None = None
) -> Reading:
    """Reads a slice, its noise and its coil maps, and holds them against each other.

    Args:
        file: The file.
        number: Which slice.
        maps: A file of coil maps, or ``espirit`` as None is: from the middle of k-space.
        sigma: Deviation of the noise of all coils, of each real component; by default as the
            scanner measured it, or as the rim of k-space shows.

    Raises:
        HDaggerError: Something cannot be read, or does not fit the rest.
    """
    raw = file.read(number)
    coils, rows, columns = raw.kspace.shape
    lines = raw.mask.ndim == 1
    share = float(raw.mask.double().mean())
    notes = [*file.notes, f"{100 * share:.0f} % of k-space was measured, by {coils} coils"]
    scan = Scan(rows, columns, coils, "lines" if lines else "points")
    given = None if maps in (None, ESPIRIT) else read_maps(Path(maps), number, raw)
    W, s = _noise(raw, sigma, notes)
    kspace = torch.einsum("cd,drn->crn", W, raw.kspace)
    arrays: dict[str, Tensor] = {"mask": raw.mask}
    if given is not None:
        found = of_unit_length(torch.einsum("cd,drn->crn", W, given))
        if hidden := _unseen(kspace, found):
            notes.append(f"coil maps leave out {100 * hidden:.0f} % of the object")
        arrays["maps"] = found.to(torch.complex64)
    elif coils > 1:
        arrays["maps"] = espirit(kspace, raw.mask).to(torch.complex64)
        notes.append("coil maps by ESPIRiT from the middle of k-space")
    measurement = Measurement(kspace, str(scan), s, arrays, (2, rows, columns), "mri")
    return Reading(measurement, scan, number, notes)


def read_maps(path: Path, number: int, raw: Raw) -> Maps:
    """Coil maps, ``(coils, rows, columns)`` or ``(slices, coils, rows, columns)``.

    Args:
        path: A .npy file, or a .h5 file whose only complex array, or ``maps``, they are.
        number: Which slice.
        raw: What they have to fit.

    Raises:
        FileError: They do not.
    """
    values = read_array(path, "coil maps", "maps")
    if values.ndim == 4 and 0 <= number < len(values):
        values = values[number]
    wanted = tuple(raw.kspace.shape)
    if values.shape != wanted or not np.iscomplexobj(values):
        raise FileError(
            f"Wanted complex coil maps of shape {wanted}, as k-space has, but {path} has "
            f"{values.dtype} of shape {values.shape}. Try --maps {ESPIRIT}."
        )
    found = complex_tensor(values)
    if not found.isfinite().all():
        raise FileError(f"Wanted finite coil maps, but {path} holds others. Try --maps {ESPIRIT}.")
    return found


def read_truth(path: Path, number: int, scan: Scan) -> Complex[Tensor, "rows columns"]:
    """The true image of a slice, or of its middle; a magnitude has no phase.

    Args:
        path: A .npy file, ``(rows, columns)`` or ``(slices, rows, columns)``, or a .h5 file of
            fastMRI with pictures.
        number: Which slice.
        scan: What it has to fit; fastMRI's pictures show the middle of it.

    Raises:
        FileError: It does not.
    """
    values = read_array(path, "an image", *PICTURES)
    if values.ndim == 3 and 0 <= number < len(values):
        values = values[number]
    side = scan.rows, scan.columns
    fits = values.ndim == 2 and all(
        n / 2 <= m <= n for m, n in zip(values.shape, side, strict=True)
    )
    if not fits or not np.isfinite(values).all():
        raise FileError(
            f"Wanted an image of {scan.rows} x {scan.columns} finite pixels, or its middle, but "
            f"{path} has shape {values.shape}. Cut out, or resample, what k-space shows."
        )
    return complex_tensor(values)


def read_array(path: Path, what: str, *names: str) -> np.ndarray:
    """The array of a .npy file, or that of one of these names of a .h5 file.

    Raises:
        FileError: There is none.
    """
    check_file(path, what)
    mend = "Save one with numpy.save."
    if path.suffix == ".npy":
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise FileError(f"Wanted {what}, but {path} is no .npy file. {mend}") from error
        if not np.issubdtype(values.dtype, np.number):
            raise FileError(f"Wanted {what}, but {path} holds {values.dtype}. {mend}")
        return values
    if path.suffix == ".npz":
        arrays = read_arrays(path, what, mend)
        return next(iter(arrays.values()))
    h5py = h5py_for(path)
    if not h5py.is_hdf5(path):
        raise FileError(f"Wanted {what} as .npy or .h5, but {path} is neither. {mend}")
    with h5py.File(path, "r") as file:
        for name in names:
            if name in file:
                return file[name][()]
        raise FileError(
            f"Wanted {what}, {' or '.join(names)}, but {path} has {', '.join(list(file)[:8])}. "
            f"{mend}"
        )


def _noise(
    raw: Raw, sigma: float | None, notes: list[str]
) -> tuple[Complex[Tensor, "coils coils"], float]:
    """What makes the coils' noise alike, and its deviation."""
    if sigma is not None:
        if not 0 < sigma < math.inf:
            raise SettingError(f"Wanted noise above 0, but got --sigma {sigma:g}.")
        return torch.eye(len(raw.kspace), dtype=torch.complex128), sigma
    if raw.noise is not None:
        return whitener(raw.noise)
    W, s = whitener(covariance(rim_of(raw)))
    notes.append(f"noise of {s:.3g} from the rim of k-space; --sigma says it better")
    return W, s


def rim_of(raw: Raw) -> Complex[Tensor, "coils samples"]:
    """The measured points farthest from the middle of k-space, where noise prevails."""
    _, rows, columns = raw.kspace.shape
    up = (torch.arange(rows) - rows // 2).abs() / (rows / 2)
    across = (torch.arange(columns) - columns // 2).abs() / (columns / 2)
    far = torch.hypot(up[:, None], across)[raw.mask.expand(rows, columns)]
    count = max(FEWEST * len(raw.kspace), int(RIM * len(far)))
    chosen = far.argsort(descending=True, stable=True)[:count]
    return raw.kspace[:, raw.mask.expand(rows, columns)][:, chosen]


def _unseen(kspace: Tensor, maps: Maps) -> float:
    """The share of the object where no coil sees anything.

    Raises:
        SettingError: It is too large.
    """
    shown = to_image(kspace).abs().square().sum(0).sqrt()
    there = object_in(shown)
    share = float((maps.abs().sum(0)[there] == 0).double().mean()) if there.any() else 0.0
    if share > UNSEEN:
        raise SettingError(
            f"Wanted coil maps that see the object, but {100 * share:.0f} % of it lies where they "
            "are 0. Estimate them without a crop (crop 0 of ESPIRiT's eigenvalues)."
        )
    return share
