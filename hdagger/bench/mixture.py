"""The mixture benchmark: can a sampler weigh the modes of a posterior that is known exactly?

A mixture of 25 Gaussians of unit variance, with means (-8i, -8j, -8i, -8j, ...) for i and j from
-2 to 2, is seen through a random matrix of 1, 2 or 4 rows. What is reported is the sliced
Wasserstein-1 distance to exact posterior samples, beside the floor, which is the distance of
two exact sets, and the oracle, which is the ancestral sampler with the exact posterior score:
what is above the floor there is the integrator's error alone.

This is the protocol of MCGDiff with its defects mended: weights are seeded, the seeds of the
cells do not overlap, the largest noise level exceeds the means, and the floor is printed. The
error of the modes' weights is given too, because slices hide it in high dimension.

References:
    Cardoso, Janati El Idrissi, Le Corff and Moulines, Monte Carlo guided diffusion for Bayesian
    linear inverse problems, ICLR 2024, section 4.1. https://arxiv.org/abs/2308.07983
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..operators.spectral import Dense
from ..priors.analytic import GaussianMixture
from ..priors.base import Denoiser
from ..samplers.base import Problem
from ..tensors import Level, Signal


def generator_for(*key: int) -> torch.Generator:
    """A stream of its own for every key."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


class MixturePosterior:
    """p(x0 | y): a mixture whose one covariance is diagonal in the basis of H.

    Attributes:
        weights: Of the components, ``(K,)``.
        means: ``(K, n)``.
    """

    def __init__(self, prior: GaussianMixture, problem: Problem) -> None:
        assert isinstance(problem.H, Dense)
        self.H = problem.H
        m, n = math.prod(self.H.data_shape), math.prod(self.H.signal_shape)
        _, s_bar = Problem(problem.y[:1], self.H, problem.sigma_y).spectral
        matrix = self.H(torch.eye(n, dtype=torch.float64)).T
        total = prior.std**2 * matrix @ matrix.T + problem.sigma_y**2 * torch.eye(m)
        residual = problem.y[0] - prior.means @ matrix.T
        solved = torch.linalg.solve(total, residual.T).T
        self.weights = torch.softmax(prior.weights.log() - (residual * solved).sum(1) / 2, 0)
        self.means = prior.means + prior.std**2 * solved @ matrix
        self.variance = 1 / (1 / prior.std**2 + s_bar[0] ** -2)

    def responsibilities(self, x: Signal, sigma: Level) -> Tensor:
        """p(component | x, y), ``(batch, K)``, for x = x0 + sigma * noise."""
        scale = (self.variance + sigma**2).sqrt()
        distance = torch.cdist(self.H.Vt(x) / scale, self.H.Vt(self.means) / scale)
        return torch.softmax(self.weights.log() - distance.square() / 2, 1)

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        """E[x0 | x, y]."""
        mean = self.responsibilities(x, sigma) @ self.means
        shrink = self.variance / (self.variance + sigma**2)
        return mean + self.H.V(shrink * self.H.Vt(x - mean))

    def sample(self, count: int, generator: torch.Generator) -> Signal:
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(count, len(self.variance), generator=generator, dtype=torch.float64)
        return self.means[chosen] + self.H.V(self.variance.sqrt() * z)


@dataclass(frozen=True)
class Case:
    """One problem of a cell."""

    prior: GaussianMixture
    problem: Problem
    posterior: MixturePosterior

    @classmethod
    def draw(cls, dim: int, observed: int, index: int, count: int) -> "Case":
        """Problem ``index`` of the cell, with its data repeated for ``count`` samples."""
        generator = generator_for(dim, observed, index)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        centres = torch.tensor(list(itertools.product(range(-2, 3), repeat=2))).double()
        weights = normal(25).square()
        prior = GaussianMixture(-8 * centres.repeat(1, dim // 2), weights / weights.sum())
        u, _, vt = torch.linalg.svd(normal(observed, dim), full_matrices=False)
        s = uniform(observed).sort(descending=True).values
        H = Dense(u * s @ vt)
        sigma_y = float(uniform() * s[0])
        y = H(prior.sample(1, lambda shape: normal(*shape))) + sigma_y * normal(1, observed)
        problem = Problem(y.expand(count, -1), H, sigma_y)
        return cls(prior, problem, MixturePosterior(prior, problem))

    @property
    def highest(self) -> float:
        return 10 * float(self.prior.means.norm(dim=1).max())

    @property
    def data_variance(self) -> float:
        """Of one element of x0, averaged."""
        weights, means = self.prior.weights, self.prior.means
        spread = weights @ means.square() - (weights @ means).square()
        return self.prior.std**2 + float(spread.mean())
