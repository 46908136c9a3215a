"""The course of a U-Net that learns to denoise; what it learns from is a domain's own.

Noise is added with ln sigma drawn from a Gaussian; the network knows its loss. Stops and resumes
at any moment.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    section 5. https://arxiv.org/abs/2206.00364
"""

import abc
import itertools
import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .course import Course, Plan
from .files import whole_file
from .priors.classifier import NoisyClassifier
from .priors.unet import TRAINED, OfPictures, UNetDenoiser, UNetShape
from .tensors import Label, SampleNoise, Signal, device_at_hand

AT_THE_SIGNAL = {"stem", "head", "spread", "critic"}
"""Parts of a network that AdamW moves: what touches the signal, and a critic, which must not run
ahead of the generator that it teaches."""

DRAWING = {"cpu": 0, "cuda": max(1, (os.cpu_count() or 1) - 2)}
"""Processes that draw examples ahead, by the device that learns from them."""


@dataclass(frozen=True, kw_only=True)
class DenoisingPlan(Plan):
    """What a training TOML file says of a U-Net, beyond :class:`.course.Plan`.

    Attributes:
        coarse: Share of the signals whose ln sigma is uniform instead, from the level of the
            clean signals to the highest, where large structure is decided.
        bfloat16: Whether the network computes in bfloat16 while it learns (its weights stay in
            float32): twice as fast on a CPU with avx512_bf16.
        start: A smaller prior to begin from, which may have more channels; what the network has
            beyond it adds nothing at first.
        unet: The shape of the network.
    """

    coarse: float = 0.0
    bfloat16: bool = False
    start: Path | None = None
    unet: UNetShape = field(default_factory=UNetShape)


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Updates so far.
        crops: Signals seen so far; a larger one counts as those of the first size that it holds.
        loss: Mean loss since the last report.
        seconds: Time trained so far, over every resumption.
        crops_per_second: Since the last report.
    """

    step: int
    crops: int
    loss: float
    seconds: float
    crops_per_second: float

    def __str__(self) -> str:
        return (
            f"step {self.step}  crops {self.crops}  loss {self.loss:.4f}  "
            f"{self.crops_per_second:.0f} crops/s"
        )


class DenoisingCourse(Course[Progress]):
    """A training of a network on noisy signals.

    Args:
        plan: What to do.
        folder: Where ``state.pt``, ``prior.safetensors`` and ``samples.png`` go. A state that is
            already there is taken up.
        network: What is trained.
        device: Where to compute; by default a GPU if there is one.
    """

    warm_up = 20
    stored_as = "denoiser"

    def __init__(
        self, plan: DenoisingPlan, folder: Path, network: OfPictures, device: str | None = None
    ) -> None:
        self.device = device or device_at_hand()
        self._denoising, self.denoiser = plan, network.to(self.device)
        if plan.start and isinstance(network, UNetDenoiser):
            network.grow(UNetDenoiser.load(plan.start))
        inner = [
            weight
            for name, weight in network.net.named_parameters()
            if weight.ndim == 4 and not AT_THE_SIGNAL & set(name.split("."))
        ]
        super().__init__(plan, folder, network, inner)

    @property
    def ema(self) -> OfPictures:
        """The running mean."""
        return cast("OfPictures", self._mean)

    @abc.abstractmethod
    def examples(self, generator: torch.Generator) -> tuple[Signal, Label]:
        """Clean signals for the next update, and their labels, on the device."""

    def ahead(self, draw: Callable[[int], tuple[Signal, Label]]) -> Iterator[tuple[Signal, Label]]:
        """What ``draw`` makes of the seeds of this update and of those that follow.

        A GPU learns faster than one process draws: there, others draw for updates to come.
        """
        kind = torch.device(self.device).type
        loader = DataLoader(
            _BySeed(draw),
            batch_size=None,
            sampler=cast("Any", map(self.seed_of, itertools.count(self.step))),
            num_workers=DRAWING.get(kind, 0),
            worker_init_fn=_deaf,
            pin_memory=kind == "cuda",
        )
        for x0, label in loader:
            yield x0.to(self.device, non_blocking=True), label.to(self.device)

    @property
    @abc.abstractmethod
    def side(self) -> int:
        """Of the samples that are drawn to look at."""

    @abc.abstractmethod
    def picture(self, x: Float[Tensor, "channels height width"]) -> Image.Image:
        """What a grid of samples looks like."""

    def save_prior(self) -> None:
        """Writes the prior and, of one that denoises, a grid of samples."""
        with whole_file(self.folder / self.file) as path:
            self.ema.save(path)
        if isinstance(self.ema, UNetDenoiser):
            with whole_file(self.folder / "samples.png") as path:
                self.picture(self.drawn(self.ema, self.side).cpu()).save(path)

    def loss(self) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(self.seed)
        half = self._denoising.bfloat16
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, half):
            return self.lesson(generator)

    def lesson(self, generator: torch.Generator) -> Tensor:
        """The loss of an update, all of whose chance is the generator's."""
        x0, label = self.examples(generator)
        sigma = self._levels(len(x0), generator)
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        assert isinstance(self.denoiser, UNetDenoiser | NoisyClassifier)
        return self.denoiser.loss(x0, sigma, noise, label)

    def _levels(self, count: int, generator: torch.Generator) -> Tensor:
        plan = self._denoising
        z = torch.randn(count, generator=generator, device=self.device)
        u, chance = torch.rand(2, count, generator=generator, device=self.device)
        low, high = math.log(plan.unet.sigma_data), math.log(TRAINED[1])
        fine = z * plan.log_sigma_std + plan.log_sigma_mean
        coarse = low + (high - low) * u
        return torch.where(chance < plan.coarse, coarse, fine).exp().clamp(*TRAINED)

    def told(self, losses: list[float], seconds: float) -> Progress:
        batch = self._denoising.batch
        return Progress(
            self.step,
            self.step * batch,
            sum(losses) / len(losses),
            self.seconds,
            len(losses) * batch / seconds,
        )

    @torch.no_grad()
    def drawn(self, prior: UNetDenoiser, side: int, grid: int = 4) -> Tensor:
        """Samples by DDIM, 18 steps, as one picture; with classes, each row goes through them."""
        levels = [*torch.logspace(math.log10(40), math.log10(0.02), 18).tolist(), 0.0]
        count, shape = grid * grid, self._denoising.unet
        noise = SampleNoise(self._denoising.seed, [(i,) for i in range(count)], self.device)
        x = levels[0] * noise((count, shape.channels, side, side)).float()
        label = torch.arange(count, device=self.device) % shape.classes if shape.classes else None
        for sigma, lower in itertools.pairwise(levels):
            D = prior(x, torch.tensor(sigma), label)
            x = D + lower / sigma * (x - D)
        tiles = x.unflatten(0, (grid, grid)).permute(2, 0, 3, 1, 4)
        return tiles.reshape(shape.channels, grid * side, grid * side)


class _BySeed(Dataset[tuple[Signal, Label]]):
    """The examples of an update by its seed."""

    def __init__(self, draw: Callable[[int], tuple[Signal, Label]]) -> None:
        self.draw = draw

    def __getitem__(self, seed: int) -> tuple[Signal, Label]:
        with torch.autocast("cpu", enabled=False):  # which this process may be in, and others not
            return self.draw(seed)


def _deaf(worker: int) -> None:
    """Ctrl-C stops the training, which then lets go of those that draw."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@runtime_checkable
class Source(Protocol):
    """Where clean signals come from."""

    def draw(self, count: int, seed: int) -> Tensor:
        """``count`` signals, ``(count, *signal)``, the same for the same seed."""
        ...


@dataclass(frozen=True, kw_only=True)
class SourcePlan(DenoisingPlan):
    """A plan for signals without labels, square pictures of one size.

    Attributes:
        side: Pixels a side.
    """

    side: int


class SourceCourse(DenoisingCourse):
    """A training on signals that a source draws.

    Args:
        plan: What to do.
        folder: See :class:`DenoisingCourse`.
    """

    def __init__(self, plan: SourcePlan, folder: Path) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        super().__init__(plan, folder, UNetDenoiser(plan.unet))

    @abc.abstractmethod
    def source(self) -> Source:
        """Opens where the signals come from."""

    def prepare(self) -> None:
        signals, count = self.source(), self.plan.batch
        label = torch.zeros(count, dtype=torch.long)
        self._ahead = self.ahead(lambda seed: (signals.draw(count, seed), label))

    def examples(self, generator: torch.Generator) -> tuple[Signal, Label]:
        return next(self._ahead)

    @property
    def side(self) -> int:
        return self.plan.side
