"""Training one, on pictures that it is shown damaged by its task."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..course import read_plan
from ..domains.pictures.masks import read_mask
from ..domains.pictures.reading import read_kernel
from ..domains.pictures.training import Training, TrainingPlan
from ..domains.pictures.words import operator_for_signal
from ..domains.pictures.writing import to_image
from ..errors import SettingError
from ..files import whole_file
from ..priors.unet import OfPictures
from ..problem import Problem, check_noise
from ..tensors import SampleNoise, Signal
from .base import FILE, Specialist, in_frame
from .conditional import Conditional
from .gan import GAN
from .regression import Regression
from .vae import VAE


@dataclass(frozen=True)
class SpecialistPlan(TrainingPlan):
    """What a training TOML file says of a specialist, beyond :class:`TrainingPlan`.

    Attributes:
        task: The operator whose data it is shown, in text form.
        sigma_y: Standard deviation of the noise on them.
        mask: Picture of what is missing, white, for the word ``mask``.
        kernel: Picture of the blur, white on black, for the word ``kernel``.
        title: What tables call the task; by default its text form.
    """

    example: ClassVar[str] = "training/specialists/digits-palette-x4.toml"
    networks: ClassVar[Mapping[str, type[OfPictures]]] = {
        kind.kind: kind for kind in (Conditional, Regression, GAN, VAE)
    }

    network: str = "conditional"
    task: str = "none"
    sigma_y: float = 0.0
    mask: Path | None = None
    kernel: Path | None = None
    title: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.crops) != 1:
            raise SettingError(
                f"Wanted crops of one size, of which the task is, but got {list(self.crops)}. "
                f"Try crops = [{self.crops[0]}]."
            )

    def arrays(self) -> dict[str, Tensor]:
        """What the task needs beyond its text."""
        files = {"mask": (self.mask, read_mask), "kernel": (self.kernel, read_kernel)}
        return {name: read(path) for name, (path, read) in files.items() if path is not None}


class SpecialistTraining(Training):
    """A training of a specialist; see :class:`Training`, whose files it leaves under its name.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``specialist.safetensors`` and ``samples.png`` go.
        device: Where to compute; by default a GPU if there is one.
    """

    file = FILE

    def __init__(self, plan: SpecialistPlan, folder: Path, device: str | None = None) -> None:
        self.task = plan
        shape = (plan.unet.channels, plan.crops[0], plan.crops[0])
        H = operator_for_signal(plan.task, shape, plan.arrays())
        check_noise(H, plan.sigma_y)
        super().__init__(plan, folder, device)
        self.H = H.to(self.device, torch.float32)

    def measured(self, x0: Signal, generator: torch.Generator) -> Problem:
        """Data of clean pictures."""
        y = self.H(x0)
        noise = torch.randn(y.shape, generator=generator, device=generator.device).to(y)
        return Problem(self.H.seen(y + self.task.sigma_y * noise), self.H, self.task.sigma_y)

    def lesson(self, generator: torch.Generator) -> Tensor:
        x0, _ = self.examples(generator)
        sigma = self._levels(len(x0), generator)
        with torch.autocast(torch.device(self.device).type, enabled=False):
            given = in_frame(self.measured(x0, generator))
        assert isinstance(self.denoiser, Specialist)
        return self.denoiser.taught(x0, given, sigma, generator)

    def save_prior(self) -> None:
        """Writes the specialist, and what it makes of ten pictures: truth, data, answer."""
        plan, specialist = self.task, self.ema
        assert isinstance(specialist, Specialist)
        specialist.notes = {
            "task": plan.title or plan.task,
            "sigma_y": plan.sigma_y,
            "updates": self.step,
            "batch": plan.batch,
            "seconds": round(self.seconds, 1),
        }
        with whole_file(self.folder / FILE) as path:
            specialist.save(path)
        generator = torch.Generator(self.device).manual_seed(plan.seed)
        x0 = self.stages[0].draw(10, plan.seed).to(self.device)
        problem = self.measured(x0, generator)
        noise = SampleNoise(plan.seed, [(i,) for i in range(len(x0))], self.device)
        sheet = torch.stack([x0, in_frame(problem), specialist.glimpse(problem, noise).to(x0)])
        with whole_file(self.folder / "samples.png") as path:
            _sheet(sheet).save(path)


def _sheet(rows: Tensor) -> Image.Image:
    """Pictures, ``(rows, columns, channels, height, width)``, as one."""
    return to_image(rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2))


def training_of(plan: Path, out: Path) -> Training:
    """The training that a plan asks for: of a specialist, or of a prior.

    Raises:
        HDaggerError: It is no such plan.
    """
    if read_plan(plan).get("network") in SpecialistPlan.networks:
        return SpecialistTraining(SpecialistPlan.read(plan), out)
    return Training(TrainingPlan.read(plan), out)
