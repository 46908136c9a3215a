"""Training a prior on a folder of pictures; stops and resumes at any moment.

Noise is added with ln sigma drawn from a Gaussian; the network knows its loss. A classifier of
noisy pictures is trained in the same way.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    section 5. https://arxiv.org/abs/2206.00364
"""

import itertools
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ...course import Course, read_plan
from ...errors import SettingError
from ...files import whole_file
from ...priors.classifier import NoisyClassifier
from ...priors.unet import TRAINED, UNetDenoiser, UNetShape
from ...tensors import SampleNoise
from .dataset import Photographs
from .files import to_image

NETWORKS = {"denoiser": UNetDenoiser, "classifier": NoisyClassifier}


@dataclass(frozen=True)
class TrainingPlan:
    """What a training TOML file says.

    Attributes:
        photographs: Folder of pictures to train on.
        hours: Time to train in all, over every resumption; the learning rate falls to 0 by then.
        batch: Crops for each update.
        crop: Side of a crop.
        rate: Learning rate of Muon, for the convolutions.
        rate_rest: Learning rate of AdamW, for biases and what touches the pixels.
        flat: Share of the time at the full learning rate.
        ema: Decay of the running mean of the weights, which is what is kept.
        log_sigma_mean: Mean of ln sigma.
        log_sigma_std: Standard deviation of ln sigma.
        mirror: Whether half of the crops are mirrored.
        label_dropout: Share of the crops whose label is hidden, so that the prior also learns
            to do without. Labels are those of the folders in ``photographs``.
        seed: Of the weights, the crops and the noise.
        network: ``"denoiser"`` makes a prior, ``"classifier"`` what can guide one.
        unet: The shape of the network.
    """

    photographs: Path
    hours: float = 2.0
    batch: int = 32
    crop: int = 64
    rate: float = 0.005
    rate_rest: float = 0.001
    flat: float = 0.3
    ema: float = 0.995
    log_sigma_mean: float = -1.4
    log_sigma_std: float = 1.4
    mirror: bool = True
    label_dropout: float = 0.0
    seed: int = 0
    network: str = "denoiser"
    unet: UNetShape = field(default_factory=UNetShape)

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise SettingError(
                f"Wanted a network, {' or '.join(NETWORKS)}, but got {self.network!r}."
            )

    @classmethod
    def read(cls, path: Path) -> "TrainingPlan":
        """Reads a TOML file; ``photographs`` is relative to it.

        Raises:
            FileError: It is not TOML.
            SettingError: It names something unknown, or misses the photographs.
        """
        table = read_plan(path)
        shape = table.pop("unet", {})
        if "widths" in shape:
            shape["widths"] = tuple(shape["widths"])
        try:
            folder = path.parent / table.pop("photographs")
            return cls(photographs=folder, unet=UNetShape(**shape), **table)
        except (KeyError, TypeError) as error:
            known = ", ".join(entry.name for entry in fields(cls))
            raise SettingError(
                f"Wanted the settings {known}, but {path} has others or too few ({error}). "
                "Start from training/photo.toml."
            ) from error


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Updates so far.
        crops: Crops seen so far.
        loss: Mean loss since the last report.
        seconds: Time trained so far, over every resumption.
        crops_per_second: Since the last report.
    """

    step: int
    crops: int
    loss: float
    seconds: float
    crops_per_second: float


class Training(Course[Progress]):
    """A training on pictures.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that
            is already there is taken up.
        device: Where to compute; by default a GPU if there is one.
    """

    warm_up = 20
    stored_as = "denoiser"

    def __init__(self, plan: TrainingPlan, folder: Path, device: str | None = None) -> None:
        self.plan = plan
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(plan.seed)
        self.denoiser = NETWORKS[plan.network](plan.unet).to(self.device)
        inner = [
            weight
            for name, weight in self.denoiser.net.named_parameters()
            if weight.ndim == 4 and not name.startswith(("stem", "head"))
        ]
        super().__init__(plan, folder, self.denoiser, inner)

    @property
    def ema(self) -> UNetDenoiser | NoisyClassifier:
        """The running mean."""
        return cast("UNetDenoiser | NoisyClassifier", self._mean)

    def prepare(self) -> None:
        plan = self.plan
        self.photographs = Photographs(
            plan.photographs, plan.crop, plan.unet.channels, plan.unet.classes, plan.mirror
        )

    def loss(self) -> Tensor:
        plan = self.plan
        x0, label = self.photographs.draw_labelled(plan.batch, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        z = torch.randn(len(x0), generator=generator)
        sigma = (z * plan.log_sigma_std + plan.log_sigma_mean).exp().clamp(*TRAINED)
        noise = torch.randn(x0.shape, generator=generator)
        hidden = torch.rand(len(x0), generator=generator) < plan.label_dropout
        label = torch.where(hidden, plan.unet.classes, label)
        return self.denoiser.loss(*(part.to(self.device) for part in (x0, sigma, noise, label)))

    def told(self, losses: list[float], seconds: float) -> Progress:
        batch = self.plan.batch
        return Progress(
            self.step,
            self.step * batch,
            sum(losses) / len(losses),
            self.seconds,
            len(losses) * batch / seconds,
        )

    def save_prior(self) -> None:
        """Writes the prior and, of one that denoises, a grid of samples."""
        with whole_file(self.folder / "prior.safetensors") as path:
            self.ema.save(path)
        if isinstance(self.ema, UNetDenoiser):
            with whole_file(self.folder / "samples.png") as path:
                to_image(self._samples(self.ema)).save(path)

    @torch.no_grad()
    def _samples(self, prior: UNetDenoiser, grid: int = 4) -> Tensor:
        """Samples by DDIM, 18 steps, as one picture; with classes, each row goes through them."""
        levels = [*torch.logspace(math.log10(40), math.log10(0.02), 18).tolist(), 0.0]
        count, shape, side = grid * grid, self.plan.unet, self.plan.crop
        noise = SampleNoise(self.plan.seed, [(i,) for i in range(count)], self.device)
        x = levels[0] * noise((count, shape.channels, side, side)).float()
        label = torch.arange(count, device=self.device) % shape.classes if shape.classes else None
        for sigma, lower in itertools.pairwise(levels):
            D = prior(x, torch.tensor(sigma), label)
            x = D + lower / sigma * (x - D)
        tiles = x.unflatten(0, (grid, grid)).permute(2, 0, 3, 1, 4)
        return tiles.reshape(shape.channels, grid * side, grid * side)
