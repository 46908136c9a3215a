"""Scores against closed forms: their values, their fairness, and that nothing beats the truth."""

import math

import pytest
import torch

from hdagger.domains.pictures import metrics
from hdagger.errors import SettingError
from hdagger.judging import Judged, Scores
from hdagger.scores import blocks, by_thirds, fair_crps, fair_energy, spread_and_error


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


def test_blocks_are_neighbours_through_all_colours():
    x = torch.arange(2 * 5 * 9.0).view(1, 2, 5, 9)
    cut = blocks(x, 4)
    assert cut.shape == (1, 2, 32)
    assert torch.equal(cut[0, 1], x[0, :, :4, 4:8].flatten())
    assert torch.equal(blocks(x[:, 0], 4)[0, 1], x[0, 0, :4, 4:8].flatten())
    flat = torch.arange(35.0)[None]
    assert torch.equal(blocks(flat, 4)[0], flat[0, :32].view(2, 16))
    assert blocks(flat[:, :3], 4).shape == (1, 1, 3)


@pytest.mark.parametrize("count", [2, 8])
def test_exact_draws_vary_by_what_their_mean_misses(count):
    """However few they are: both are (1 + 1 / count) times the variance."""
    spread, error = spread_and_error(2 * randn(count, 60_000), 2 * randn(60_000, seed=1))
    assert spread == pytest.approx(4 * (1 + 1 / count), rel=0.02)
    assert error == pytest.approx(4 * (1 + 1 / count), rel=0.02)


def test_bands_take_a_picture_apart_and_lose_nothing():
    x = randn(2, 3, 20, 31)
    parts = metrics.bands(x)
    assert list(parts) == ["luma", "red-green", "yellow-blue"]
    energy = sum(band.square().sum(1) for part in parts.values() for band in part)
    torch.testing.assert_close(energy, x.square().sum((1, 2, 3)))
    gray = metrics.bands(x[:, :1])
    assert list(gray) == ["luma"]
    assert sum(band.shape[1] for band in gray["luma"]) == 20 * 31


@pytest.mark.parametrize(("period", "band"), [(32, 0), (8, 1), (3, 2)])
@pytest.mark.parametrize(
    ("colour", "part"),
    [((1, 1, 1), "luma"), ((1, -1, 0), "red-green"), ((1, 1, -2), "yellow-blue")],
)
def test_a_wave_is_in_the_band_of_its_period_and_colour(period, band, colour, part):
    wave = torch.cos(2 * math.pi / period * (torch.arange(96, dtype=torch.float64) + 0.5))
    x = torch.tensor(colour).double().view(1, 3, 1, 1) * wave.expand(96, 96)
    energy = {
        (name, k): float(found.square().sum())
        for name, bands in metrics.bands(x).items()
        for k, found in enumerate(bands)
    }
    assert energy[part, band] == pytest.approx(float(x.square().sum()))


def test_the_finest_texture_is_what_no_plane_has():
    down, across = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    assert not metrics.laplacian((3 * down - across + 2)[None]).any()
    checks = (-1) ** (down + across)
    assert torch.equal(metrics.laplacian(checks), 8 * checks[1:-1, 1:-1])


def test_ratios_over_many_truths_are_those_of_the_sums():
    """A quiet truth does not count as much as a busy one; what is exact is not told."""
    nothing = torch.zeros(1), torch.zeros(2, 1)
    busy = Judged(
        {0.9: 0.8}, None, 1.2, nothing, 0.1, 1.0, {"all": [(4.0, 16.0), (0, 1e-14)]},
        (3.0, 2.0), (20.0, 22.0), nothing[0], 20, 1.0,
    )  # fmt: skip
    quiet = Judged(
        {0.9: 1.0}, None, None, nothing, 0.3, 3.0, {"all": [(0.5, 2.0), (0, 1e-14)]},
        (1.0, 0.0), (30.0, 33.0), nothing[0], 20, 3.0,
    )  # fmt: skip
    found = Scores.of([busy, quiet])
    assert found.bands == {"all": [0.5, None]}
    assert (found.texture, found.psnr) == (2.0, (25.0, 27.5))
    assert found.covered == {0.9: pytest.approx(0.9)}
    assert (found.chi2_dof, found.thirds, found.seconds) == (1.2, None, 2.0)
    assert (found.crps, found.energy) == (pytest.approx(0.2), 2.0)
    assert found.described()["spread/error, all"] == "0.50, exact"


def test_thirds_are_of_the_activity():
    activity = torch.tensor([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
    held = torch.tensor([False, True, True, False, False, True])
    assert by_thirds(held, activity) == (1.0, 0.5, 0.0)


def test_one_draw_is_too_few():
    with pytest.raises(SettingError, match="2 draws"):
        fair_crps(randn(1, 3), randn(3))
