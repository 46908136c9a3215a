"""Training a prior of bodies; stops and resumes at any moment."""

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
from .bodies import PIXEL, Bodies


@dataclass(frozen=True)
class BodyPlan(DenoisingPlan):
    """What a training TOML file says of bodies, beyond :class:`DenoisingPlan`.

    Attributes:
        scans: Folder of volumes, as scripts/gather_scans.py leaves them.
        side: Pixels a side of a picture.
        pixel: Millimetres a pixel.
    """

    example: ClassVar[str] = "training/chest.toml"

    scans: Path
    side: int = 128
    pixel: float = PIXEL


class BodyTraining(DenoisingCourse):
    """A training on slices of bodies.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that is
            already there is taken up.
    """

    def __init__(self, plan: BodyPlan, folder: Path) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        super().__init__(plan, folder, UNetDenoiser(plan.unet), "cpu")

    def prepare(self) -> None:
        self.bodies = Bodies(self.plan.scans, self.plan.side, self.plan.pixel)

    def examples(self, generator: torch.Generator) -> tuple[Signal, Label]:
        count = self.plan.batch
        return self.bodies.draw(count, self.seed), torch.zeros(count, dtype=torch.long)

    @property
    def side(self) -> int:
        return self.plan.side

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """From air to bone."""
        pixels = ((x[0] + 1) / 2.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())
