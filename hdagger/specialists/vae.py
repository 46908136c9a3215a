"""A variational autoencoder as a prior: the most probable code given the data.

    min_z |y - H G(z)|^2 / (2 s^2) + |z|^2 / 2,    s^2 = sigma_y^2 + v,

with v the variance of a pixel about the decoder's mean, which the training finds too.

References:
    Kingma and Welling, Auto-Encoding Variational Bayes, 2014, eq. 10.
    https://arxiv.org/abs/1312.6114
    Bora et al., Compressed Sensing using Generative Models, 2017, eq. 3.
    https://arxiv.org/abs/1703.03208
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..priors.unet import UNetShape
from ..problem import Problem
from ..tensors import Noise, Signal
from .generator import Coded, Generator, Summary, descend, misfit

STEPS, RATE = 300, 0.1


class Autoencoder(nn.Module):
    """Encoder, decoder and the variance about its mean."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.generator = Generator(shape)
        self.encoder = Summary(shape, 2 * shape.embedding)
        self.log_variance = nn.Parameter(torch.zeros(()))


def most_probable(
    generator: nn.Module, variance: float, code: Float[Tensor, "batch code"], problem: Problem
) -> Signal:
    """The picture of the most probable code for each row of the data.

    Args:
        generator: From codes to pictures.
        variance: Of a pixel about them.
        code: Where the search starts.
        problem: The data, in the generator's precision.
    """
    code, noise = code.clone(), problem.sigma_y**2 + variance

    def surprise() -> Tensor:
        return misfit(problem, generator(code)) / (2 * noise) + code.square().sum(dim=1) / 2

    descend(surprise, [(code, RATE)], STEPS)
    with torch.no_grad():
        return generator(code)


class VAE(Coded):
    """A decoder trained with its encoder, and the most probable code in it.

    Args:
        shape: Of both networks; ``side`` is that of the pictures.
    """

    kind = "vae"
    title: ClassVar[str] = "VAE"
    architecture = Autoencoder
    net: Autoencoder

    def taught(
        self,
        x0: Signal,
        given: Signal,
        sigma: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """Minus the bound on log p(x0), over the number of pixels."""
        mean, log_spread = self.net.encoder(x0).chunk(2, dim=1)
        z = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)
        off = x0 - self.net.generator(mean + (log_spread / 2).exp() * z)
        log_v = self.net.log_variance
        likelihood = (off.square() * (-log_v).exp() + log_v).mean() / 2
        divergence = (mean.square() + log_spread.exp() - log_spread - 1).sum(dim=1).mean() / 2
        return likelihood + divergence / x0[0].numel()

    def restored(self, problem: Problem, noise: Noise) -> tuple[Signal, int]:
        code = noise((len(problem.y), self.shape.embedding)).float()
        problem = problem.to(problem.y.device, torch.float32)
        variance = float(self.net.log_variance.detach().exp())
        return most_probable(self.net.generator, variance, code, problem), STEPS
