"""Intervals that hold by construction: the promise by simulation, and its parts by hand."""

from dataclasses import replace

import pytest
import torch

from hdagger.conformal import FACTORS, FEWEST, LEVEL, Interval, least_factors, missed
from hdagger.diagnostics import student_interval, student_reach
from hdagger.priors.analytic import GaussianField
from hdagger.verdicts import Subject, Verdict

SIDE, DRAWS = 8, 4
SUBJECT = Subject("ab", "pictures", "average:4", 0.1, "ddrm", {"eta": 0.85}, 20)
VERDICT = Verdict(SUBJECT, "crops of pictures", (3, 32, 32), 40, 3, 0.5, 1.0, "over-confident")


def fields(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    normal = lambda size: torch.randn(size, generator=generator, dtype=torch.float64)
    count = torch.Size(shape).numel()
    return GaussianField(SIDE).sample(count, normal).view(*shape, SIDE**2)


def shares_missed(width, signals, seed):
    """Truths that are fields, and samples of fields ``width`` times as wide."""
    truths = fields(signals, seed=seed)
    draws = width * fields(signals, DRAWS, seed=seed + 1)
    return torch.stack([missed(d, t) for d, t in zip(draws, truths, strict=True)])


@pytest.mark.parametrize("width", [0.3, 1.0, 2.5])
def test_the_promise_holds_however_wrong_the_sampler_is(width):
    """Factors from n fields; what they cover of fresh ones, in the mean over repeated checks."""
    n, repeats = 19, 30
    shares = shares_missed(width, n * repeats, seed=0)
    fresh = shares_missed(width, 400, seed=10).mean(0)
    covered, chosen = [], []
    for own in shares.split(n):
        factors = torch.tensor(least_factors(own), dtype=torch.float64)
        place = torch.searchsorted(FACTORS, factors - 1e-9)
        covered.append(1 - fresh.gather(1, place[:, None])[:, 0])
        chosen.append(factors)
    held, factor = torch.stack(covered), torch.stack(chosen).mean(0)
    slack = 3 * held.std(0) / repeats**0.5 + 0.01
    assert (held.mean(0) >= LEVEL - slack).all()
    assert (held.mean(0) <= LEVEL + 2 / (n + 1) + slack).all()
    share = 1 / DRAWS
    right = ((1 + share * width**2) / ((1 + share) * width**2)) ** 0.5
    assert right < float(factor[-1]) < 1.6 * right


def test_exact_draws_need_a_factor_near_one():
    """What a small number of signals costs goes as one over it."""
    shares = shares_missed(1.0, 800, seed=0)
    assert all(factor == pytest.approx(1, abs=0.08) for factor in least_factors(shares))


def test_a_factor_of_one_is_students_interval():
    draws, truth = fields(DRAWS, seed=3), fields(1, seed=4)[0]
    found = missed(draws, truth)
    assert found.shape == (DRAWS - 1, len(FACTORS))
    assert float(FACTORS[232]) == 1
    for count in range(2, DRAWS + 1):
        low, high = student_interval(draws[:count], LEVEL)
        outside = ((truth < low) | (truth > high)).double().mean()
        assert float(found[count - 2, 232]) == pytest.approx(float(outside))
    assert (found.diff(dim=1) <= 0).all()


def test_the_least_factor_pays_for_one_more_signal_that_misses_all():
    """20 signals: 0.1 * 21 - 1 = 1.1 of them may be missed; without a promise, 2."""
    shares = torch.zeros(20, 1, len(FACTORS), dtype=torch.float64)
    for signal, until in enumerate((300, 200, 100)):
        shares[signal, 0, :until] = 1
    assert least_factors(shares) == (float(FACTORS[200]),)
    assert least_factors(shares, correction=0.0) == (float(FACTORS[100]),)


def test_nine_signals_may_miss_nothing_and_fewer_promise_nothing():
    assert FEWEST == 9
    shares = torch.zeros(9, 1, len(FACTORS), dtype=torch.float64)
    shares[0, 0, :50] = 0.01
    assert least_factors(shares) == (float(FACTORS[50]),)
    assert least_factors(shares[:8]) == (None,)


def test_an_interval_is_for_as_many_samples_as_were_checked():
    verdict = replace(VERDICT, factors=(None, 1.25))
    three = Interval.of(verdict, 3)
    assert three is not None
    assert three.reach == pytest.approx(1.25 * student_reach(3, 0.9))
    assert str(three) == (
        "Mean -+ 4.21 std holds 90 % of the elements by construction, on average over signals "
        "like those 40 crops of pictures (factor 1.25)."
    )
    for samples in (1, 2, 4):
        assert Interval.of(verdict, samples) is None
    assert Interval.of(VERDICT, 3) is None
    assert Interval.of(None, 3) is None
