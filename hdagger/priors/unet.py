"""A small U-Net for photographs, and the denoiser that it makes.

The network has no normalisation over space, so a pixel's prediction depends on its
neighbourhood alone: the picture may have any size, and tiles agree where they overlap.
Most of its work is done at half the resolution, by plain 3x3 convolutions, which is where a
CPU is fast.

References:
    Ronneberger, Fischer and Brox, U-Net, 2015. https://arxiv.org/abs/1505.04597
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    table 1: the preconditioning. https://arxiv.org/abs/2206.00364
    Zhang, Zuo and Zhang, FFDNet, 2018: working on the unshuffled picture.
    https://arxiv.org/abs/1710.04026
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import FileError, SettingError
from ..files import brief
from ..tensors import Label, Signal
from . import checkpoint
from .base import check_label


@dataclass(frozen=True)
class UNetShape:
    """The shape of the network.

    Attributes:
        channels: Channels of the picture.
        widths: Channels of each level, from half the resolution down.
        down: Residual blocks at each level on the way down.
        up: Residual blocks at each level on the way up.
        finest: How many more there are at half the resolution, where texture is decided.
        embedding: Width of the embedding of the noise level.
        attended: The level with the attention: 1 for the lowest, 2 for that above it.
        heads: Heads of the attention.
        sigma_data: Standard deviation of a pixel of the clean pictures.
        classes: How many labels there are; 0 for pictures without labels.
        spread: Whether the network also tells the variance of its prediction.
        stretch: Whether the network is also shown arcsinh(x / sigma), in which what is faint is as
            clear as what is a thousand times brighter.
        given: Channels of a picture that is given beside the noisy one, such as the data.
        side: Of the pictures, where they have one size; 0 for any.
    """

    channels: int = 3
    widths: tuple[int, ...] = (64, 96, 160, 192)
    down: int = 1
    up: int = 2
    finest: int = 0
    embedding: int = 160
    heads: int = 4
    sigma_data: float = 0.5
    classes: int = 0
    attended: int = 1
    spread: bool = False
    stretch: bool = False
    given: int = 0
    side: int = 0

    @property
    def shown(self) -> int:
        """Channels that the network sees."""
        return self.channels * (1 + self.stretch) + self.given

    @property
    def stride(self) -> int:
        """Pixels of the picture to one of the lowest level."""
        return 2 ** len(self.widths)


class ResidualBlock(nn.Module):
    """x + conv(silu(scale * conv(x) + shift)), scale and shift told by the noise level."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.level = nn.Linear(embedding, 2 * width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _zero(self.level)
        _zero(self.second)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level)[:, :, None, None].chunk(2, dim=1)
        return x + self.second(functional.silu(self.first(x) * (1 + scale) + shift))


class Stage(nn.ModuleList):
    """Residual blocks, one after the other."""

    def __init__(self, width: int, count: int, embedding: int) -> None:
        super().__init__(ResidualBlock(width, embedding) for _ in range(count))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        for block in self:
            x = block(x, level)
        return x


class Attention(nn.Module):
    """Each place looks at all the others; its input is scaled to unit power."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        _zero(self.out)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        unit = x * (x.square().mean(dim=1, keepdim=True) + 1e-4).rsqrt()
        q, k, v = (
            self.qkv(unit).unflatten(1, (3, self.heads, -1)).flatten(4).transpose(-1, -2).unbind(1)
        )
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        return x + self.out(seen.flatten(1, 2).unflatten(2, (height, width)))


class Encoder(nn.Module):
    """The way down: from a picture and the logarithm of its noise level to coarse features."""

    frequencies: Tensor

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        widths, embedding = shape.widths, shape.embedding
        self.register_buffer("frequencies", torch.logspace(-4, 4, 32, base=2), persistent=False)
        self.embed = nn.Sequential(
            nn.Linear(64, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.stem = nn.Conv2d(4 * shape.shown, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Stage(w, shape.down, embedding) for w in widths)
        self.reduce = nn.ModuleList(nn.Conv2d(4 * a, b, 1) for a, b in itertools.pairwise(widths))

    def embed_level(self, log_level: Float[Tensor, " batch"]) -> Float[Tensor, "batch embedding"]:
        angles = log_level[:, None] * self.frequencies
        return self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))

    def encode(self, x: Tensor, level: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The features at the lowest level, and those of each level above, from the top."""
        h, skips = self.stem(functional.pixel_unshuffle(x, 2)), []
        for depth, stage in enumerate(self.down):
            if depth:
                skips.append(h)
                h = self.reduce[depth - 1](functional.pixel_unshuffle(_even(h), 2))
            h = stage(h, level)
        return h, skips


class Spread(nn.Module):
    """From the features that make the picture to the logarithm of its variance, pixel by pixel."""

    def __init__(self, shape: UNetShape, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(shape.widths[0], width, 3, padding=1)
        self.level = nn.Linear(shape.embedding, 2 * width)
        self.second = nn.Conv2d(width, 4 * shape.channels, 3, padding=1)
        _zero(self.level)
        _zero(self.second)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level)[:, :, None, None].chunk(2, dim=1)
        inner = functional.silu(self.first(h) * (1 + scale) + shift)
        return functional.pixel_shuffle(self.second(inner), 2)


class UNet(Encoder):
    """From a picture, the logarithm of its noise level and a label to a picture.

    The label ``shape.classes``, one past the last, stands for "any".
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__(shape)
        widths, embedding = shape.widths, shape.embedding
        self.attention = Attention(widths[-shape.attended], shape.heads)
        self.enlarge = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            Stage(width, shape.up + (0 if depth else shape.finest), embedding)
            for depth, width in enumerate(widths)
        )
        self.head = nn.Conv2d(widths[0], 4 * shape.channels, 3, padding=1)
        self.label = nn.Embedding(shape.classes + 1, embedding) if shape.classes else None
        self.spread = Spread(shape) if shape.spread else None
        self.attended = len(widths) - shape.attended
        _zero(self.head)

    def forward(self, x: Tensor, log_level: Float[Tensor, " batch"], label: Label) -> Tensor:
        return self.picture(self.features(x, log_level, label)[0])

    def features(
        self, x: Tensor, log_level: Float[Tensor, " batch"], label: Label
    ) -> tuple[Tensor, Tensor]:
        """What the picture and its variance are made of, and the embedded level."""
        level = self.embed_level(log_level)
        if self.label is not None:
            level = level + self.label(label)
        h, skips = self.encode(x, level)
        for depth in reversed(range(len(self.up))):
            if depth == self.attended:
                h = self.attention(h)
            h = self.up[depth](h, level)
            if depth:
                above = skips.pop()
                h = above + _cut(functional.pixel_shuffle(self.enlarge[depth - 1](h), 2), above)
        return functional.silu(h), level

    def picture(self, features: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.head(features), 2)


TRAINED = (0.002, 100.0)
"""The noise levels of a training."""

LOG_VARIANCE = (-8.0, 2.0)
"""Of a prediction over c_out, where it is trusted; beyond, the training only leads it back."""

Kind = TypeVar("Kind", bound="OfPictures")


class OfPictures(nn.Module):
    """A network that is kept in one file with its shape.

    Args:
        shape: The shape of the network.

    Attributes:
        notes: What else the file says of it, as JSON has it.
    """

    kind: ClassVar[str]
    """What the file says that it holds."""

    architecture: ClassVar[Callable[[UNetShape], nn.Module]]
    net: Any

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        self.net = type(self).architecture(shape)
        self.notes: dict[str, Any] = {}

    def save(self, path: Path) -> None:
        """Writes weights, in half precision, shape and notes to one safetensors file."""
        weights = {name: value.half() for name, value in self.net.state_dict().items()}
        notes = {"notes": self.notes} if self.notes else {}
        checkpoint.write(path, self.kind, asdict(self.shape) | notes, weights)

    @classmethod
    def load(cls: type[Kind], path: Path) -> Kind:
        """Reads what ``save`` wrote; the file holds no code.

        Raises:
            FileError: It is not such a file.
        """
        kind, shape, weights = checkpoint.read(path)
        try:
            if kind != cls.kind:
                raise ValueError(f"it holds a {kind}")
            notes = shape.pop("notes", {})
            shape["widths"] = tuple(shape["widths"])
            made = UNetShape(**shape)
            _check_shape(made)
            if len(made.widths) * (made.down + made.up) + made.finest > len(weights):
                raise ValueError(f"{len(weights)} tensors are too few for its shape")
            with torch.device("meta"):
                wanted = cls(made).net.state_dict()
            if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in weights.items()}:
                raise ValueError("its tensors do not fit its shape")
            network = cls(made)
            network.net.load_state_dict({k: v.float() for k, v in weights.items()})
            network.notes = dict(notes)
        except Exception as error:  # whatever a shape that does not hold together leads to
            raise FileError(
                f"Wanted a {cls.kind} written by `hdagger train`, but {path} is not one "
                f"({brief(error)}). Point at the prior.safetensors of a training."
            ) from error
        return network.eval().requires_grad_(False)


class OfNoisyPictures(OfPictures):
    """A network that is shown c_in x and ln(sigma) / 4.

    Args:
        shape: The shape of the network.
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__(shape)
        self.channels, self.classes, self.size = shape.channels, shape.classes, 0
        self.sigma_range = TRAINED

    def shown(
        self, x: Signal, level: Tensor, given: Signal | None = None
    ) -> tuple[Tensor, Float[Tensor, " batch"]]:
        """What the network sees: x, of even sides, and ``level``, ``(batch, 1, 1, 1)``."""
        inner = x * (level**2 + self.shape.sigma_data**2).rsqrt()
        if self.shape.stretch:
            inner = torch.cat([inner, (x / level).asinh()], dim=1)
        if given is not None:
            inner = torch.cat([inner, given / self.shape.sigma_data], dim=1)
        weight = self.net.stem.weight
        inner = _even(inner).to(weight).contiguous(memory_format=torch.channels_last)
        return inner, level.flatten().log().to(weight) / 4


class UNetDenoiser(OfNoisyPictures):
    """D(x, sigma) = c_skip x + c_out net(c_in x, ln(sigma) / 4), for pictures in [-1, 1].

    Args:
        shape: The shape of the network.

    Example:
        >>> prior = UNetDenoiser(UNetShape(widths=(8, 16)))
        >>> prior(torch.zeros(1, 3, 5, 7), torch.tensor(0.5)).shape
        torch.Size([1, 3, 5, 7])
    """

    kind = "unet"
    architecture = UNet
    net: UNet

    def forward(
        self,
        x: Signal,
        sigma: Float[Tensor, "*rows"],
        label: Label | None = None,
        given: Signal | None = None,
    ) -> Signal:
        """E[x0 | x], in the precision of x; the network computes in its own.

        Args:
            x: Noisy pictures, ``(batch, channels, height, width)``, of any height and width.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
            label: The class of each, ``(batch,)``; None for any, which is the label past the last.
            given: What is given beside x, of its height and width, if ``shape.given``.
        """
        features, _ = self._features(x, sigma, self._checked(x, label), given)
        return self._mean(x, sigma, features)

    def moments(
        self, x: Signal, sigma: Float[Tensor, "*rows"], label: Label | None = None
    ) -> tuple[Signal, Signal | None]:
        """E[x0 | x] and, pixel by pixel, the variance of x0 about it given x.

        The second is what the network expects of its own squared error, so it includes what the
        network does not know; None if it was trained without ``spread``.
        """
        features, level = self._features(x, sigma, self._checked(x, label))
        if not self.shape.spread:
            return self._mean(x, sigma, features), None
        _, scale = self._coefficients(x, sigma)
        variance = scale**2 * self._log_variance(x, features, level).clamp(*LOG_VARIANCE).exp()
        return self._mean(x, sigma, features), variance

    def _checked(self, x: Signal, label: Label | None) -> Label:
        check_label(label, self.shape.classes)
        if label is None:
            return torch.full((len(x),), self.shape.classes, device=x.device)
        return label

    def _features(
        self,
        x: Signal,
        sigma: Float[Tensor, "*rows"],
        label: Label,
        given: Signal | None = None,
    ) -> tuple[Tensor, Tensor]:
        return self.net.features(*self.shown(x, _column(x, sigma), given), label)

    def _coefficients(self, x: Signal, sigma: Float[Tensor, "*rows"]) -> tuple[Tensor, Tensor]:
        """c_skip and c_out."""
        level, data = _column(x, sigma), self.shape.sigma_data
        total = level**2 + data**2
        return data**2 / total, level * data * total.rsqrt()

    def _mean(self, x: Signal, sigma: Float[Tensor, "*rows"], features: Tensor) -> Signal:
        skip, scale = self._coefficients(x, sigma)
        return skip * x + scale * _cut(self.net.picture(features), x)

    def _log_variance(self, x: Signal, features: Tensor, level: Tensor) -> Signal:
        """Of the mean over c_out. Nothing of what makes the mean learns from it."""
        assert self.net.spread is not None
        return _cut(self.net.spread(features.detach(), level.detach()), x)

    def loss(
        self,
        x0: Signal,
        sigma: Float[Tensor, " batch"],
        noise: Signal,
        label: Label,
        given: Signal | None = None,
    ) -> Tensor:
        """EDM's loss: the mean squared error, weighted to be of order one at every level.

        A network that tells its variance learns that by its Gaussian likelihood, weighted so
        little that the mean's gradient keeps its length when both are clipped; the optimisers do
        not mind. Each picture's squared error is then divided by what is expected of it, so that
        decibels count alike at all levels and in flat and rough pictures. The weight depends on
        nothing but the noisy picture, so the best prediction is still E[x0 | x].
        """
        x = x0 + _column(x0, sigma) * noise
        features, level = self._features(x, sigma, label, given)
        _, scale = self._coefficients(x, sigma)
        error = ((self._mean(x, sigma, features) - x0) / scale).square()
        if not self.shape.spread:
            return error.mean()
        log_variance = self._log_variance(x, features, level)
        inside = log_variance.clamp(*LOG_VARIANCE)
        likelihood = error.detach() * (-inside).exp() + inside + (log_variance - inside).abs()
        expected = inside.detach().exp().mean(dim=(1, 2, 3), keepdim=True)
        weight = 0.1 / expected.clamp(min=0.01)
        return (weight * error).mean() + 0.01 * likelihood.mean()

    @torch.no_grad()
    def grow(self, smaller: "UNetDenoiser") -> None:
        """Takes the weights of a smaller network, whose output is at first this one's.

        It may have fewer levels, and fewer blocks at each, of the same widths. It may have more
        channels: then the last one of this network stands for all that are left, alike.

        Raises:
            SettingError: It has something that this one has not, or of another width.
        """
        weights, own = smaller.net.state_dict(), self.net.state_dict()
        if not self.shape.stretch:
            for name, weight in weights.items():
                if name == "stem.weight":
                    weights[name] = _folded(weight, self.channels, 1, Tensor.sum)
                elif name.startswith(("head.", "spread.second.")):
                    weights[name] = _folded(weight, self.channels, 0, Tensor.mean)
        for name, weight in weights.items():
            if name not in own or own[name].shape != weight.shape:
                raise SettingError(
                    f"Wanted a smaller network to start from, but its {name} "
                    f"{tuple(weight.shape)} has no place in the larger one. Keep its widths and "
                    "attended level, and add levels and blocks."
                )
        self.net.load_state_dict(weights, strict=False)
        for layer in self.net.enlarge[len(smaller.net.enlarge) :]:
            assert isinstance(layer, nn.Conv2d)
            _zero(layer)


def _column(x: Signal, sigma: Float[Tensor, "*rows"]) -> Tensor:
    return sigma.to(x).expand(len(x)).view(-1, 1, 1, 1)


def _even(h: Tensor) -> Tensor:
    """With a row and a column more where theirs is an odd number."""
    height, width = h.shape[2:]
    return functional.pad(h, (0, width % 2, 0, height % 2), mode="replicate")


def _cut(out: Tensor, x: Tensor) -> Tensor:
    """Without what x was padded by, and in its precision."""
    return out[..., : x.shape[2], : x.shape[3]].to(x)


def _folded(weight: Tensor, channels: int, dim: int, alike: Callable[..., Tensor]) -> Tensor:
    """A weight for fewer channels, of which the last stands for all that are left."""
    each = weight.unflatten(dim, (-1, 4))
    if each.shape[dim] <= channels:
        return weight
    kept, left = each.split([channels - 1, each.shape[dim] - channels + 1], dim)
    return torch.cat([kept, alike(left, dim, keepdim=True)], dim).flatten(dim, dim + 1)


def _check_shape(shape: UNetShape) -> None:
    """Refuses the shape of a file with which a network could be built but not called."""
    counts = (shape.channels, shape.embedding, shape.heads, *shape.widths)
    if not all(isinstance(count, int) and count > 0 for count in counts):
        raise ValueError(f"its shape has the counts {counts}")
    if not isinstance(shape.sigma_data, int | float) or shape.sigma_data <= 0:
        raise ValueError(f"its data have a standard deviation of {shape.sigma_data}")
    if shape.widths[-1] % shape.heads:
        raise ValueError(f"{shape.heads} heads do not divide a width of {shape.widths[-1]}")


def _zero(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
