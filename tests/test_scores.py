"""Scores against closed forms: their values, their fairness, and that nothing beats the truth."""

import math

import pytest
import torch

from hdagger.errors import SettingError
from hdagger.scores import blocks, by_thirds, fair_crps, fair_energy


def randn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_crps_of_a_gaussian_is_its_closed_form():
    """s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (t - m) / s."""
    m, s, t = 0.3, 2.0, torch.tensor([-4.0, 0.3, 1.0], dtype=torch.float64)
    z = (t - m) / s
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    exact = s * (z * (2 * torch.special.ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    torch.testing.assert_close(fair_crps(m + s * randn(200_000, 3), t), exact, atol=0.01, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_scores_of_few_draws_are_those_of_many_on_average(count):
    truth = 0.5 * randn(4, 4, seed=1)
    many = randn(2000, 4, 4, seed=2)
    few = randn(1500, count, 4, 4, seed=3)
    crps = torch.stack([fair_crps(draws, truth) for draws in few]).mean()
    assert float(crps) == pytest.approx(float(fair_crps(many, truth).mean()), abs=0.015)
    energy = sum(fair_energy(draws, truth) for draws in few) / len(few)
    assert energy == pytest.approx(fair_energy(many, truth), abs=0.06)


def test_exact_draws_score_best():
    truths, normal = randn(200, 8, 8), randn(200, 20, 8, 8, seed=1)
    wrong = {"narrow": 0.7 * normal, "wide": 1.4 * normal, "biased": normal + 0.3}
    for score in (lambda d, t: float(fair_crps(d, t).mean()), fair_energy):
        mean = lambda draws, score=score: sum(map(score, draws, truths)) / len(truths)
        for name, draws in wrong.items():
            assert mean(draws) > 1.01 * mean(normal), name


def test_the_energy_score_sees_what_single_elements_do_not():
    """Draws whose elements are right one by one, and hang together where the truth does not."""
    truths, alone = randn(400, 4, 4), randn(400, 20, 4, 4, seed=1)
    together = alone[:, :, :1, :1].expand(alone.shape)
    crps = lambda draws: sum(
        float(fair_crps(d, t).mean()) for d, t in zip(draws, truths, strict=True)
    )
    energy = lambda draws: sum(map(fair_energy, draws, truths))
    assert crps(together) == pytest.approx(crps(alone), rel=0.02)
    assert energy(together) > 1.1 * energy(alone)


def test_blocks_are_neighbours():
    x = torch.arange(2 * 5 * 9.0).view(1, 2, 5, 9)
    cut = blocks(x, 4)
    assert cut.shape == (1, 4, 16)
    assert torch.equal(cut[0, 1], x[0, 0, :4, 4:8].flatten())
    assert torch.equal(cut[0, 2], x[0, 1, :4, :4].flatten())
    flat = torch.arange(35.0)[None]
    assert torch.equal(blocks(flat, 4)[0], flat[0, :32].view(2, 16))
    assert blocks(flat[:, :3], 4).shape == (1, 1, 3)


def test_thirds_are_of_the_activity():
    activity = torch.tensor([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
    held = torch.tensor([False, True, True, False, False, True])
    assert by_thirds(held, activity) == (1.0, 0.5, 0.0)


def test_one_draw_is_too_few():
    with pytest.raises(SettingError, match="2 draws"):
        fair_crps(randn(1, 3), randn(3))
