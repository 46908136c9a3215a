"""Training a prior on a folder of pictures; stops and resumes at any moment.

Noise is added with ln sigma drawn from a Gaussian; the network knows its loss. A classifier of
noisy pictures is trained in the same way.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    section 5. https://arxiv.org/abs/2206.00364
"""

import copy
import itertools
import math
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .datasets import Photographs
from .errors import FileError, SettingError
from .media import check_file, to_image, whole_file
from .muon import Muon
from .priors.classifier import NoisyClassifier
from .priors.unet import TRAINED, UNetDenoiser, UNetShape
from .tensors import SampleNoise

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
        check_file(path, "a training plan")
        try:
            table = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileError(
                f"Wanted TOML, but {path} is not ({error}). Mend that line."
            ) from error
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


class Training:
    """The state of a training: network, optimisers, running mean, time spent.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that
            is already there is taken up.
        device: Where to compute; by default a GPU if there is one.
    """

    def __init__(self, plan: TrainingPlan, folder: Path, device: str | None = None) -> None:
        self.plan = plan
        self.folder = folder
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(plan.seed)
        self.denoiser = NETWORKS[plan.network](plan.unet).to(self.device)
        self.ema = copy.deepcopy(self.denoiser).eval().requires_grad_(False)
        net = self.denoiser.net
        inner = [
            weight
            for name, weight in net.named_parameters()
            if weight.ndim == 4 and not name.startswith(("stem", "head"))
        ]
        chosen = {id(weight) for weight in inner}
        rest = [weight for weight in net.parameters() if id(weight) not in chosen]
        self.muon = Muon(inner, plan.rate)
        self.adam = torch.optim.AdamW(rest, plan.rate_rest, betas=(0.9, 0.99), weight_decay=1e-4)
        self.step, self.seconds = 0, 0.0
        if self._state_file.exists():
            self._resume()

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.pt"

    @property
    def done(self) -> bool:
        return self.seconds >= 3600 * self.plan.hours

    def run(
        self,
        report: Callable[[Progress], None],
        report_every: float = 10.0,
        save_every: float = 300.0,
    ) -> None:
        """Trains until the plan's time is spent, and saves, also when it is interrupted.

        Args:
            report: Called with the progress.
            report_every: Seconds between two reports.
            save_every: Seconds between two saves.
        """
        plan = self.plan
        photographs = Photographs(
            plan.photographs, plan.crop, plan.unet.channels, plan.unet.classes, plan.mirror
        )
        now = reported = saved = time.monotonic()
        losses: list[float] = []
        try:
            while not self.done:
                losses.append(self._update(*photographs.draw_labelled(plan.batch, self._seed)))
                self.step += 1
                now, before = time.monotonic(), now
                self.seconds += now - before
                if now - reported > report_every or self.done:
                    speed = len(losses) * plan.batch / (now - reported)
                    mean = sum(losses) / len(losses)
                    crops = self.step * plan.batch
                    report(Progress(self.step, crops, mean, self.seconds, speed))
                    reported, losses = now, []
                if now - saved > save_every:
                    self.save()
                    saved = now = time.monotonic()
        finally:
            self.save()

    @property
    def _seed(self) -> int:
        return self.plan.seed * 1_000_003 + self.step

    def _update(self, x0: Tensor, label: Tensor) -> float:
        rate = self._rate()
        self.muon.param_groups[0]["lr"] = rate * self.plan.rate
        self.adam.param_groups[0]["lr"] = rate * self.plan.rate_rest
        generator = torch.Generator().manual_seed(self._seed)
        z = torch.randn(len(x0), generator=generator)
        sigma = (z * self.plan.log_sigma_std + self.plan.log_sigma_mean).exp().clamp(*TRAINED)
        noise = torch.randn(x0.shape, generator=generator)
        hidden = torch.rand(len(x0), generator=generator) < self.plan.label_dropout
        label = torch.where(hidden, self.plan.unet.classes, label)
        loss = self.denoiser.loss(*(part.to(self.device) for part in (x0, sigma, noise, label)))
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        for optimiser in (self.muon, self.adam):
            optimiser.step()
            optimiser.zero_grad()
        decay = min(self.plan.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, weight in zip(
                self.ema.parameters(), self.denoiser.parameters(), strict=True
            ):
                mean.lerp_(weight, 1 - decay)
        return float(loss.detach())

    def _rate(self) -> float:
        """Share of the full learning rate: up over 20 steps, flat, then linearly down to 0."""
        spent = self.seconds / (3600 * self.plan.hours)
        return min(1.0, (self.step + 1) / 20, (1 - spent) / (1 - self.plan.flat))

    def save(self) -> None:
        """Writes state, prior and a grid of samples, each whole or not at all."""
        state = {
            "denoiser": self.denoiser.state_dict(),
            "ema": self.ema.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with whole_file(self._state_file) as path:
            torch.save(state, path)
        with whole_file(self.folder / "prior.safetensors") as path:
            self.ema.save(path)
        if isinstance(self.ema, UNetDenoiser):
            with whole_file(self.folder / "samples.png") as path:
                to_image(self._samples(self.ema)).save(path)

    def _resume(self) -> None:
        try:
            state: dict[str, Any] = torch.load(
                self._state_file, map_location=self.device, weights_only=True
            )
            self.denoiser.load_state_dict(state["denoiser"])
            self.ema.load_state_dict(state["ema"])
            self.muon.load_state_dict(state["muon"])
            self.adam.load_state_dict(state["adam"])
            self.step, self.seconds = state["step"], state["seconds"]
        except Exception as error:
            raise FileError(
                f"Wanted the state of this training, but {self._state_file} does not fit the plan "
                f"({str(error).splitlines()[0]}). Choose another folder with -o."
            ) from error

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
