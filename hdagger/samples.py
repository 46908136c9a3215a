"""Draws from a posterior, and where they came from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from .errors import FileError
from .files import read_arrays


@dataclass(frozen=True)
class PosteriorSamples:
    """Samples of p(x | y).

    Attributes:
        draws: ``(samples, *signal)``.
        provenance: What made them: method and settings, version, network evaluations, seconds,
            residuals.
        known: What the method knows of each sample beyond the signal, ``(samples, ...)`` each:
            ancestors and evidence of a cloud, parameters of the operator.
        expected: The posterior's mean, if the method tells what chance did to its draws: nearer
            than their own mean (hdagger/answer.py).
    """

    draws: Float[Tensor, "samples *signal"]
    provenance: dict[str, Any]
    known: Mapping[str, Shaped[Tensor, "samples ..."]] = field(default_factory=dict)
    expected: Float[Tensor, "*signal"] | None = None

    @cached_property
    def mean(self) -> Float[Tensor, "*signal"]:
        """The best single answer in squared error: what is expected, or the draws' mean."""
        return self.draws.mean(dim=0) if self.expected is None else self.expected

    @cached_property
    def std(self) -> Float[Tensor, "*signal"]:
        """Where the samples disagree; 0 for a single one."""
        return self.draws.std(dim=0, correction=int(len(self.draws) > 1))

    def mapped(self, form: Callable[[Tensor], Tensor]) -> "PosteriorSamples":
        """The same in another form.

        Args:
            form: Linear, or nearly; of draws, ``(samples, *signal)`` -> ``(samples, *other)``.
        """
        mean = None if self.expected is None else form(self.expected[None])[0]
        return replace(self, draws=form(self.draws), expected=mean)

    def quantile(self, q: float) -> Float[Tensor, "*signal"]:
        """The q-quantile of each element, q in [0, 1]."""
        return self.draws.quantile(q, dim=0)

    def save(self, path: Path) -> None:
        """Writes a .npz file: ``samples``, ``mean`` and ``std`` in float32, the provenance, and
        ``known_NAME`` for what is known of each sample."""
        tensors = {"samples": self.draws, "mean": self.mean, "std": self.std}
        arrays = {name: value.float().numpy() for name, value in tensors.items()}
        arrays |= {f"known_{name}": value.numpy() for name, value in self.known.items()}
        arrays["provenance"] = np.array(json.dumps(self.provenance))
        np.savez_compressed(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "PosteriorSamples":
        """Reads what ``save`` wrote. Nothing in the file is executed, and its size is bounded.

        Raises:
            FileError: It is not such a file.
        """
        mend = "Point at the samples.npz of a restoration."
        arrays = read_arrays(path, "posterior samples", mend)
        try:
            draws = torch.from_numpy(arrays["samples"].astype(np.float32))
            mean = torch.from_numpy(arrays["mean"].astype(np.float32))
            provenance = json.loads(str(arrays["provenance"]))
            known = {
                name.removeprefix("known_"): torch.from_numpy(value)
                for name, value in arrays.items()
                if name.startswith("known_")
            }
            if draws.ndim < 2 or not len(draws) or not isinstance(provenance, dict):
                raise ValueError("no samples with their provenance")
            if mean.shape != draws.shape[1:]:
                raise ValueError(f"a mean of shape {tuple(mean.shape)}")
            if any(len(value) != len(draws) for value in known.values()):
                raise ValueError("not as much is known of each sample")
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(
                f"Wanted posterior samples, but {path} holds something else ({error}). {mend}"
            ) from error
        return cls(draws, provenance, known, mean)
