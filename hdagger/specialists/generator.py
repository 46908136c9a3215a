"""From a code to a picture, from a picture to numbers, and the search for the code that fits data.

The way up of the U-Net makes the picture: its lowest features are a linear map of the code, which
also tells every block its scale and shift, as the noise level does in a denoiser.

References:
    Karras, Laine and Aila, A Style-Based Generator Architecture for GANs, 2019, section 2.
    https://arxiv.org/abs/1812.04948
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingError
from ..operators.base import PinvOperator
from ..priors.unet import Encoder, Stage, UNetShape
from ..problem import Problem
from ..tensors import Noise, Signal
from .base import Specialist


class Generator(nn.Module):
    """From codes, ``(batch, embedding)``, standard normal, to pictures.

    Args:
        shape: Of the network; ``side`` is a multiple of its stride.

    Raises:
        SettingError: It is not.
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        if not shape.side or shape.side % shape.stride:
            raise SettingError(
                f"Wanted a side that is a multiple of {shape.stride}, but got {shape.side}. "
                "Say side under [unet], or take fewer widths."
            )
        widths, code = shape.widths, shape.embedding
        self.lowest = shape.side // shape.stride
        self.embed = nn.Sequential(nn.Linear(code, code), nn.SiLU(), nn.Linear(code, code))
        self.start = nn.Linear(code, widths[-1] * self.lowest**2)
        self.enlarge = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(Stage(width, shape.up, code) for width in widths)
        self.head = nn.Conv2d(widths[0], 4 * shape.channels, 3, padding=1)

    def forward(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch c side side"]:
        level = functional.silu(self.embed(code))
        h = self.start(code).unflatten(1, (-1, self.lowest, self.lowest))
        for depth in reversed(range(len(self.up))):
            h = self.up[depth](h, level)
            if depth:
                h = functional.pixel_shuffle(self.enlarge[depth - 1](h), 2)
        return functional.pixel_shuffle(self.head(functional.silu(h)), 2)

    def blocks(self) -> list[tuple[str, ...]]:
        """How the names of the weights begin, from those of the lowest level to the last."""
        deep = len(self.up) - 1
        inner = [(f"enlarge.{d}.", f"up.{d}.") for d in reversed(range(deep))]
        *others, last = [("embed.", "start.", f"up.{deep}."), *inner]
        return [*others, (*last, "head.")]


class Summary(Encoder):
    """From pictures to ``numbers`` numbers each, by the way down of the U-Net.

    Args:
        shape: Of the network; ``side`` is a multiple of its stride.
        numbers: How many.
    """

    def __init__(self, shape: UNetShape, numbers: int) -> None:
        super().__init__(shape)
        inner = shape.widths[-1] * (shape.side // shape.stride) ** 2
        self.told = nn.Linear(inner, numbers)

    def features(self, x: Float[Tensor, "batch c side side"]) -> list[Tensor]:
        """What is found at every level, from the top to the lowest."""
        h, above = self.encode(x, self.embed_level(x.new_zeros(len(x))))
        return [*above, h]

    def forward(self, x: Float[Tensor, "batch c side side"]) -> Float[Tensor, "batch numbers"]:
        return self.told(functional.silu(self.features(x)[-1]).flatten(1))


class Coded(Specialist):
    """A specialist that looks for the code of what it makes."""

    def glimpse(self, problem: Problem, noise: Noise) -> Signal:
        """Pictures that it makes of codes, whatever the data."""
        with torch.no_grad():
            return self.net.generator(noise((len(problem.y), self.shape.embedding)).float())


def misfit(problem: Problem, x: Signal) -> Float[Tensor, " batch"]:
    """The sum of squares of what data and a picture differ by, row by row.

    Of data whose rounding has no gradient the picture is held against what they decode to.
    """
    H = problem.H
    if H.differentiable:
        off = problem.residual(x)
    else:
        assert isinstance(H, PinvOperator)
        off = x - H.pinv(problem.y)
    return off.flatten(1).square().sum(dim=1)


@torch.enable_grad()
def descend(
    objective: Callable[[], Float[Tensor, " batch"]],
    variables: Sequence[tuple[Tensor, float]],
    steps: int,
) -> None:
    """Adam towards a minimum of every row of an objective; the rates fall to 0 linearly.

    Args:
        objective: One number a row, which depends on nothing but that row of the variables.
        variables: What is moved, in place, and at which rate.
        steps: How often.
    """
    for variable, _ in variables:
        variable.requires_grad_()
    optimiser = torch.optim.Adam([{"params": [v], "lr": rate} for v, rate in variables])
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    for _ in range(steps):
        optimiser.zero_grad()
        objective().sum().backward()
        optimiser.step()
        falling.step()
    for variable, _ in variables:
        variable.requires_grad_(False)
