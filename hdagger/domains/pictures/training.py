"""Training a prior on a folder of pictures, or in the same way what can guide one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...denoising import DenoisingCourse, DenoisingPlan
from ...errors import SettingError
from ...priors.classifier import NoisyClassifier
from ...priors.unet import OfPictures, UNetDenoiser
from ...tensors import Label, Signal
from .dataset import Photographs
from .writing import to_image


@dataclass(frozen=True)
class TrainingPlan(DenoisingPlan):
    """What a training TOML file says of pictures, beyond :class:`DenoisingPlan`.

    Attributes:
        photographs: Folder of pictures to train on.
        crops: Sides of the crops in stages of the same length. Of larger crops than the first
            stage's there are fewer in a batch, so that all updates see about as many pixels.
        mirror: Whether half of the crops are mirrored.
        label_dropout: Share of the crops whose label is hidden, so that the prior also learns
            to do without. Labels are those of the folders in ``photographs``.
        network: ``"denoiser"`` makes a prior, ``"classifier"`` what can guide one.
    """

    example: ClassVar[str] = "training/photo.toml"
    networks: ClassVar[Mapping[str, type[OfPictures]]] = {
        "denoiser": UNetDenoiser,
        "classifier": NoisyClassifier,
    }

    photographs: Path
    crops: tuple[int, ...] = (64,)
    mirror: bool = True
    label_dropout: float = 0.0
    network: str = "denoiser"

    def __post_init__(self) -> None:
        if self.network not in self.networks:
            raise SettingError(
                f"Wanted a network, {' or '.join(self.networks)}, but got {self.network!r}."
            )
        if self.start and self.network != "denoiser":
            raise SettingError("Wanted a denoiser to go with start. Leave start out.")


class Training(DenoisingCourse):
    """A training on pictures.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that
            is already there is taken up.
        device: Where to compute; by default a GPU if there is one.
    """

    def __init__(self, plan: TrainingPlan, folder: Path, device: str | None = None) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        super().__init__(plan, folder, plan.networks[plan.network](plan.unet), device)

    def prepare(self) -> None:
        plan = self.plan
        photographs = Photographs(
            plan.photographs, min(plan.crops), plan.unet.channels, plan.unet.classes, plan.mirror
        )
        self.stages = [photographs.cut(crop) for crop in plan.crops]
        self._stage = -1

    def examples(self, generator: torch.Generator) -> tuple[Signal, Label]:
        plan = self.plan
        stage = min(int(self.spent * len(self.stages)), len(self.stages) - 1)
        if stage != self._stage:
            photographs = self.stages[stage]
            count = max(1, round(plan.batch * (plan.crops[0] / photographs.crop) ** 2))
            self._stage = stage
            self._ahead = self.ahead(lambda seed: photographs.draw_labelled(count, seed))
        x0, label = next(self._ahead)
        hidden = torch.rand(len(x0), generator=generator, device=self.device) < plan.label_dropout
        return x0, torch.where(hidden, plan.unet.classes, label)

    @property
    def side(self) -> int:
        return self.plan.crops[-1]

    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        return to_image(x)
