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
from .writing import to_image

NETWORKS = {"denoiser": UNetDenoiser, "classifier": NoisyClassifier}


@dataclass(frozen=True)
class TrainingPlan:
    """What a training TOML file says.

    Attributes:
        photographs: Folder of pictures to train on.
        hours: Time to train in all, over every resumption; the learning rate falls to 0 by then.
        batch: Crops for each update; fewer where they are larger than the first stage's, so
            that all updates see about as many pixels.
        crops: Sides of the crops in stages of the same length.
        rate: Learning rate of Muon, for the convolutions.
        rate_rest: Learning rate of AdamW, for biases and what touches the pixels.
        flat: Share of the time at the full learning rate.
        ema: Decay of the running mean of the weights, which is what is kept.
        log_sigma_mean: Mean of ln sigma.
        log_sigma_std: Standard deviation of ln sigma.
        coarse: Share of the crops whose ln sigma is uniform instead, from the level of the clean
            pictures to the highest, where large structure is decided.
        mirror: Whether half of the crops are mirrored.
        label_dropout: Share of the crops whose label is hidden, so that the prior also learns
            to do without. Labels are those of the folders in ``photographs``.
        seed: Of the weights, the crops and the noise.
        start: A smaller prior to begin from; what the network has beyond it adds nothing at first.
        bfloat16: Whether the network computes in bfloat16 while it learns (its weights stay in
            float32): twice as fast on a CPU with avx512_bf16.
        network: ``"denoiser"`` makes a prior, ``"classifier"`` what can guide one.
        unet: The shape of the network.
    """

    photographs: Path
    hours: float = 2.0
    batch: int = 32
    crops: tuple[int, ...] = (64,)
    rate: float = 0.005
    rate_rest: float = 0.001
    flat: float = 0.3
    ema: float = 0.995
    log_sigma_mean: float = -1.4
    log_sigma_std: float = 1.4
    coarse: float = 0.0
    mirror: bool = True
    label_dropout: float = 0.0
    seed: int = 0
    start: Path | None = None
    bfloat16: bool = False
    network: str = "denoiser"
    unet: UNetShape = field(default_factory=UNetShape)

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise SettingError(
                f"Wanted a network, {' or '.join(NETWORKS)}, but got {self.network!r}."
            )
        if self.start and self.network != "denoiser":
            raise SettingError("Wanted a denoiser to go with start. Leave start out.")

    @classmethod
    def read(cls, path: Path) -> "TrainingPlan":
        """Reads a TOML file; ``photographs`` and ``start`` are relative to it.

        Raises:
            FileError: It is not TOML.
            SettingError: It names something unknown, or misses the photographs.
        """
        table = read_plan(path)
        shape = table.pop("unet", {})
        if "widths" in shape:
            shape["widths"] = tuple(shape["widths"])
        if "crops" in table:
            table["crops"] = tuple(table["crops"])
        if "start" in table:
            table["start"] = path.parent / table["start"]
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
        crops: Crops seen so far; a larger one counts as those of the first stage that it holds.
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
        if plan.start and isinstance(self.denoiser, UNetDenoiser):
            self.denoiser.grow(UNetDenoiser.load(plan.start))
        inner = [
            weight
            for name, weight in self.denoiser.net.named_parameters()
            if weight.ndim == 4 and not name.startswith(("stem", "head", "spread"))
        ]
        super().__init__(plan, folder, self.denoiser, inner)

    @property
    def ema(self) -> UNetDenoiser | NoisyClassifier:
        """The running mean."""
        return cast("UNetDenoiser | NoisyClassifier", self._mean)

    def prepare(self) -> None:
        plan = self.plan
        photographs = Photographs(
            plan.photographs, min(plan.crops), plan.unet.channels, plan.unet.classes, plan.mirror
        )
        self.stages = [photographs.cut(crop) for crop in plan.crops]

    def loss(self) -> Tensor:
        plan = self.plan
        photographs = self.stages[min(int(self.spent * len(self.stages)), len(self.stages) - 1)]
        count = max(1, round(plan.batch * (plan.crops[0] / photographs.crop) ** 2))
        x0, label = photographs.draw_labelled(count, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        sigma = self._levels(count, generator)
        noise = torch.randn(x0.shape, generator=generator)
        hidden = torch.rand(len(x0), generator=generator) < plan.label_dropout
        label = torch.where(hidden, plan.unet.classes, label)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, plan.bfloat16):
            return self.denoiser.loss(*(p.to(self.device) for p in (x0, sigma, noise, label)))

    def _levels(self, count: int, generator: torch.Generator) -> Tensor:
        plan = self.plan
        z = torch.randn(count, generator=generator)
        u, chance = torch.rand(2, count, generator=generator)
        low, high = math.log(plan.unet.sigma_data), math.log(TRAINED[1])
        fine = z * plan.log_sigma_std + plan.log_sigma_mean
        coarse = low + (high - low) * u
        return torch.where(chance < plan.coarse, coarse, fine).exp().clamp(*TRAINED)

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
        count, shape, side = grid * grid, self.plan.unet, self.plan.crops[-1]
        noise = SampleNoise(self.plan.seed, [(i,) for i in range(count)], self.device)
        x = levels[0] * noise((count, shape.channels, side, side)).float()
        label = torch.arange(count, device=self.device) % shape.classes if shape.classes else None
        for sigma, lower in itertools.pairwise(levels):
            D = prior(x, torch.tensor(sigma), label)
            x = D + lower / sigma * (x - D)
        tiles = x.unflatten(0, (grid, grid)).permute(2, 0, 3, 1, 4)
        return tiles.reshape(shape.channels, grid * side, grid * side)
