"""The law of an affine sampler, without Monte Carlo."""

import torch

from hdagger.samplers.base import Problem


def exact_moments(sampler, y, H, sigma_y, levels):
    """Mean ``(n,)`` and covariance ``(n, n)`` of the sampler's output, with no sampling error.

    Under a Gaussian prior a sampler here is an affine map of the noise it draws. Zeros for
    noise give the mean; unit vectors, one for every number drawn, give the columns.
    """
    draws = _count_draws(sampler, y, H, sigma_y, levels)
    calls = iter(range(draws))
    n = H.signal_shape[0]

    def zeros(shape):
        return torch.zeros(shape, dtype=torch.float64)

    def unit_vectors(shape):
        block = zeros(shape)
        k = next(calls)
        block[k * n : (k + 1) * n] = torch.eye(n, dtype=torch.float64)
        return block

    mean = sampler.sample(Problem(y[None], H, sigma_y), levels, zeros)[0]
    rows = Problem(y.expand(n * draws, -1), H, sigma_y)
    columns = sampler.sample(rows, levels, unit_vectors) - mean
    return mean, columns.T @ columns


def _count_draws(sampler, y, H, sigma_y, levels):
    count = 0

    def counting(shape):
        nonlocal count
        count += 1
        return torch.zeros(shape, dtype=torch.float64)

    sampler.sample(Problem(y[None], H, sigma_y), levels, counting)
    return count
