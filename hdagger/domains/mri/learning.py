"""Training a prior of heads; stops and resumes at any moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...denoising import SourceCourse, SourcePlan
from .heads import Heads


@dataclass(frozen=True, kw_only=True)
class HeadPlan(SourcePlan):
    """What a training TOML file says of heads, beyond :class:`SourcePlan`.

    Attributes:
        scans: Folder of volumes, as scripts/gather_scans.py leaves them.
    """

    example: ClassVar[str] = "training/brain.toml"

    scans: Path
    side: int = 128


class HeadTraining(SourceCourse):
    """A training on complex pictures of heads."""

    plan: HeadPlan

    def source(self) -> Heads:
        return Heads(self.plan.scans, self.plan.side)

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """The magnitude."""
        pixels = (x.norm(dim=0) / 1.2).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())
