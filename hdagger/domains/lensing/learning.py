"""Training a galaxy prior; stops and resumes at any moment."""

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
from .galaxies import Galaxies

FAINT = 0.02
"""Flux from which on the picture of samples is logarithmic."""


@dataclass(frozen=True)
class GalaxyPlan(DenoisingPlan):
    """What a training TOML file says of galaxies, beyond :class:`DenoisingPlan`.

    Attributes:
        galaxies: Folder of pictures, as scripts/gather_galaxies.py leaves them.
        side: Pixels a side of a frame.
    """

    example: ClassVar[str] = "training/galaxies.toml"

    galaxies: Path
    side: int = 64


class GalaxyTraining(DenoisingCourse):
    """A training on galaxies.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that is
            already there is taken up.
    """

    def __init__(self, plan: GalaxyPlan, folder: Path) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        super().__init__(plan, folder, UNetDenoiser(plan.unet), "cpu")

    def prepare(self) -> None:
        self.galaxies = Galaxies(self.plan.galaxies, self.plan.side)

    def examples(self, generator: torch.Generator) -> tuple[Signal, Label]:
        count = self.plan.batch
        return self.galaxies.draw(count, self.seed), torch.zeros(count, dtype=torch.long)

    @property
    def side(self) -> int:
        return self.plan.side

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """With a logarithmic stretch."""
        shown = (x[0] / FAINT).asinh()
        pixels = (shown / shown.max()).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())
