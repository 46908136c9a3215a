"""Drawn steps where data are rounded: a Gaussian within cells, by quadrature."""

import math

import pytest
import torch
from test_drawn import Exact

from hdagger.covariance import White
from hdagger.operators.quantisation import Rounded
from hdagger.operators.spectral import Identity
from hdagger.priors.analytic import GaussianPrior
from hdagger.problem import Problem
from hdagger.samplers import drawn
from hdagger.samplers.drawn import Drawn, Predicted
from hdagger.solving import solve
from hdagger.tensors import SampleNoise

F64 = torch.float64


def rounded(size):
    return Rounded(Identity((size,)).double(), torch.zeros(size, dtype=F64))


def moments_by_quadrature(S, y):
    """Of N(0, S) within half a step of two numbers y."""
    points = (torch.arange(400, dtype=F64) + 0.5) / 400 - 0.5
    x = torch.cartesian_prod(*(points + middle for middle in y))
    logits = -torch.einsum("ni,ij,nj->n", x, torch.linalg.inv(S), x) / 2
    weights = logits.softmax(0)
    mean = weights @ x
    return mean, torch.einsum("n,ni,nj->ij", weights, x - mean, x - mean)


@pytest.mark.parametrize("alike", [0.0, 0.95])
@pytest.mark.parametrize("deviation", [0.3, 1.0, 3.0])
def test_samples_have_the_law_of_a_gaussian_within_its_cells(deviation, alike):
    """In cells that are wide, of its size, and narrow; what one says of the other counts too."""
    S = deviation**2 * torch.tensor([[1, alike], [alike, 1]], dtype=F64)
    y = torch.tensor([0.0, 1.0], dtype=F64)
    prior = GaussianPrior(torch.zeros(2), S)
    method = Drawn(uncertainty=Exact(prior))
    draws = solve(prior, Problem.of(y, rounded(2), 0.0), method, samples=2000).draws
    mean, covariance = moments_by_quadrature(S, y)
    assert (draws - y).abs().max() <= 0.56
    torch.testing.assert_close(draws.mean(0), mean, atol=0.025, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), covariance, atol=0.006, rtol=0)


@pytest.mark.parametrize("middle", [0.0, -0.7, 3.0, 20.0, 29.8])
@pytest.mark.parametrize("half", [0.01, 0.5, 4.0])
def test_moments_within_an_interval_are_those_of_quadrature(middle, half):
    z = middle + half * ((torch.arange(200_000, dtype=F64) + 0.5) / 100_000 - 1)
    weights = (-z.square() / 2).softmax(0)
    at = (torch.tensor([number], dtype=F64) for number in (middle, half))
    mean, variance = drawn.moments_within(*at)
    expected = weights @ z
    if abs(middle) + half <= drawn.FARTHEST:
        assert float(mean) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)
        spread = float(weights @ (z - expected).square())
        assert float(variance) == pytest.approx(spread, rel=1e-4, abs=1e-10)
    else:
        border = math.copysign(min(abs(middle) - half, drawn.FARTHEST), middle)
        assert float(mean) == pytest.approx(border, rel=0.02)


def test_what_is_too_far_to_tell_is_taken_to_be_at_the_border():
    mean, variance = drawn.moments_within(torch.tensor([-50.0]), torch.tensor([0.5]))
    assert (float(mean), float(variance)) == (-drawn.FARTHEST, 0)


def test_cells_that_tell_nothing_leave_the_law_of_the_prior():
    noise, y = SampleNoise(0, [(0,), (1,)]), torch.zeros(2, 50, dtype=F64)
    C = White(1e-6, (2, 50))
    predicted = Predicted(y, C, torch.tensor(1.0))
    z = drawn.given_cells(predicted, Problem(y, rounded(50), 0.0), noise).z
    assert float(z.std()) == pytest.approx(1e-3, rel=0.2)
