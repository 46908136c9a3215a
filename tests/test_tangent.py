"""The network's own covariance along one direction, beside a table that is wrong."""

from dataclasses import replace

import pytest
import torch
from test_drawn import DATA, EXACT, SIGMA_Y, Exact, H, systems_solved_to_rounding
from test_measured_data import COLOURED

from hdagger.covariance import Grainy, White
from hdagger.domain import Posed
from hdagger.linalg import inner
from hdagger.operators.quantisation import Rounded
from hdagger.operators.spectral import Identity
from hdagger.priors.analytic import GaussianPrior
from hdagger.problem import Problem
from hdagger.samplers import drawn
from hdagger.samplers.drawn import NEVER, Drawn, Predicted
from hdagger.samplers.systems import System
from hdagger.samplers.tangent import Pull, difference
from hdagger.tensors import SampleNoise

__all__ = ["systems_solved_to_rounding"]

F64 = torch.float64
ROWS = 5
SIGMA = torch.tensor(0.7, dtype=F64)


def silent(shape):
    return torch.zeros(shape, dtype=F64)


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=F64)


def pull_of(C, H=H):
    matrix = H(torch.eye(6, dtype=F64)).T
    S = matrix @ C.times(matrix).T + SIGMA_Y**2 * torch.eye(len(matrix), dtype=F64)
    return Pull(C, H, H.adjoint, SIGMA_Y**2, lambda v: torch.linalg.solve(S, v.T).T)


def own():
    return Exact(COLOURED).at(SIGMA, torch.zeros(ROWS, 6, dtype=F64), None)


def test_a_difference_is_the_jacobian_along_a_direction_of_any_length():
    x, u = normal(ROWS, 6), normal(ROWS, 6)
    D = COLOURED(x, SIGMA)
    wanted = own().times(u) / SIGMA**2
    for length in (1e-6, 1.0, 1e6):
        told = difference(COLOURED, x, SIGMA, D, length * u) / length
        torch.testing.assert_close(told, wanted, rtol=0, atol=1e-9)
    assert (difference(COLOURED, x, SIGMA, D, 0 * u) == 0).all()


class Itself(Identity):
    """Gives back the very signal that it was given."""

    def forward(self, x):
        return x


@pytest.mark.parametrize("H", [H, Itself((6,))])
def test_a_network_that_says_what_the_table_says_changes_nothing_along_any_direction(H):
    n = H.seen_size
    C, e, p = own(), normal(ROWS, n), normal(2 * ROWS, n)[ROWS:]
    pull = pull_of(C, H)
    w = pull.inverse(e)
    torch.testing.assert_close(pull.along(p, C.times, w), pull(w), rtol=0, atol=1e-12)


@pytest.mark.parametrize("far", [0.0, 1.0, 1e9])
def test_what_is_left_is_no_larger_however_wrong_the_network_is(far):
    """By <., S^-1 .>, for a Jacobian that is not symmetric, or nothing, or far too large."""
    pull, wrong, e = pull_of(White(0.3, (ROWS, 6))), far * normal(6, 6), normal(ROWS, 4)
    w = pull.inverse(e)
    Tp = H(H.adjoint(w) @ wrong) + SIGMA_Y**2 * w
    share = (inner(Tp, w) / inner(Tp, pull.inverse(Tp))).clamp(0, 1)
    left = e - share * Tp
    assert (inner(left, pull.inverse(left)) <= inner(e, w) * (1 + 1e-12)).all()
    wanted = share * H.adjoint(w) @ wrong + pull(pull.inverse(left))
    moved = pull.along(w, lambda u: u @ wrong, w)
    torch.testing.assert_close(moved, wanted, rtol=1e-9, atol=1e-9)


def test_a_network_that_points_the_wrong_way_is_not_followed():
    pull, e = pull_of(White(0.3, (ROWS, 6))), normal(ROWS, 4)
    w = pull.inverse(e)
    moved = pull.along(w, lambda u: -5 * u, w)
    torch.testing.assert_close(moved, pull(w), rtol=0, atol=1e-12)


def test_data_are_met_as_the_table_meets_them():
    """What the network's step leaves of them is pulled by the table."""
    table, e = White(0.3, (ROWS, 6)), normal(ROWS, 4)
    exact = replace(pull_of(table), least=0.0)
    S = 0.3 * H.matrix @ H.matrix.T
    exact = replace(exact, inverse=lambda v: torch.linalg.solve(S, v.T).T)
    w = exact.inverse(e)
    torch.testing.assert_close(H(exact.along(w, own().times, w)), e, rtol=0, atol=1e-9)


def test_by_the_network_the_mean_is_nearer_than_by_a_table_that_is_wrong():
    """Of a step without noise, beside the mean by the exact covariance."""
    problem = Problem.of(DATA, H, SIGMA_Y).rows(ROWS)
    x = normal(ROWS, 6)
    D, C = COLOURED(x, SIGMA), own()
    tangent = lambda u: SIGMA**2 * difference(COLOURED, x, SIGMA, D, u)
    mean = lambda predicted: drawn.given_data(predicted, problem, silent).z
    exact = mean(Predicted(D, C, SIGMA))
    white = Predicted(D, White(0.2, (ROWS, 6)), SIGMA)
    off = lambda predicted: float((mean(predicted) - exact).norm())
    assert off(replace(white, tangent=tangent)) < 0.6 * off(white)
    assert off(Predicted(D, C, SIGMA, tangent)) < 1e-6


def test_cells_are_told_by_the_network_too():
    S = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=F64)
    prior, sigma = GaussianPrior(torch.zeros(2), S), torch.tensor(1.0, dtype=F64)
    rounded = Rounded(Identity((2,)).double(), torch.zeros(2, dtype=F64))
    problem = Problem(torch.tensor([[2.0, 1.0]], dtype=F64).expand(ROWS, 2), rounded, 0.0)
    x = normal(ROWS, 2)
    D = prior(x, sigma)
    C = Exact(prior).at(sigma, D, None)
    tangent = lambda u: sigma**2 * difference(prior, x, sigma, D, u)
    draw = lambda predicted: (
        drawn.given_cells(predicted, problem, SampleNoise(0, [(k,) for k in range(ROWS)])).z
    )
    exact = Predicted(D, C, sigma)
    torch.testing.assert_close(
        draw(replace(exact, tangent=tangent)), draw(exact), rtol=0, atol=0.02
    )
    white = Predicted(D, White(0.4, (ROWS, 2)), sigma)
    assert (draw(replace(white, tangent=tangent)) - draw(white)).norm() > 0.05


def test_the_network_is_asked_where_its_noise_is_like_clean_signals():
    method = Drawn(uncertainty=replace(EXACT.uncertainty, data_variance=4.0))
    levels = (40.0, 19.9, 5.1, 4.9, 2.0, 0.81, 0.79, 0.21, 0.19)
    asked = lambda method: [level for level in levels if method.differs(torch.tensor(level))]
    assert asked(method) == [19.9, 5.1, 4.9, 2.0, 0.81, 0.79, 0.21]
    assert asked(replace(method, asked=2.5)) == [4.9, 2.0, 0.81]
    at_its_deviation = torch.tensor(method.uncertainty.data_variance**0.5)
    assert not replace(method, asked=NEVER).differs(at_its_deviation)


def test_a_kind_of_signal_says_where_the_network_is_asked_if_nobody_does():
    posed = Posed(Problem.of(DATA, H, SIGMA_Y), suits={"asked": 3.0, "of another method": 1})
    assert posed.fitted(Drawn()).asked == 3
    assert posed.fitted(Drawn(asked=7.0)).asked == 7


def test_the_direction_is_of_what_is_coarser_than_grain():
    """Of data that are the signal: S^-1 e with grain in S, where C hears two of six numbers."""
    C = White(torch.tensor([4.0, 4.0, 0.0, 0.0, 0.0, 0.0], dtype=F64), (1, 6))
    e, system = torch.ones(1, 6, dtype=F64), System(Identity((6,)), C, 0.1)
    p = system.coarse(e, torch.tensor(0.5, dtype=F64))
    torch.testing.assert_close(p, 1 / (C.variance + 0.51) * e, rtol=1e-6, atol=0)
    fine, coarse = p[0, 5] / p[0, 0], system.solved(e, 1e-9)
    assert fine < 10 < coarse[0, 5] / coarse[0, 0]


def test_a_grainy_covariance_is_the_sum():
    C, noise = Grainy(White(2.0, (400, 50)), 0.5), SampleNoise(0, [(k,) for k in range(400)])
    v = normal(400, 50)
    torch.testing.assert_close(C.times(v), 2.5 * v)
    assert float(C.draw(noise).var()) == pytest.approx(2.5, rel=0.03)
