"""Training a motion prior on folders of clips; stops and resumes at any moment.

A folder of clips holds a folder for every class of motion. Crops of 60 frames are drawn from
the clips, from their mirror images and from both played slower and faster, and are moved to
start over the origin, facing x.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...course import Course, Plan
from ...errors import FileError
from ...files import whole_file
from .features import WINDOW, canonical, encode
from .prior import HIGH, LOW, MotionPrior, NetworkShape, feature_scale
from .windows import read_at

SPEEDS = (0.85, 0.92, 1.0, 1.08, 1.15)


@dataclass(frozen=True)
class Crops:
    """The clips, as features, one after the other, and where crops may start.

    Attributes:
        classes: The names of the folders.
        features: ``(frames, 106)``.
        starts: ``(crops,)``.
        labels: The class of each crop.
        weights: How often each is drawn: a class as the square root of its length.
    """

    classes: tuple[str, ...]
    features: Float[Tensor, "frames features"]
    starts: Int[Tensor, " crops"]
    labels: Int[Tensor, " crops"]
    weights: Float[Tensor, " crops"]

    @classmethod
    def read(cls, folder: Path, classes: tuple[str, ...], speeds: tuple[float, ...]) -> "Crops":
        """Reads every clip of the classes.

        Raises:
            FileError: There is no clip, or one is broken.
        """
        parts, starts, labels, end = [], [], [], 0
        for label, name in enumerate(classes):
            for path in sorted((folder / name).glob("*.*")):
                for clip in read_at(path, speeds):
                    for motion in (clip, clip.mirrored()):
                        parts.append(encode(motion.qpos).float())
                        count = len(motion) - WINDOW + 1
                        starts.append(end + torch.arange(count))
                        labels.append(torch.full((count,), label))
                        end += len(motion)
        if not parts:
            raise FileError(
                f"Wanted a folder for each class of motion, with clips in it, but {folder} has "
                "none. Run scripts/gather_motion.py."
            )
        label = torch.cat(labels)
        weights = torch.bincount(label, minlength=len(classes)).float().rsqrt()[label]
        return cls(classes, torch.cat(parts), torch.cat(starts), label, weights)

    def at(self, rows: Int[Tensor, " batch"]) -> Float[Tensor, "batch frames features"]:
        return canonical(self.features[self.starts[rows, None] + torch.arange(WINDOW)])


def class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob("*/") if any(path.glob("*.*"))))


@dataclass(frozen=True, kw_only=True)
class MotionPlan(Plan):
    """What a training TOML file says of motions, beyond :class:`.course.Plan`.

    Attributes:
        clips: Folder with a folder of clips for each class.
        held_out: Another such folder, never trained on; reports tell its error.
        unlabelled: Share of the crops whose class is hidden.
        network: Its shape.
    """

    example: ClassVar[str] = "training/motion.toml"

    clips: Path
    held_out: Path
    hours: float = 1.0
    rate: float = 0.02
    rate_rest: float = 0.002
    ema: float = 0.999
    unlabelled: float = 0.3
    log_sigma_mean: float = -0.5
    log_sigma_std: float = 1.5
    network: NetworkShape = field(default_factory=NetworkShape)


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Updates so far.
        loss: Mean loss since the last report.
        held_out: Root mean square error on held-out clips at sigma = 0.1, 1 and 5.
        seconds: Time trained so far, over every resumption.
    """

    step: int
    loss: float
    held_out: tuple[float, ...]
    seconds: float

    def __str__(self) -> str:
        errors = " / ".join(f"{error:.3f}" for error in self.held_out)
        return f"step {self.step}  loss {self.loss:.4f}  held out {errors}"


class MotionTraining(Course[Progress]):
    """A training on clips.

    Args:
        plan: What to do.
        folder: Where ``state.pt`` and ``prior.safetensors`` go. A state that is already there
            is taken up.
    """

    warm_up = 50
    stored_as = "prior"

    def __init__(self, plan: MotionPlan, folder: Path) -> None:
        self.plan = plan
        torch.manual_seed(plan.seed)
        self.crops = Crops.read(plan.clips, class_names(plan.clips), SPEEDS)
        self.held_out = Crops.read(plan.held_out, self.crops.classes, (1.0,))
        generator = torch.Generator().manual_seed(plan.seed)
        rows = torch.randperm(len(self.crops.starts), generator=generator)[:2000]
        sample = self.crops.at(rows)
        scale = feature_scale(sample)
        mean = sample.mean((0, 1))
        self.prior = MotionPrior(plan.network, self.crops.classes, mean, scale)
        inner = [
            weight
            for block in self.prior.network.blocks
            for name, weight in block.named_parameters()
            if not name.startswith("condition")
        ]
        super().__init__(plan, folder, self.prior, inner)

    @property
    def ema(self) -> MotionPrior:
        """The running mean."""
        return cast("MotionPrior", self._mean)

    def prepare(self) -> None:
        """The clips are read already: the prior is built for their classes and their scale."""

    def loss(self) -> Tensor:
        plan = self.plan
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.multinomial(self.crops.weights, plan.batch, generator=generator)
        x0 = self.prior.normalise(self.crops.at(rows))
        hidden = torch.rand(plan.batch, generator=generator) < plan.unlabelled
        label = torch.where(hidden, len(self.crops.classes), self.crops.labels[rows])
        z = torch.randn(plan.batch, generator=generator)
        sigma = (z * plan.log_sigma_std + plan.log_sigma_mean).exp().clamp(LOW / 2, HIGH)
        noise = torch.randn(x0.shape, generator=generator)
        error = self.prior.denoise(x0 + sigma.view(-1, 1, 1) * noise, sigma, label) - x0
        weight = (1 + sigma**-2).clamp(max=6).view(-1, 1, 1)
        return (weight * error.square()).mean() + 2 * (weight * error.diff(dim=1).square()).mean()

    @torch.no_grad()
    def told(self, losses: list[float], seconds: float, count: int = 64) -> Progress:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(len(self.held_out.starts), (count,), generator=generator)
        x0 = self.ema.normalise(self.held_out.at(rows))
        noise = torch.randn(x0.shape, generator=generator)
        label, found = self.held_out.labels[rows], []
        for sigma in (0.1, 1.0, 5.0):
            D = self.ema.denoise(x0 + sigma * noise, torch.full((count,), sigma), label)
            found.append(math.sqrt(float((D - x0).square().mean())))
        return Progress(self.step, sum(losses) / len(losses), tuple(found), self.seconds)

    def save_prior(self) -> None:
        with whole_file(self.folder / self.file) as path:
            self.ema.save(path)
