"""Training a prior of heads; stops and resumes at any moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...denoising import DenoisingCourse, DenoisingPlan
from ...priors.unet import UNetDenoiser
from ...tensors import Label, Signal
from .heads import Heads


@dataclass(frozen=True)
class HeadPlan(DenoisingPlan):
    """What a training TOML file says of heads, beyond :class:`DenoisingPlan`.

    Attributes:
        scans: Folder of volumes, as scripts/gather_scans.py leaves them.
        side: Pixels a side of a picture.
    """

    example: ClassVar[str] = "training/brain.toml"

    scans: Path
    side: int = 128


class HeadTraining(DenoisingCourse):
    """A training on complex pictures of heads.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that is
            already there is taken up.
    """

    def __init__(self, plan: HeadPlan, folder: Path) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        super().__init__(plan, folder, UNetDenoiser(plan.unet), "cpu")

    def prepare(self) -> None:
        self.heads = Heads(self.plan.scans, self.plan.side)

    def examples(self, generator: torch.Generator) -> tuple[Signal, Label]:
        count = self.plan.batch
        return self.heads.draw(count, self.seed), torch.zeros(count, dtype=torch.long)

    @property
    def side(self) -> int:
        return self.plan.side

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """The magnitude."""
        pixels = (x.norm(dim=0) / 1.2).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())
