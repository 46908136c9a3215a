"""Variances that networks learned: from the step of a chain to x0 | x, against closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_huggingface import folder_of
from torch import nn

from hdagger.priors import adm, checkpoint, huggingface
from hdagger.priors.classes import ClassifierFree
from hdagger.priors.conventions import BETAS, VariancePreserving, from_table
from hdagger.priors.huggingface import NetworkDenoiser

F64 = torch.float64
SHAPE = (2, 3, 4, 5)


class Chain:
    """DDPM's chain as Nichol and Dhariwal write it: beta, beta~ and the step's share of x0."""

    def __init__(self, convention):
        self.bar = 1 / (1 + convention.sigmas**2)
        before = torch.cat([torch.ones(1, dtype=F64), self.bar[:-1]])
        self.beta = 1 - self.bar / before
        self.tilde = self.beta * (1 - before) / (1 - self.bar)
        self.clean = self.beta * before.sqrt() / (1 - self.bar)
        self.least = torch.cat([self.tilde[1:2], self.tilde[1:]])


class Optimum(nn.Module):
    """The best of all networks with a learned range, if elements are N(0, v), each its own v.

    At a whole t the second half of its channels is the place of log Var[x_(t-1) | x_t] between
    log beta~ and log beta; between two it is interpolated, as a network that is smooth in t is.
    """

    dtype = F64

    def __init__(self, convention, v):
        super().__init__()
        channels = SHAPE[1]
        self.config = {
            "in_channels": channels, "out_channels": 2 * channels, "sample_size": 0,
            "block_out_channels": [1], "num_class_embeds": None,
        }  # fmt: skip
        self.convention, self.v, self.chain = convention, v, Chain(convention)

    def forward(self, x, t, label=None):
        before = t.long().clamp(max=self.convention.steps - 2)
        parts = [self.at(before + k) for k in (0, 1)]
        known = self.convention.sigmas.log()
        sigma = torch.lerp(known[before], known[before + 1], t - before).exp().view(-1, 1, 1, 1)
        noise = x * (1 + sigma**2).sqrt() * sigma / (sigma**2 + self.v)
        place = torch.lerp(*parts, (t - before).view(-1, 1, 1, 1))
        self.sample = torch.cat([noise, place], dim=1)
        return self

    def at(self, t):
        column = lambda values: values[t].view(-1, 1, 1, 1)
        chain, square = self.chain, column(self.convention.sigmas) ** 2
        open_ = square * self.v / (square + self.v)
        step = column(chain.tilde) + column(chain.clean) ** 2 * open_
        low, high = column(chain.least).log(), column(chain.beta).log()
        return 2 * (step.log() - low) / (high - low) - 1


def optimum(schedule):
    convention = VariancePreserving(schedule, learned_range=True)
    v = torch.logspace(-3, 0, SHAPE[1] * 20, dtype=F64).view(1, *SHAPE[1:])
    return NetworkDenoiser(Optimum(convention, v), convention), v


@pytest.mark.parametrize("schedule", BETAS)
def test_the_best_network_tells_the_variance_that_gaussian_data_have(schedule):
    prior, v = optimum(schedule)
    x = torch.randn(SHAPE, dtype=F64, generator=torch.Generator().manual_seed(0))
    for t in (0, 1, 2, 30, 400, 998, 999):
        sigma = prior.convention.sigmas[t]
        D, variance = prior.moments(x, sigma)
        torch.testing.assert_close(D, x * v / (sigma**2 + v), rtol=1e-6, atol=1e-9)
        exact = (sigma**2 * v / (sigma**2 + v)).expand(SHAPE)
        torch.testing.assert_close(variance, exact, rtol=1e-6, atol=0)
        assert torch.equal(prior(x, sigma), D)


def test_between_two_timesteps_the_variance_is_interpolated():
    prior, v = optimum("linear")
    x, levels = torch.zeros(SHAPE, dtype=F64), prior.convention.sigmas
    for t, off in ((0, 0.02), (1, 0.03), (2, 0.015), (30, 5e-4), (700, 3e-5)):
        sigma = (levels[t] * levels[t + 1]).sqrt().expand(2)
        exact = sigma[0] ** 2 * v / (sigma[0] ** 2 + v)
        variance = prior.moments(x, sigma)[1]
        assert ((variance / exact).log().abs() < off).all()


def test_a_variance_is_positive_and_no_more_than_that_of_unit_data_whatever_is_said():
    convention = VariancePreserving(learned_range=True)
    out = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4]).view(1, -1)
    for sigma in (0.01, 0.012, 0.1, 1.0, 157.0):
        level = torch.full((1, 1), sigma)
        variance = convention.variance(level, out)
        assert (variance > 0).all()
        assert (variance <= 1.02 * sigma**2 / (1 + sigma**2)).all()
        assert (variance.diff() >= 0).all()


@pytest.mark.parametrize("kind", ["learned_range", "learned", "fixed_small"])
def test_a_diffusers_network_tells_it_where_its_scheduler_says_what_it_learned(kind, tmp_path):
    from diffusers import DDPMScheduler

    net = folder_of(tmp_path, DDPMScheduler(variance_type=kind), out_channels=6)
    huggingface.from_folder(tmp_path).save(tmp_path / "prior.safetensors")
    prior = NetworkDenoiser.load(tmp_path / "prior.safetensors")
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sigma = prior.convention.sigmas[40]
    D, variance = prior.moments(x, sigma)
    assert torch.equal(D, prior(x, sigma))
    if kind != "learned_range":
        assert variance is None
        return
    chain = Chain(prior.convention)
    with torch.no_grad():
        out = net(x * chain.bar[40].sqrt().float(), 40).sample[:, 3:]
    share = ((out + 1) / 2).clamp(3e-4, 1)
    step = (share * chain.beta[40].log() + (1 - share) * chain.tilde[40].log()).exp()
    told = chain.tilde[40] + chain.clean[40] ** 2 * variance
    torch.testing.assert_close(told, step, rtol=1e-5, atol=0)


def test_a_network_without_room_for_a_variance_tells_none(tmp_path):
    from diffusers import DDPMScheduler

    folder_of(tmp_path, DDPMScheduler(variance_type="learned_range"))
    prior = huggingface.from_folder(tmp_path)
    assert prior.moments(torch.zeros(1, 3, 16, 16), torch.tensor(0.1))[1] is None


def test_what_was_added_before_variances_were_told_still_loads():
    table = {"vp": {"beta_schedule": "linear", "prediction": "epsilon"}}
    assert from_table(table) == VariancePreserving()


def tiny_adm(folder):
    """A network of guided-diffusion's layout, of random weights, as a prior's file."""
    plan = adm.Plan(adm.LAYOUTS[0], 32, 1, (False,) * 4, 3, 6, classes=0, shifts_only=False)
    torch.manual_seed(0)
    net = huggingface.diffusers().UNet2DModel(**plan.config())
    convention = VariancePreserving(plan.layout.schedule, learned_range=True)
    NetworkDenoiser(net, convention).save(folder / "network.safetensors")


def test_a_prior_that_learned_it_is_calibrated_by_place_and_draws_with_it(
    run, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    tiny_adm(tmp_path)
    code, _, err = run("priors", "add", "tiny", "--from", "network.safetensors")
    assert code == 0, err
    Path("pictures").mkdir()
    for k in range(2):
        noise = np.random.default_rng(k).integers(0, 256, (20, 24), np.uint8)
        Image.fromarray(noise).save(f"pictures/{k}.png")
    calibrate = ("priors", "calibrate", "tiny", "--pictures", "pictures")
    code, _, err = run(*calibrate, "--size", 16, "--count", 2)
    assert code == 0, err
    table = checkpoint.read(tmp_path / "data/hdagger/priors/tiny.covariance.safetensors")[2]
    assert table["nodes"].shape == (14, 3)
    assert (table["nodes"].diff() > 1.001e-3).any()
    Image.effect_noise((16, 16), 60).save("noisy.png")
    restore = ("restore", "noisy.png", "--denoise", 60, "--prior", "tiny")
    code, out, err = run(*restore, "--steps", 2, "--samples", 2, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["recipe"]["method"] == "drawn"
    assert told["nfe"] == 2


def test_towards_a_label_the_variance_is_that_of_the_class_and_none_if_guided():
    class Labelled:
        def __call__(self, x, sigma, label=None):
            return self.moments(x, sigma, label)[0]

        def moments(self, x, sigma, label=None):
            number = 0 if label is None else label.view(-1, 1)
            return x + number, 10 * x + number

    x, sigma = torch.rand(2, 3), torch.tensor(1.0)
    D, variance = ClassifierFree(Labelled(), 4).moments(x, sigma)
    assert torch.equal(D, x + 4)
    assert torch.equal(variance, 10 * x + 4)
    D, variance = ClassifierFree(Labelled(), 4, guidance=2.0).moments(x, sigma)
    torch.testing.assert_close(D, x + 8)
    assert variance is None
