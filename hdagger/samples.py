"""Draws from a posterior, and where they came from."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PosteriorSamples:
    """Samples of p(x | y).

    Attributes:
        draws: ``(samples, *signal)`` in float32.
        provenance: What made them: recipe, version, network evaluations, seconds, residuals.
    """

    draws: Float[Tensor, "samples *signal"]
    provenance: dict[str, Any]

    @cached_property
    def mean(self) -> Float[Tensor, "*signal"]:
        """The best single answer in squared error."""
        return self.draws.mean(dim=0)

    @cached_property
    def std(self) -> Float[Tensor, "*signal"]:
        """Where the samples disagree; 0 for a single one."""
        return self.draws.std(dim=0, correction=int(len(self.draws) > 1))

    def quantile(self, q: float) -> Float[Tensor, "*signal"]:
        """The pixelwise q-quantile, q in [0, 1]."""
        return self.draws.quantile(q, dim=0)

    def save(self, path: Path) -> None:
        """Writes a .npz file with ``samples``, ``mean``, ``std`` in float32 and the provenance."""
        np.savez_compressed(
            path,
            samples=self.draws.numpy(),
            mean=self.mean.numpy(),
            std=self.std.numpy(),
            provenance=np.array(json.dumps(self.provenance)),
        )

    @classmethod
    def load(cls, path: Path) -> "PosteriorSamples":
        """Reads what ``save`` wrote; nothing in the file is executed."""
        with np.load(path, allow_pickle=False) as archive:
            draws = torch.from_numpy(archive["samples"])
            return cls(draws, json.loads(str(archive["provenance"])))
