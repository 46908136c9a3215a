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
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..errors import FileError
from ..tensors import Signal


@dataclass(frozen=True)
class UNetShape:
    """The shape of the network.

    Attributes:
        channels: Channels of the picture.
        widths: Channels of each level, from half the resolution down.
        down: Residual blocks at each level on the way down.
        up: Residual blocks at each level on the way up.
        embedding: Width of the embedding of the noise level.
        heads: Heads of the attention at the lowest level.
        sigma_data: Standard deviation of a pixel of the clean pictures.
    """

    channels: int = 3
    widths: tuple[int, ...] = (64, 96, 160, 192)
    down: int = 1
    up: int = 2
    embedding: int = 160
    heads: int = 4
    sigma_data: float = 0.5

    @property
    def stride(self) -> int:
        """Height and width that the network sees are multiples of this."""
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


class UNet(nn.Module):
    """From a picture and the logarithm of its noise level to a picture."""

    frequencies: Tensor

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        widths, embedding = shape.widths, shape.embedding
        self.register_buffer("frequencies", torch.logspace(-4, 4, 32, base=2), persistent=False)
        self.embed = nn.Sequential(
            nn.Linear(64, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.stem = nn.Conv2d(4 * shape.channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Stage(w, shape.down, embedding) for w in widths)
        self.reduce = nn.ModuleList(nn.Conv2d(4 * a, b, 1) for a, b in itertools.pairwise(widths))
        self.attention = Attention(widths[-1], shape.heads)
        self.enlarge = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(Stage(w, shape.up, embedding) for w in widths)
        self.head = nn.Conv2d(widths[0], 4 * shape.channels, 3, padding=1)
        _zero(self.head)

    def forward(self, x: Tensor, log_level: Float[Tensor, " batch"]) -> Tensor:
        angles = log_level[:, None] * self.frequencies
        level = self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))
        h, skips = self.stem(functional.pixel_unshuffle(x, 2)), []
        for depth, stage in enumerate(self.down):
            if depth:
                skips.append(h)
                h = self.reduce[depth - 1](functional.pixel_unshuffle(h, 2))
            h = stage(h, level)
        h = self.attention(h)
        for depth in reversed(range(len(self.up))):
            h = self.up[depth](h, level)
            if depth:
                h = functional.pixel_shuffle(self.enlarge[depth - 1](h), 2) + skips.pop()
        return functional.pixel_shuffle(self.head(functional.silu(h)), 2)


class UNetDenoiser(nn.Module):
    """D(x, sigma) = c_skip x + c_out net(c_in x, ln(sigma) / 4), for pictures in [-1, 1].

    Args:
        shape: The shape of the network.

    Example:
        >>> prior = UNetDenoiser(UNetShape(widths=(8, 16)))
        >>> prior(torch.zeros(1, 3, 5, 7), torch.tensor(0.5)).shape
        torch.Size([1, 3, 5, 7])
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        self.net = UNet(shape)

    def forward(self, x: Signal, sigma: Float[Tensor, "*rows"]) -> Signal:
        """E[x0 | x], in the precision of x; the network computes in its own.

        Args:
            x: Noisy pictures, ``(batch, channels, height, width)``, of any height and width.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
        """
        level = sigma.to(x).expand(len(x)).view(-1, 1, 1, 1)
        data = self.shape.sigma_data
        total = level**2 + data**2
        height, width = x.shape[2:]
        stride = self.shape.stride
        inner = functional.pad(
            x * total.rsqrt(),
            (0, -width % stride, 0, -height % stride),
            mode="reflect" if min(height, width) >= stride else "replicate",
        )
        weight = self.net.stem.weight
        inner = inner.to(weight).contiguous(memory_format=torch.channels_last)
        out = self.net(inner, level.flatten().log().to(weight) / 4)[..., :height, :width]
        return data**2 / total * x + level * data * total.rsqrt() * out.to(x)

    def save(self, path: Path) -> None:
        """Writes weights and shape to one safetensors file."""
        weights = {
            name: value.half().contiguous() for name, value in self.net.state_dict().items()
        }
        save_file(weights, path, {"hdagger": json.dumps({"unet": asdict(self.shape)})})

    @classmethod
    def load(cls, path: Path) -> "UNetDenoiser":
        """Reads what ``save`` wrote; the file holds no code.

        Raises:
            FileError: It is not such a file.
        """
        try:
            with safe_open(path, "pt") as file:
                shape = json.loads(file.metadata()["hdagger"])["unet"]
            weights = {name: value.float() for name, value in load_file(path).items()}
            shape["widths"] = tuple(shape["widths"])
            denoiser = cls(UNetShape(**shape))
            denoiser.net.load_state_dict(weights)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FileError(
                f"Wanted a prior written by `hdagger train`, but {path} is not one "
                f"({str(error).splitlines()[0]}). Point at the prior.safetensors of a training."
            ) from error
        return denoiser.eval().requires_grad_(False)


def _zero(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
