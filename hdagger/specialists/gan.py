"""A GAN as a prior: a picture that it can make, then one that it can almost make.

The code nearest to the data is looked for first; then the generator's weights may move too, those
of the lowest level from the start and a level more in every stage, for each picture on its own.
How far a picture is from the data the critic tells: it looks at both in the signal's frame, and
what counts is by how much its features differ.

References:
    Pan et al., Exploiting Deep Generative Prior for Versatile Image Restoration and Manipulation
    (DGP), 2020, section 3. https://arxiv.org/abs/2003.13659
    Goodfellow et al., Generative Adversarial Nets, 2014, section 3.
    https://arxiv.org/abs/1406.2661
    Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge?, 2018,
    eq. 9. https://arxiv.org/abs/1801.04406
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import softplus

from ..priors.unet import UNetShape
from ..problem import Problem
from ..tensors import Noise, Signal
from .base import in_frame
from .generator import Coded, Generator, Summary, descend

Distance: TypeAlias = Callable[[Signal], Float[Tensor, " batch"]]
"""How far each row of pictures is from its row of the data."""


class Adversaries(nn.Module):
    """The generator, and the critic that tells its pictures from real ones."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.generator = Generator(shape)
        self.critic = Summary(shape, 1)


def by_features(critic: Summary, problem: Problem) -> Distance:
    """DGP's distance: sum_i |f_i(x') - f_i(y')|_1, a mean over each level's features f_i.

    y' is the data in the signal's frame, x' those that the picture would give; the picture itself
    where their rounding has no gradient.

    Args:
        critic: Has the features.
        problem: The data, in the critic's precision.
    """
    given = in_frame(problem)
    with torch.no_grad():
        wanted = critic.features(given)

    def distance(x: Signal) -> Float[Tensor, " batch"]:
        shown = given - problem.towards_data(x, 1.0) if problem.H.differentiable else x
        pairs = zip(critic.features(shown), wanted, strict=True)
        return torch.stack([(f - g).abs().flatten(1).mean(dim=1) for f, g in pairs]).sum(dim=0)

    return distance


@dataclass(frozen=True)
class Progressive:
    """DGP's search.

    Attributes:
        candidates: Codes drawn to begin with, of which the nearest is kept.
        code_steps: Steps in which the code alone moves.
        weight_steps: Steps of each stage, in which weights move too.
        code_rate: Learning rate of the code.
        weight_rate: Of the weights.
    """

    candidates: int = 64
    code_steps: int = 500
    weight_steps: int = 500
    code_rate: float = 0.05
    weight_rate: float = 0.0005

    def search(
        self,
        generator: nn.Module,
        stages: list[tuple[str, ...]],
        codes: Float[Tensor, "batch candidates code"],
        distance: Distance,
    ) -> tuple[Signal, int]:
        """A picture for each row of the data, and how often it was made.

        Args:
            generator: From codes to pictures.
            stages: How the names begin of the weights that each stage sets free.
            codes: To begin with.
            distance: Of pictures from the data.
        """
        with torch.no_grad():
            tried = torch.stack([distance(generator(z)) for z in codes.unbind(1)])
        code = codes[torch.arange(len(codes)), tried.argmin(dim=0)].clone()
        descend(lambda: distance(generator(code)), [(code, self.code_rate)], self.code_steps)
        calls = codes.shape[1] + self.code_steps

        own = {n: w.detach().expand(len(code), *w.shape).clone() for n, w in _weights(generator)}
        make = vmap(lambda weights, z: functional_call(generator, weights, (z[None],))[0])
        free: tuple[str, ...] = ()
        for more in stages if self.weight_steps else ():
            free += more
            moved = [(w, self.weight_rate) for name, w in own.items() if name.startswith(free)]
            descend(
                lambda: distance(make(own, code)),
                [(code, self.code_rate / 10), *moved],
                self.weight_steps,
            )
            calls += self.weight_steps
        with torch.no_grad():
            return make(own, code), calls


class GAN(Coded):
    """A generator trained against a critic, and DGP's search in it.

    Args:
        shape: Of both networks; ``side`` is that of the pictures.
    """

    kind = "gan"
    title: ClassVar[str] = "GAN (DGP)"
    architecture = Adversaries
    net: Adversaries
    penalty: ClassVar[float] = 5.0
    """Of the critic's gradient at real pictures."""

    def taught(
        self,
        x0: Signal,
        given: Signal,
        sigma: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """The critic's loss and the generator's, which do not teach each other's weights."""
        critic = self.net.critic
        code = torch.randn(
            len(x0), self.shape.embedding, generator=generator, device=generator.device
        ).to(x0)
        made = self.net.generator(code)
        real = x0.detach().requires_grad_()
        verdict = critic(real)
        (slope,) = torch.autograd.grad(verdict.sum(), real, create_graph=True)
        smooth = self.penalty / 2 * slope.square().flatten(1).sum(dim=1).mean()
        told_apart = softplus(-verdict).mean() + softplus(critic(made.detach())).mean()
        fixed = {name: weight.detach() for name, weight in _weights(critic)}
        deceived = softplus(-functional_call(critic, fixed, (made,))).mean()
        return told_apart + smooth + deceived

    def restored(self, problem: Problem, noise: Noise) -> tuple[Signal, int]:
        manner, generator = PROGRESSIVE, self.net.generator
        codes = noise((len(problem.y), manner.candidates, self.shape.embedding)).float()
        problem = problem.to(problem.y.device, torch.float32)
        distance = by_features(self.net.critic, problem)
        return manner.search(generator, generator.blocks(), codes, distance)


PROGRESSIVE = Progressive()


def _weights(net: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(net.named_parameters())
