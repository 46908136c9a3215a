"""Denoisers: exact ones against calculus, networks against their promises."""

import hashlib

import pytest
import torch

from hdagger.errors import FileError, SettingError
from hdagger.priors import cards, zoo
from hdagger.priors.analytic import GaussianMixture, GaussianPrior
from hdagger.priors.tiles import Tiled
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.tensors import SampleNoise

F64 = torch.float64
MEANS = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5], [-1.0, -1.0, 1.0]], dtype=F64)
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=F64)
TINY = UNetShape(widths=(8, 16), embedding=16, heads=2)


def small_network():
    torch.manual_seed(0)
    denoiser = UNetDenoiser(TINY).eval().requires_grad_(False)
    for weight in denoiser.parameters():
        weight.copy_(0.1 * torch.randn_like(weight))
    return denoiser


def test_the_mixtures_denoiser_is_tweedies():
    """D = x + sigma^2 grad log p(x), the density by autograd."""
    mixture, sigma = GaussianMixture(MEANS, WEIGHTS, std=0.6), torch.tensor(0.8, dtype=F64)
    x = torch.tensor([[0.3, -0.2, 0.9], [1.5, 0.2, 0.1]], dtype=F64, requires_grad=True)
    components = torch.distributions.Independent(
        torch.distributions.Normal(MEANS, (0.6**2 + sigma**2).sqrt()), 1
    )
    density = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(WEIGHTS), components
    )
    (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    torch.testing.assert_close(mixture(x.detach(), sigma), x.detach() + sigma**2 * score)


def test_the_mixtures_posterior_of_a_denoising_is_its_denoiser():
    mixture = GaussianMixture(MEANS, WEIGHTS, std=0.6)
    y, sigma = torch.tensor([0.3, -0.2, 0.9], dtype=F64), 0.8
    weights, means, cov = mixture.posterior(torch.eye(3, dtype=F64), y, sigma)
    expected = mixture(y[None], torch.tensor(sigma, dtype=F64))[0]
    torch.testing.assert_close(weights @ means, expected)
    torch.testing.assert_close(weights, mixture.responsibilities(y[None], sigma)[0])
    v = 0.6**2
    torch.testing.assert_close(cov, v * sigma**2 / (v + sigma**2) * torch.eye(3, dtype=F64))


@pytest.mark.parametrize(
    "prior",
    [
        GaussianPrior(MEANS[0], torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.3]])),
        GaussianMixture(MEANS, WEIGHTS, std=0.6),
    ],
)
def test_exact_samples_have_the_priors_moments(prior):
    draws = prior.sample(40_000, SampleNoise(0, [(i,) for i in range(40_000)]))
    if isinstance(prior, GaussianPrior):
        mean, cov = prior.mean, prior.cov
    else:
        mean = WEIGHTS @ MEANS
        centred = MEANS - mean
        cov = 0.36 * torch.eye(3, dtype=F64) + (WEIGHTS[:, None] * centred).T @ centred
    torch.testing.assert_close(draws.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.T.cov(), cov, atol=0.05, rtol=0)


def test_noise_belongs_to_a_sample():
    noise = SampleNoise(0, [(0, 0), (0, 1), (7, 3)])
    first, second = noise((3, 2, 5)), noise((3, 4))
    alone = SampleNoise(0, [(7, 3)])
    assert torch.equal(alone((1, 2, 5))[0], first[2])
    assert torch.equal(alone((1, 4))[0], second[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], SampleNoise(1, [(0, 0)])((1, 2, 5))[0])


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (8, 8), (9, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_takes_any_size_and_keeps_the_precision(size, dtype):
    x = torch.randn(2, 3, *size, dtype=dtype)
    D = small_network()(x, torch.tensor(0.5))
    assert D.shape == x.shape
    assert D.dtype == dtype


def test_no_level_of_the_network_sees_more_than_the_picture():
    """A level of 17 rows is 17 rows high, not as many as give the lowest whole ones."""
    denoiser, seen = small_network(), []
    for stage in (*denoiser.net.down, *denoiser.net.up):
        stage.register_forward_hook(lambda _, shown, out: seen.append(tuple(out.shape[2:])))
    denoiser(torch.randn(1, 3, 33, 18), torch.tensor(0.5))
    assert seen == [(17, 9), (9, 5), (9, 5), (17, 9)]


def test_the_network_takes_a_level_for_each_row():
    denoiser, x = small_network(), torch.randn(2, 3, 8, 8)
    levels = torch.tensor([0.1, 3.0])
    together = denoiser(x, levels)
    for row, level in enumerate(levels):
        alone = denoiser(x[row : row + 1], level)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)


def test_the_network_is_the_identity_without_noise():
    x = torch.rand(1, 3, 8, 8, dtype=F64) * 2 - 1
    D = small_network()(x, torch.tensor(1e-6, dtype=F64))
    torch.testing.assert_close(D, x, atol=1e-4, rtol=0)


def test_weights_survive_their_file(tmp_path):
    denoiser, x = small_network(), torch.randn(1, 3, 8, 8)
    denoiser.save(tmp_path / "a.safetensors")
    again = UNetDenoiser.load(tmp_path / "a.safetensors")
    assert again.shape == TINY
    sigma = torch.tensor(0.5)
    torch.testing.assert_close(again(x, sigma), denoiser(x, sigma), atol=2e-3, rtol=0)


def test_moments_of_white_pixels_are_those_of_a_gaussian():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    denoiser = UNetDenoiser(UNetShape(widths=(32,), down=0, up=1, heads=2, spread=True))
    optimiser = torch.optim.Adam(denoiser.parameters(), lr=0.003)
    std, sigma, label = 0.2, torch.tensor(0.3), torch.zeros(16, dtype=torch.long)
    for _ in range(150):
        x0 = std * torch.randn(16, 3, 16, 16, generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        optimiser.zero_grad()
        denoiser.loss(x0, sigma.expand(16), noise, label).backward()
        optimiser.step()
    x0 = std * torch.randn(8, 3, 20, 20, generator=generator)
    x = x0 + sigma * torch.randn(x0.shape, generator=generator)
    with torch.no_grad():
        mean, variance = denoiser.moments(x, sigma)
        torch.testing.assert_close(mean, denoiser(x, sigma))
    known = std**2 * float(sigma) ** 2 / (std**2 + float(sigma) ** 2)
    error = float((mean - x0).square().mean())
    assert float(variance.mean()) == pytest.approx(error, rel=0.05)
    assert 0.95 * known < variance.mean() < 1.25 * known


def test_a_prior_without_spread_tells_no_variance():
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor(0.5)
    network = small_network()
    D, variance = network.moments(x, sigma)
    assert variance is None
    assert torch.equal(D, network(x, sigma))


class Local:
    """A denoiser that looks at the 3 x 3 neighbourhood, and counts what it is shown."""

    largest = 0

    def __call__(self, x, sigma):
        self.largest = max(self.largest, x.shape[2] * x.shape[3])
        return torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (50, 50), (100, 16), (31, 33)])
def test_tiles_agree_with_the_whole(size):
    x, local = torch.randn(1, 2, *size, dtype=F64), Local()
    tiled = Tiled(local, tile=16, overlap=8)(x, torch.tensor(1.0))
    assert local.largest <= 16 * 16
    seams = (tiled - Local()(x, torch.tensor(1.0))).abs()
    assert float(seams.median()) < 1e-12
    assert float(seams.max()) < 0.25


def test_tiles_are_no_larger_than_they_must_be():
    """17 pixels are two tiles of 13 that share 9, but for a network that takes 16 alone."""
    x, seen = torch.randn(1, 2, 17, 24, dtype=F64), []
    see = lambda x, sigma: seen.append(tuple(x.shape[2:])) or x
    for only in (False, True):
        Tiled(see, tile=16, overlap=8, only=only)(x, torch.tensor(1.0))
    assert seen == [(13, 16)] * 4 + [(16, 16)] * 4


def test_tiles_have_the_gradient_of_the_whole():
    x = torch.randn(1, 1, 40, 24, dtype=F64, requires_grad=True)
    tiled = Tiled(Local(), tile=16, overlap=8)
    v = torch.randn(1, 1, 40, 24, dtype=F64)
    (actual,) = torch.autograd.grad(tiled(x, torch.tensor(1.0)), x, v)
    h = 1e-6
    direction = torch.randn_like(x)
    with torch.no_grad():
        ahead = tiled(x + h * direction, torch.tensor(1.0))
        behind = tiled(x - h * direction, torch.tensor(1.0))
    expected = ((ahead - behind) / (2 * h) * v).sum()
    torch.testing.assert_close((actual * direction).sum(), expected)


def test_the_bundled_prior_denoises_at_every_level():
    photo = zoo.load(zoo.card("photo"))
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    x0 = torch.stack([torch.sin(rows / 9), columns / 24 - 1, (rows > columns) * 1.0 - 0.5])[None]
    noise = SampleNoise(0, [(0,)])((1, 3, 48, 48)).float()
    for sigma in (0.02, 0.1, 0.5, 2.0, 10.0):
        level = torch.tensor(sigma)
        error = (photo(x0 + sigma * noise, level) - x0).square().mean().sqrt()
        assert error < 0.75 * min(sigma, 1.0)


def test_a_card_keeps_its_word():
    for card in cards.known():
        assert hashlib.sha256(card.weights.read_bytes()).hexdigest() == card.sha256
        assert card.weights.stat().st_size <= 20e6
        assert card.licence
        assert card.data
        assert card.recipe
        assert card.evaluation


def test_changed_weights_are_refused(tmp_path):
    forged = zoo.Card("photo", tmp_path / "photo.safetensors", sha256="0" * 64)
    forged.weights.write_bytes(b"changed")
    with pytest.raises(FileError, match="sha256"):
        zoo.load(forged)
    with pytest.raises(FileError, match="does not exist"):
        zoo.load(zoo.Card("gone", tmp_path / "gone.safetensors"))
    with pytest.raises(SettingError, match="hdagger priors"):
        zoo.card("nothing")


def test_a_pickle_is_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save(Bomb(), tmp_path / "bomb.safetensors")
    with pytest.raises(FileError, match="hdagger train"):
        UNetDenoiser.load(tmp_path / "bomb.safetensors")
    assert not (tmp_path / "exploded").exists()
