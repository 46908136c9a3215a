"""Training a prior of bodies; stops and resumes at any moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...denoising import SourceCourse, SourcePlan
from .bodies import PIXEL, Bodies


@dataclass(frozen=True, kw_only=True)
class BodyPlan(SourcePlan):
    """What a training TOML file says of bodies, beyond :class:`SourcePlan`.

    Attributes:
        scans: Folder of volumes, as scripts/gather_scans.py leaves them.
        pixel: Millimetres a pixel.
    """

    example: ClassVar[str] = "training/chest.toml"

    scans: Path
    side: int = 128
    pixel: float = PIXEL


class BodyTraining(SourceCourse):
    """A training on slices of bodies."""

    plan: BodyPlan

    def source(self) -> Bodies:
        return Bodies(self.plan.scans, self.plan.side, self.plan.pixel)

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """From air to bone."""
        pixels = ((x[0] + 1) / 2.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())
