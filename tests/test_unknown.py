"""Operators known but for some numbers: drawn with the signal, against posteriors by summation."""

import math

import pytest
import torch

from hdagger.covariance import Isotropic
from hdagger.errors import SettingError
from hdagger.operators import checks
from hdagger.operators.family import Family, Number, OneForEach
from hdagger.operators.spectral import Dense
from hdagger.problem import Problem
from hdagger.samplers.drawn import Drawn
from hdagger.samplers.walk import karras_levels
from hdagger.solving import solve


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


A, B = randn(12, 4), randn(12, 4, seed=2)
NOISE = 0.3


def family(deviation=0.5, **limits):
    return Family(lambda t: Dense(A + t[0] * B), [Number("t", 0.2, deviation, **limits)])


def white(x, sigma):
    return x / (1 + sigma**2)


def measured(t=0.6):
    return (A + t * B) @ randn(4, seed=5) + NOISE * randn(12, seed=6)


def by_summation(y, deviation):
    """Mean and deviation of t, and the mean of x, for x ~ N(0, I): t is summed over a grid."""
    t = torch.linspace(-3, 3, 2001).double()
    logs, means = [], []
    for value in t:
        M = A + value * B
        S = M @ M.T + NOISE**2 * torch.eye(12)
        law = torch.distributions.MultivariateNormal(torch.zeros(12).double(), S)
        logs.append(law.log_prob(y) - ((value - 0.2) / deviation) ** 2 / 2)
        means.append(M.T @ torch.linalg.solve(S, y))
    weight = torch.stack(logs).softmax(0)
    mean = (weight * t).sum()
    return mean, (weight * (t - mean) ** 2).sum().sqrt(), weight @ torch.stack(means)


@pytest.mark.parametrize("deviation", [0.5, 0.1])
def test_numbers_and_signal_have_the_law_of_the_posterior(deviation):
    y = measured()
    problem = Problem.of(y, family(deviation), NOISE)
    method = Drawn(uncertainty=Isotropic(1.0))
    levels = karras_levels(8, low=0.1, high=10.0)
    samples = solve(white, problem, method, levels=levels, samples=100)
    t = samples.known["numbers"][:, 0].double()
    mean, std, x = by_summation(y, deviation)
    assert abs(t.mean() - mean) < 0.4 * std
    assert t.std() == pytest.approx(float(std), rel=0.25)
    torch.testing.assert_close(samples.mean.double(), x, rtol=0, atol=0.15)


def test_without_data_on_them_the_numbers_keep_what_was_known():
    flat = Family(lambda t: Dense(A), [Number("t", 0.2, 0.5), Number("u", -1.0, 0.1)])
    problem = Problem.of(measured(0.0), flat, NOISE)
    method = Drawn(uncertainty=Isotropic(1.0))
    levels = karras_levels(2, low=0.1, high=10.0)
    t = solve(white, problem, method, levels=levels, samples=200).known["numbers"].double()
    torch.testing.assert_close(t.mean(0), torch.tensor([0.2, -1.0]).double(), rtol=0, atol=0.1)
    torch.testing.assert_close(t.std(0), torch.tensor([0.5, 0.1]).double(), rtol=0.15, atol=0)


def test_a_family_is_the_operator_of_its_rough_numbers_and_knows_its_slope():
    H, x = family(), randn(3, 4)
    torch.testing.assert_close(H(x), x @ (A + 0.2 * B).T)
    assert checks.adjoint_gap(H, x, randn(3, 12)) < 1e-12
    numbers = torch.tensor([[0.2], [1.0], [-2.0]]).double()
    torch.testing.assert_close(H.slope(x, numbers)[:, 0], x @ B.T)
    edge = family(low=0.0, high=1.0)
    torch.testing.assert_close(edge.slope(x, numbers.clamp(0, 1))[:, 0], x @ B.T)
    assert edge.held(numbers).flatten().tolist() == pytest.approx([0.2, 1.0, 0.0])


def test_each_row_has_an_operator_of_its_own():
    H = OneForEach([Dense(A), Dense(B)])
    x, y = randn(2, 4), randn(2, 12)
    torch.testing.assert_close(H(x), torch.stack([A @ x[0], B @ x[1]]))
    assert checks.adjoint_gap(H, x, y) < 1e-12


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.inf, math.nan])
def test_a_number_without_a_deviation_is_refused(deviation):
    with pytest.raises(SettingError, match="deviation of t above 0"):
        Number("t", 0.0, deviation)
