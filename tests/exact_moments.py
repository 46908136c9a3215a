"""The law of an affine sampler, without Monte Carlo."""

import itertools
import math

import torch

from hdagger.problem import Problem


def exact_moments(method, prior, y, H, sigma_y, levels):
    """Mean ``(n,)`` and covariance ``(n, n)`` of the sampler's output, with no sampling error.

    Under a Gaussian prior a sampler here is an affine map of the noise it draws. Zeros for
    noise give the mean; unit vectors, one for every number drawn, give the columns. ``sigma_y``
    may be an array, and y complex.
    """
    problem = Problem.of(y, H, sigma_y)
    sizes = _sizes_of_draws(method, prior, problem, levels)
    calls = itertools.pairwise([0, *itertools.accumulate(sizes)])

    def unit_vectors(shape):
        block = _zeros(shape)
        first, last = next(calls)
        block[first:last] = torch.eye(last - first, dtype=torch.float64).view(-1, *shape[1:])
        return block

    mean = method.sample(prior, problem, levels, _zeros)
    columns = method.sample(prior, problem.rows(sum(sizes)), levels, unit_vectors) - mean
    columns = columns.flatten(1)
    return mean.flatten(), columns.T @ columns


def _zeros(shape):
    return torch.zeros(shape, dtype=torch.float64)


def _sizes_of_draws(method, prior, problem, levels):
    """How many numbers are drawn at once, for each time."""
    sizes = []

    def counting(shape):
        sizes.append(math.prod(shape[1:]))
        return _zeros(shape)

    method.sample(prior, problem, levels, counting)
    return sizes
