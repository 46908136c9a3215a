"""What was measured: data, their noise, and how they came about; and its file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Inexact, Shaped
from torch import Tensor

from .errors import FileError
from .files import brief, read_arrays


@dataclass(frozen=True)
class Measurement:
    """y = H(x) + N(0, sigma_y^2 I), for one signal.

    Attributes:
        y: Data, ``(*data)``, real or complex.
        operator: H in its text form, such as ``"average:4"``; its words are those of the domain.
        sigma_y: Standard deviation of the noise, in the units of y: a number, or one for each
            number of y, infinite where nothing was seen.
        arrays: What the operator needs beyond its text: ``"mask"``, ``"kernel"``.
        signal_shape: Shape of x; by default what the shape of the data tells.
        domain: What kind of signal x is.
    """

    y: Inexact[Tensor, "*data"]
    operator: str
    sigma_y: float | Tensor
    arrays: Mapping[str, Shaped[Tensor, "..."]] = field(default_factory=dict)
    signal_shape: tuple[int, ...] | None = None
    domain: str = "pictures"

    @property
    def noise(self) -> float:
        """sigma_y as one number: where it has a value for each number of y, the median of those
        that are finite."""
        if isinstance(self.sigma_y, Tensor):
            return float(self.sigma_y[self.sigma_y.isfinite()].median())
        return float(self.sigma_y)

    @property
    def arrays_sha256(self) -> str:
        """SHA-256 of what its text and its noise do not say in words; empty if that is nothing."""
        arrays = dict(self.arrays)
        if isinstance(self.sigma_y, Tensor) and self.sigma_y.ndim:
            arrays["sigma_y"] = self.sigma_y
        digest = hashlib.sha256()
        for name, value in sorted(arrays.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest() if arrays else ""

    @property
    def sha256(self) -> str:
        """SHA-256 of all of it: two measurements of one hash are the same."""
        said = [self.operator, self.noise, self.signal_shape, self.domain, self.arrays_sha256]
        told = json.dumps([*said, str(self.y.dtype), list(self.y.shape)])
        digest = hashlib.sha256(told.encode())
        digest.update(self.y.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Writes a .npz file: the arrays, and the rest as one line of JSON."""
        header: dict[str, object] = {"operator": self.operator, "domain": self.domain}
        header["signal_shape"] = self.signal_shape
        arrays = {f"array_{name}": value.numpy() for name, value in self.arrays.items()}
        if isinstance(self.sigma_y, Tensor):
            arrays["sigma_y"] = self.sigma_y.numpy()
        else:
            header["sigma_y"] = self.sigma_y
        arrays |= {"y": self.y.numpy(), "measurement": np.array(json.dumps(header))}
        np.savez_compressed(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Measurement":
        """Reads what ``save`` wrote. Nothing in the file is executed, and its size is bounded.

        Raises:
            FileError: It is not such a file, or holds what cannot be measured.
        """
        mend = "Make one with hdagger degrade."
        arrays = read_arrays(path, "a measurement", mend)
        try:
            header = json.loads(str(arrays["measurement"]))
            y = torch.from_numpy(arrays["y"])
            y = y.to(torch.complex128 if y.is_complex() else torch.float64)
            noise = arrays.get("sigma_y")
            shape = header.get("signal_shape")
            measurement = cls(
                y,
                str(header["operator"]),
                float(header["sigma_y"]) if noise is None else torch.from_numpy(noise).double(),
                {
                    name.removeprefix("array_"): torch.from_numpy(value)
                    for name, value in arrays.items()
                    if name.startswith("array_")
                },
                None if shape is None else tuple(int(side) for side in shape),
                str(header.get("domain", "pictures")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise FileError(
                f"Wanted a measurement, but {path} is not one that can be read "
                f"({brief(error)}). {mend}"
            ) from error
        noise = torch.as_tensor(measurement.sigma_y)
        finite = noise.ndim > 0 or bool(noise.isfinite())
        if not y.isfinite().all() or not finite or not (noise >= 0).all():
            raise FileError(
                f"Wanted finite data and noise, but {path} holds others. "
                "Measure again with hdagger degrade."
            )
        return measurement
