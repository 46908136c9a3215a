"""A prior of human motion: a transformer over frames that predicts the clean motion.

Signals are windows of 60 frames at 30 a second, ``(batch, 60, 106)``: see :mod:`.features`,
normalised. The network predicts x0 itself, for noise of full rank is more than a narrow network
can put out; what it says and what it is given are averaged with their precisions,

    D = (a^2 x + sigma^2 F(x / sqrt(sigma^2 + 1), ln sigma)) / (a^2 + sigma^2),

a being the error that the network is left with at low noise.

References:
    Tevet et al., Human Motion Diffusion Model, ICLR 2023. https://arxiv.org/abs/2209.14916
    Peebles and Xie, Scalable Diffusion Models with Transformers, 2023 (adaptive layer norm).
    https://arxiv.org/abs/2212.09748
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ...errors import FileError, SettingError
from ...priors import checkpoint, zoo
from ...priors.base import check_label
from ...tensors import Label, Level, Signal
from .features import POINTS, ROOT, SIZE, WINDOW

LOW, HIGH = 0.03, 20.0
"""The lowest and the highest noise level."""

FLOOR = 0.05
"""a: the error of the network at low noise, in normalised features."""


@dataclass(frozen=True)
class NetworkShape:
    """The size of the network.

    Attributes:
        width: Channels.
        layers: Transformer blocks.
        heads: Of the attention.
        patch: Frames of a token.
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    patch: int = 2


class Block(nn.Module):
    """Attention and a two-layer network, each scaled by what the condition says."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.condition = nn.Linear(width, 4 * width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        scale1, shift1, scale2, shift2 = self.condition(condition)[:, None].chunk(4, -1)
        z = functional.rms_norm(h, h.shape[-1:]) * (1 + scale1) + shift1
        q, k, v = self.qkv(z).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + self.project(mixed)
        z = functional.rms_norm(h, h.shape[-1:]) * (1 + scale2) + shift2
        return h + self.down(functional.gelu(self.up(z)))


class Network(nn.Module):
    """F: noisy features, ln sigma and a class -> clean features."""

    def __init__(self, shape: NetworkShape, classes: int) -> None:
        super().__init__()
        width = shape.width
        self.patch = shape.patch
        self.enter = nn.Linear(SIZE * shape.patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(WINDOW // shape.patch, width))
        self.level = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(Block(width, shape.heads) for _ in range(shape.layers))
        self.leave = nn.Linear(width, SIZE * shape.patch)

    def forward(self, x: Tensor, log_sigma: Tensor, label: Tensor) -> Tensor:
        waves = torch.exp(torch.linspace(-1, math.log(30), 32, device=x.device))
        phase = log_sigma[:, None] * waves
        condition = self.level(torch.cat([phase.sin(), phase.cos()], 1)) + self.label(label)
        h = self.enter(x.unflatten(1, (-1, self.patch)).flatten(2)) + self.place
        for block in self.blocks:
            h = block(h, condition)
        h = self.leave(functional.rms_norm(h, h.shape[-1:]))
        return h.unflatten(2, (self.patch, SIZE)).flatten(1, 2)


class MotionPrior(nn.Module):
    """E[x0 | x] of windows of motion; a denoiser.

    Args:
        shape: Of the network.
        labels: The names of the kinds of motion, in the order of their numbers.
        mean: Of the features.
        scale: What one unit of a normalised feature is.
    """

    kind: ClassVar[str] = "motion"
    in_tiles: ClassVar[bool] = False
    channels: ClassVar[int] = SIZE
    size: ClassVar[int] = 0
    sigma_range: ClassVar[tuple[float, float]] = (LOW, HIGH)

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: NetworkShape,
        labels: tuple[str, ...],
        mean: Float[Tensor, " features"] | None = None,
        scale: Float[Tensor, " features"] | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.labels = labels
        self.network = Network(shape, len(labels))
        self.register_buffer("mean", torch.zeros(SIZE) if mean is None else mean.float())
        self.register_buffer("scale", torch.ones(SIZE) if scale is None else scale.float())

    @property
    def classes(self) -> int:
        """How many kinds of motion it knows."""
        return len(self.labels)

    def forward(self, x: Signal, sigma: Level, label: Label | None = None) -> Signal:
        check_label(label, self.classes)
        if label is None:
            label = torch.full((len(x),), self.classes, device=x.device)
        return self.denoise(x, sigma.to(x).expand(len(x)), label)

    def denoise(self, x: Signal, sigma: Float[Tensor, " batch"], label: Tensor) -> Signal:
        """E[x0 | x] with a level and a class for each row; in the precision of x."""
        level = sigma.view(-1, 1, 1)
        inner = (x * (level**2 + 1).rsqrt()).to(self.mean)
        clean = self.network(inner, sigma.log().to(self.mean), label).to(x)
        return torch.lerp(x, clean, level**2 / (level**2 + FLOOR**2))

    def normalise(self, features: Tensor) -> Tensor:
        return (features - self.mean.to(features)) / self.scale.to(features)

    def denormalise(self, x: Tensor) -> Tensor:
        """Features in metres from normalised ones."""
        return x * self.scale.to(x) + self.mean.to(x)

    def save(self, path: Path) -> None:
        """Writes weights in half precision, and what a card says of them, to one file."""
        weights = {
            name: value.half() if name.startswith("network") else value
            for name, value in self.state_dict().items()
        }
        build = {
            "shape": asdict(self.shape),
            "labels": list(self.labels),
            "classes": self.classes,
            "channels": SIZE,
            "sigma_min": LOW,
            "sigma_max": HIGH,
            "data_variance": 1.0,
        }
        checkpoint.write(path, self.kind, build, weights)

    @classmethod
    def load(cls, path: Path) -> "MotionPrior":
        """Reads what ``save`` wrote; the file holds no code.

        Raises:
            FileError: It is not such a file.
        """
        kind, build, state = checkpoint.read(path)
        try:
            if kind != cls.kind:
                raise ValueError(f"it holds a {kind}")
            shape = NetworkShape(**build["shape"])
            with torch.device("meta"):
                prior = cls(shape, tuple(str(name) for name in build["labels"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FileError(
                f"Wanted a motion prior written by `hdagger motion train`, but {path} is not one "
                f"({str(error).splitlines()[0]}). Point at the prior.safetensors of a training."
            ) from error
        checkpoint.fit(prior, state, path)
        return prior.eval().requires_grad_(False)


def motion_prior(name: str) -> MotionPrior:
    """The prior of motions that a recipe calls so.

    Raises:
        SettingError: It is a prior of other signals, or there is none.
    """
    card = zoo.card(name)
    prior = zoo.load(card)
    if not isinstance(prior, MotionPrior):
        raise SettingError(
            f"Wanted a prior of motions, but {name} is one of {card.subject}. Try --prior motion."
        )
    return prior


def feature_scale(
    features: Float[Tensor, "windows frames features"],
) -> Float[Tensor, " features"]:
    """What one unit of a normalised feature is.

    Standard deviations, the same for all coordinates of a kind; a third of that for the root's
    position, which every world position hangs on.
    """
    scale = features.flatten(0, 1).std(0)
    scale[ROOT] = scale[ROOT].max() / 3
    scale[POINTS] = scale[POINTS].max()
    return scale.clamp(min=0.05)
