"""Every diagnostic against draws that are right and draws that are wrong in a known way."""

import math

import pytest
import torch

from hdagger.diagnostics import (
    central_interval,
    chi2_of,
    classifier_test,
    coverage,
    held,
    hpd_coverage,
    interval,
    residual_chi2,
    sbc,
    sliced_wasserstein,
    student,
    student_interval,
    student_reach,
    tarp,
    wasserstein,
)
from hdagger.errors import SettingError
from hdagger.operators.spectral import Inpainting
from hdagger.problem import Problem

SIMULATIONS, DRAWS, N = 400, 59, 5


def randn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def simulate(width=1.0, shift=0.0, count=DRAWS):
    """Truths around known centres, and draws ``width`` times as wide, ``shift`` aside."""
    centres = 3 * randn(SIMULATIONS, N, seed=1)
    draws = shift + width * randn(SIMULATIONS, count, N, seed=3)
    return centres + randn(SIMULATIONS, N, seed=2), centres[:, None] + draws


def within(width, level=0.9):
    """How much of N(0, 1) a central interval of N(0, width^2) holds."""
    quantile = math.sqrt(2) * float(torch.erfinv(torch.tensor(level, dtype=torch.float64)))
    return math.erf(quantile * width / math.sqrt(2))


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_coverage_is_that_of_normal_intervals(width):
    truths, draws = simulate(width, count=999)
    assert coverage(truths, draws, 0.9) == pytest.approx(within(width), abs=0.025)


def test_a_central_interval_holds_its_share_of_new_draws_even_when_few_were_drawn():
    low, high = central_interval(randn(9, 20000), 0.8)
    fresh = randn(20000, seed=5)
    assert float(((fresh > low) & (fresh < high)).double().mean()) == pytest.approx(0.8, abs=0.01)
    low, high = central_interval(torch.arange(1.0, 20.0), 0.9)
    assert (float(low), float(high)) == (1.0, 19.0)


@pytest.mark.parametrize(("width", "covered"), [(1.0, 0.8), (0.5, 0.15), (2.0, 1.0)])
def test_hpd_coverage(width, covered):
    truths, draws = simulate(width)
    centres = 3 * randn(SIMULATIONS, N, seed=1)
    log_truths = -(truths - centres).square().sum(1) / (2 * width**2)
    log_draws = -(draws - centres[:, None]).square().sum(2) / (2 * width**2)
    assert hpd_coverage(log_truths, log_draws, 0.8) == pytest.approx(covered, abs=0.06)


def test_sbc_accepts_right_ranks_and_refuses_wrong_ones():
    assert sbc(*simulate()).p_value > 0.01
    for wrong in (simulate(width=0.7), simulate(width=1.4), simulate(shift=0.3)):
        assert sbc(*wrong).p_value < 1e-6
    ranks = sbc(*simulate(width=0.3)).ranks
    assert int(ranks.min()) == 0
    assert int(ranks.max()) == DRAWS


def test_the_p_value_of_sbc_is_uniform_under_the_hypothesis():
    values = []
    for seed in range(200):
        draws = randn(50, 19, 1, seed=seed)
        values.append(sbc(randn(50, 1, seed=1000 + seed), draws, bins=5).p_value)
    small = sum(value < 0.2 for value in values) / len(values)
    assert small == pytest.approx(0.2, abs=0.08)


def test_tarp_is_the_diagonal_for_right_draws_only():
    def gap(truths, draws):
        levels, covered = tarp(truths, draws, torch.Generator().manual_seed(0))
        return float((covered - levels).abs().max())

    assert gap(*simulate()) < 0.08
    assert gap(*simulate(width=0.4)) > 0.12
    assert gap(*simulate(shift=1.0)) > 0.12


def test_the_sliced_distance_of_a_shift_is_known():
    x = randn(4000, 3)
    mean, largest = sliced_wasserstein(
        x, x + torch.tensor([2.0, 0.0, 0.0]), 2000, torch.Generator().manual_seed(0)
    )
    assert mean == pytest.approx(2 / 2, rel=0.05)  # E|u_1| on the sphere in 3 dimensions
    assert largest == pytest.approx(2, rel=0.01)


def test_distances_stand_beside_their_floor():
    generator = torch.Generator().manual_seed(0)
    same, largest = wasserstein(randn(1000, 4), randn(2000, 4, seed=9), 100, generator)
    assert same.value < 2 * same.floor
    assert largest.value > same.value
    other, _ = wasserstein(randn(1000, 4) + 0.5, randn(2000, 4, seed=9), 100, generator)
    assert other.value > 4 * other.floor
    assert "(floor " in str(other)


def test_a_classifier_tells_apart_what_differs():
    def test(samples):
        return classifier_test(samples, randn(1000, 2, seed=9), torch.Generator().manual_seed(0))

    same = test(randn(1000, 2))
    assert same.value < same.floor + 0.02
    assert test(randn(1000, 2) + 2).value > 0.85
    ring = randn(1000, 2)
    assert test(3 * ring / ring.norm(dim=1, keepdim=True)).value > 0.85


def test_the_residual_counts_what_was_measured():
    H = Inpainting(torch.tensor([True, False, True, True]))
    x = randn(2000, 4)
    problem = Problem(H(x) + 0.3 * randn(2000, 4, seed=1), H, 0.3)
    chi2 = residual_chi2(x, problem)
    assert float(chi2.mean()) == pytest.approx(1, abs=0.05)
    assert float(chi2.var()) == pytest.approx(2 / 3, rel=0.1)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 18, 38, 401])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_students_t_is_the_tabled_one(freedom, level):
    stats = pytest.importorskip("scipy.stats")
    exact = float(stats.t.ppf((1 + level) / 2, freedom))
    assert student(freedom, level) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_students_interval_holds_another_draw_as_often_as_it_says(count):
    low, high = student_interval(3 + 2 * randn(count, 60_000), 0.9)
    another = 3 + 2 * randn(60_000, seed=1)
    held = ((another >= low) & (another <= high)).double().mean()
    assert float(held) == pytest.approx(0.9, abs=0.005)


def test_one_draw_has_no_interval():
    with pytest.raises(SettingError, match="2 draws"):
        student_reach(1, 0.9)


def test_an_interval_is_by_rank_where_there_are_enough_draws():
    few, enough = randn(8, N), randn(19, N)
    for x, expected in ((few, student_interval), (enough, central_interval)):
        for found, wanted in zip(interval(x, 0.9), expected(x, 0.9), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    low, high = interval(few, 0.9)
    assert held(few, (low + high) / 2, 0.9).all()
    assert not held(few, high + 1e-6, 0.9).any()
    assert not held(few, low - 1e-6, 0.9).any()


def test_one_draw_holds_nothing():
    x = randn(1, N)
    assert not held(x, x[0], 0.9).any()


def test_the_mean_and_each_sample_are_held_against_the_data():
    H = Inpainting(torch.tensor([True, True, False]))
    problem = Problem(torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64), H, 0.5)
    x = torch.tensor([[1.0, 3.0, 9.0], [1.0, 1.0, 5.0]], dtype=torch.float64)
    of_mean, of_samples = chi2_of(x, problem)
    assert of_mean == 0
    assert of_samples == [2.0, 2.0]
