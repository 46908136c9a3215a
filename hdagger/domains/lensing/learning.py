"""Training a galaxy prior; stops and resumes at any moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...denoising import SourceCourse, SourcePlan
from .galaxies import Galaxies

FAINT = 0.02
"""Flux from which on the picture of samples is logarithmic."""


@dataclass(frozen=True, kw_only=True)
class GalaxyPlan(SourcePlan):
    """What a training TOML file says of galaxies, beyond :class:`SourcePlan`.

    Attributes:
        galaxies: Folder of pictures, as scripts/gather_galaxies.py leaves them.
    """

    example: ClassVar[str] = "training/galaxies.toml"

    galaxies: Path
    side: int = 64


class GalaxyTraining(SourceCourse):
    """A training on galaxies."""

    plan: GalaxyPlan

    def source(self) -> Galaxies:
        return Galaxies(self.plan.galaxies, self.plan.side)

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """With a logarithmic stretch."""
        shown = (x[0] / FAINT).asinh()
        pixels = (shown / shown.max()).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())
