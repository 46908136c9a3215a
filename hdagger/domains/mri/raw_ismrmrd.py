"""The files of ISMRMRD: single readouts, put where they belong.

References:
    Inati et al., ISMRM raw data format: a proposed standard for MRI raw datasets, 2017.
    https://ismrmrd.readthedocs.io
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import FileError
from ...files import brief
from .coils import covariance
from .raw import Raw, RawFile, check_middle, check_sizes, complex_tensor, without_oversampling

MOST_READOUTS = 2_000_000


class ISMRMRD(RawFile):
    """Two-dimensional Cartesian data; of several contrasts, phases or repetitions the first.

    Readouts flagged as navigators, phase correction, dummies or calibration alone are left out,
    averages are averaged, and an asymmetric echo lies where its centre sample says. Noise scans
    give the covariance of the coils' noise, scaled to the readouts' dwell time.

    Args:
        path: A .h5 file with a group ``dataset``.

    Raises:
        FileError: It is none, or not of this kind.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, []
        try:
            import ismrmrd
            import ismrmrd.xsd
        except ImportError as error:
            raise FileError(
                f"Wanted ismrmrd to read {path}, but it is not installed. "
                "pip install 'hdagger[mri]'"
            ) from error
        self._ismrmrd = ismrmrd
        try:
            with ismrmrd.Dataset(str(path), "dataset", create_if_needed=False) as data:
                encoding = ismrmrd.xsd.CreateFromDocument(data.read_xml_header()).encoding[0]
                count = int(data.number_of_acquisitions() or 0)
        except Exception as error:  # whatever a reader makes of a file that is damaged
            raise FileError(
                f"Wanted ISMRMRD raw data, but {path} cannot be read as such ({brief(error)}). "
                "Convert it again, say by siemens_to_ismrmrd."
            ) from error
        if count > MOST_READOUTS or str(encoding.trajectory.value) != "cartesian":
            raise FileError(
                f"Wanted Cartesian readouts, at most {MOST_READOUTS}, but {path} has {count} of "
                f"trajectory {encoding.trajectory.value}. Grid it first."
            )
        size, limits = encoding.encodedSpace.matrixSize, encoding.encodingLimits
        if size.z > 1:
            raise FileError(
                f"Wanted two-dimensional slices, but {path} encodes {size.z} partitions. "
                "Transform along them first."
            )
        step = limits.kspace_encoding_step_1
        self.shape, self.rows = (size.x, size.y), min(size.x, encoding.reconSpace.matrixSize.x)
        self.shift = 0 if step is None else size.y // 2 - step.center
        self.slices = 1 if limits.slice is None else limits.slice.maximum + 1
        if self.rows < size.x:
            self.notes.append(f"readout oversampled: the middle {self.rows} rows are kept")
        self._gather()

    def read(self, number: int) -> Raw:
        total, counts = self._total[number], self._counts[number]
        shares = counts[counts > 0]
        if len(shares) == 0:
            raise FileError(
                f"Wanted readouts of slice {number}, but {self.path} has none. Choose another."
            )
        if shares.min() != shares.max():
            raise FileError(
                f"Wanted as many averages of each line, but slice {number} of {self.path} has "
                f"{int(shares.min())} to {int(shares.max())}. Keep as many of each."
            )
        kspace = complex_tensor(total / shares.max())
        check_middle(self.path, kspace)
        points = torch.from_numpy(counts > 0)
        lines = points.any(0)
        whole = bool(points[:, lines].all())
        if whole:
            kspace = without_oversampling(kspace, self.rows)
        noise = None if self._noise is None else self._noise / float(shares.max())
        return Raw(kspace, lines if whole else points, noise)

    def _gather(self) -> None:
        noise, coils, dwell, noise_dwell = [], 0, 1.0, 1.0
        rows, columns = self.shape
        skipped = 0
        for readout in self._readouts():
            if readout.is_flag_set(self._ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
                noise.append(readout.data)
                noise_dwell = float(readout.sample_time_us) or 1.0
                continue
            at = readout.idx
            first = max(at.contrast, at.phase, at.repetition, at.set) == 0
            if not first or any(readout.is_flag_set(flag) for flag in self._other):
                skipped += 1
                continue
            if not coils:
                coils = readout.data.shape[0]
                check_sizes(self.path, self.slices, (coils, rows, columns))
                self._total = np.zeros((self.slices, coils, rows, columns), np.complex64)
                self._counts = np.zeros((self.slices, rows, columns), np.int32)
                dwell = float(readout.sample_time_us) or 1.0
            column = at.kspace_encode_step_1 + self.shift
            row = rows // 2 - readout.center_sample
            last = readout.number_of_samples - readout.discard_post
            kept, row = readout.data[:, readout.discard_pre : last], row + readout.discard_pre
            fits = 0 <= column < columns and row >= 0 and row + kept.shape[1] <= rows
            if not (fits and kept.shape[0] == coils and at.slice < self.slices):
                raise FileError(
                    f"Wanted readouts within {rows} x {columns} points of {self.slices} slices, "
                    f"{coils} coils, but {self.path} has one at ({row}, {column}) of slice "
                    f"{at.slice} with {kept.shape[1]} samples. Mend its header."
                )
            self._total[at.slice, :, row : row + kept.shape[1], column] += kept
            self._counts[at.slice, row : row + kept.shape[1], column] += 1
        if not coils:
            raise FileError(f"Wanted readouts, but {self.path} has none. Export it again.")
        if skipped:
            self.notes.append(f"{skipped} readouts of other kinds are left out")
        self._noise = None
        if noise:
            samples = complex_tensor(np.concatenate(noise, axis=1))
            self._noise = covariance(samples) * noise_dwell / dwell
            self.notes.append("noise from the scanner's own noise scan")

    def _readouts(self) -> Iterator[Any]:
        with self._ismrmrd.Dataset(str(self.path), "dataset", create_if_needed=False) as data:
            for number in range(int(data.number_of_acquisitions() or 0)):
                yield data.read_acquisition(number)

    @property
    def _other(self) -> tuple[int, ...]:
        """Flags of what is no part of the image."""
        kinds = (
            "ACQ_IS_PHASECORR_DATA",
            "ACQ_IS_NAVIGATION_DATA",
            "ACQ_IS_DUMMYSCAN_DATA",
            "ACQ_IS_RTFEEDBACK_DATA",
            "ACQ_IS_HPFEEDBACK_DATA",
            "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA",
            "ACQ_IS_PARALLEL_CALIBRATION",
        )
        return tuple(getattr(self._ismrmrd, kind) for kind in kinds)
