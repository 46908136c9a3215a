"""The law of an affine sampler, without Monte Carlo."""

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
    draws = _count_draws(method, prior, problem, levels)
    calls = iter(range(draws))
    n = math.prod(H.signal_shape)

    def unit_vectors(shape):
        block = _zeros(shape)
        k = next(calls)
        block[k * n : (k + 1) * n] = torch.eye(n, dtype=torch.float64).view(n, *shape[1:])
        return block

    mean = method.sample(prior, problem, levels, _zeros)
    columns = method.sample(prior, problem.rows(n * draws), levels, unit_vectors) - mean
    columns = columns.flatten(1)
    return mean.flatten(), columns.T @ columns


def _zeros(shape):
    return torch.zeros(shape, dtype=torch.float64)


def _count_draws(method, prior, problem, levels):
    count = 0

    def counting(shape):
        nonlocal count
        count += 1
        return _zeros(shape)

    method.sample(prior, problem, levels, counting)
    return count
