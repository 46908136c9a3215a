"""What was measured: data, their noise, and how they came about; and its file."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from .errors import FileError
from .files import MOST_BYTES, check_file


@dataclass(frozen=True)
class Measurement:
    """y = H(x) + N(0, sigma_y^2 I), for one signal.

    Attributes:
        y: Data, ``(*data)`` in float64.
        operator: H in its text form, such as ``"average:4"``; see ``hdagger.restore``.
        sigma_y: Standard deviation of the noise, in the units of y ([-1, 1] for pictures).
        arrays: What the operator needs beyond its text: ``"mask"``, ``"kernel"``.
        signal_shape: Shape of x; by default what the shape of the data tells.
    """

    y: Float[Tensor, "*data"]
    operator: str
    sigma_y: float
    arrays: dict[str, Shaped[Tensor, "..."]] = field(default_factory=dict)
    signal_shape: tuple[int, ...] | None = None

    def save(self, path: Path) -> None:
        """Writes a .npz file: the arrays, and the rest as one line of JSON."""
        header = json.dumps(
            {
                "operator": self.operator,
                "sigma_y": self.sigma_y,
                "signal_shape": self.signal_shape,
            }
        )
        arrays = {f"array_{name}": value.numpy() for name, value in self.arrays.items()}
        arrays |= {"y": self.y.numpy(), "measurement": np.array(header)}
        np.savez_compressed(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Measurement":
        """Reads what ``save`` wrote. Nothing in the file is executed, and its size is bounded.

        Raises:
            FileError: It is not such a file, or holds what cannot be measured.
        """
        check_file(path, "a measurement")
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > MOST_BYTES:
                raise FileError(
                    f"Wanted at most {MOST_BYTES // 10**6} MB, but {path} unpacks to "
                    f"{size // 10**6} MB. Crop the picture before it is measured."
                )
            with np.load(path, allow_pickle=False) as archive:
                header = json.loads(str(archive["measurement"]))
                y = torch.from_numpy(archive["y"].astype(np.float64))
                arrays = {
                    name.removeprefix("array_"): torch.from_numpy(archive[name])
                    for name in archive.files
                    if name.startswith("array_")
                }
            shape = header.get("signal_shape")
            measurement = cls(
                y,
                str(header["operator"]),
                float(header["sigma_y"]),
                arrays,
                None if shape is None else tuple(int(side) for side in shape),
            )
        except (zipfile.BadZipFile, OSError, KeyError, TypeError, ValueError, EOFError) as error:
            raise FileError(
                f"Wanted a measurement, but {path} is not one that can be read. "
                "Make one with hdagger degrade."
            ) from error
        if not y.isfinite().all() or not 0 <= measurement.sigma_y < float("inf"):
            raise FileError(
                f"Wanted finite data and noise, but {path} holds others. "
                "Measure again with hdagger degrade."
            )
        return measurement
