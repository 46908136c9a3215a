"""Twisted SMC: where the evidence is known, and what its weights must not depend on."""

from dataclasses import replace

import pytest
import torch

from hdagger.errors import OperatorAbilityError, SettingError
from hdagger.operators.spectral import Dense
from hdagger.priors.analytic import GaussianMixture, GaussianPrior
from hdagger.samplers.base import Problem, karras_levels
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.smc import SMC, effective_share, systematic
from hdagger.samplers.tmpd import TMPD
from hdagger.tensors import SampleNoise

F64 = torch.float64
MATRIX = torch.tensor([[0.9, 0.3, -0.4], [0.0, 0.5, 0.6]], dtype=F64)
H = Dense(MATRIX)
Y = torch.tensor([1.5, -0.7], dtype=F64)
SIGMA_Y = 0.3
PRIOR = GaussianPrior(torch.tensor([0.3, -0.2, 0.5]), torch.diag(torch.tensor([0.5, 1.0, 2.0])))
LEVELS = karras_levels(60, low=0.01, high=60.0)


def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator, dtype=F64)


def problem(rows):
    return Problem(Y.expand(rows, -1), H, SIGMA_Y)


def log_evidence():
    total = MATRIX @ PRIOR.cov @ MATRIX.T + SIGMA_Y**2 * torch.eye(2)
    law = torch.distributions.MultivariateNormal(MATRIX @ PRIOR.mean, total)
    return float(law.log_prob(Y))


@pytest.mark.parametrize(
    "sampler",
    [
        PiGDM(PRIOR),
        PiGDM(PRIOR, eta=0.5, step_variance=0.4),
        TMPD(PRIOR, covariance="matrix"),
        TMPD(PRIOR, covariance="rows"),
    ],
)
def test_one_particle_is_the_guided_sampler_bit_for_bit(sampler):
    alone = sampler.sample(problem(4), LEVELS, SampleNoise(0, [(k,) for k in range(4)]))
    cloud = SMC(sampler, 1).run(problem(4), LEVELS, SampleNoise(0, [(k,) for k in range(4)]))
    assert torch.equal(cloud.x, alone)


@pytest.mark.parametrize("covariance", ["matrix", "rows"])
def test_the_evidence_and_the_posterior_are_those_of_the_closed_form(covariance):
    """With an exact twist (matrix) and with one that is off (rows)."""
    mean, cov = PRIOR.posterior(MATRIX, Y, SIGMA_Y)
    cloud = SMC(TMPD(PRIOR, covariance=covariance), 2000).run(problem(2000), LEVELS, noise(0))
    assert float(cloud.log_evidence) == pytest.approx(log_evidence(), abs=0.1)
    assert float((cloud.x.mean(0) - mean).norm()) < 0.1
    assert float((cloud.x.T.cov() - cov).norm()) < 0.25


def test_the_error_of_the_evidence_falls_as_the_root_of_the_particles():
    """For a twist that is off; the walk's own error, common to both, is taken out."""
    sampler = PiGDM(PRIOR, data_variance=0.5)
    levels = karras_levels(15, low=0.05, high=20.0)

    def spread(particles, clouds=150):
        cloud = SMC(sampler, particles).run(problem(particles * clouds), levels, noise(1))
        return float(cloud.log_evidence.std())

    assert spread(16) / spread(256) == pytest.approx(4, rel=0.25)


def test_modes_get_the_weight_that_the_data_give_them():
    means = torch.tensor([[-4.0, 0.0, 0.0], [4.0, 0.0, 1.0]])
    prior = GaussianMixture(means, torch.tensor([0.8, 0.2]))
    rows = Problem(torch.zeros(2000, 2, dtype=F64), H, 2.0)
    weights, _, _ = prior.posterior(MATRIX, rows.y[0], 2.0)
    levels = karras_levels(60, low=0.01, high=60.0)

    def share(sampler):
        x = sampler.sample(rows, levels, noise(0))
        return float(prior.responsibilities(x, torch.tensor(0.0, dtype=F64))[:, 0].mean())

    assert share(SMC(TMPD(prior, covariance="matrix"), 2000)) == pytest.approx(
        float(weights[0]), abs=0.05
    )


class Raised(TMPD):
    """TMPD with a constant added to its log-likelihood."""

    def guide(self, x, problem, step):
        guidance = super().guide(x, problem, step)
        return replace(guidance, log_likelihood=lambda: guidance.log_likelihood() + 7.0)


def test_a_constant_in_the_log_twist_changes_no_weight():
    plain = SMC(TMPD(PRIOR, covariance="matrix"), 50).run(problem(50), LEVELS, noise(0))
    raised = SMC(Raised(PRIOR, covariance="matrix"), 50).run(problem(50), LEVELS, noise(0))
    torch.testing.assert_close(raised.x, plain.x, rtol=0, atol=1e-9)
    torch.testing.assert_close(raised.ess, plain.ess, rtol=0, atol=1e-9)
    torch.testing.assert_close(raised.log_evidence, plain.log_evidence + 7, rtol=0, atol=1e-9)


def test_clouds_do_not_see_each_other_and_ancestors_are_counted():
    sampler = SMC(PiGDM(PRIOR, data_variance=0.5), 20)
    streams = [(0, k) for k in range(40)]
    both = sampler.run(problem(40), LEVELS, SampleNoise(0, streams))
    second = sampler.run(problem(20), LEVELS, SampleNoise(0, streams[20:]))
    torch.testing.assert_close(both.x[20:], second.x, rtol=0, atol=1e-12)
    assert both.ess.shape == (60, 2)
    assert ((both.ess > 0) & (both.ess <= 1 + 1e-12)).all()
    assert (both.distinct_ancestors < 20).all()
    assert (both.distinct_ancestors >= 1).all()


def test_systematic_resampling_takes_each_particle_its_share_of_times():
    log_weights = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4]], dtype=F64).log()
    for place in (0.0, 0.3, 0.999):
        chosen = systematic(log_weights, torch.full((2,), place, dtype=F64))
        for row, weights in zip(chosen, log_weights.exp(), strict=True):
            counts = torch.bincount(row, minlength=4)
            assert ((counts - 4 * weights).abs() < 1).all()
    assert effective_share(torch.zeros(1, 5)) == pytest.approx(1)


def test_smc_says_how_to_mend_its_settings():
    with pytest.raises(SettingError, match="Ask for 6 samples"):
        SMC(PiGDM(PRIOR), 3).sample(problem(5), LEVELS, noise(0))
    with pytest.raises(SettingError, match="Try 500"):
        SMC(PiGDM(PRIOR), 0)
    with pytest.raises(SettingError, match="fresh noise"):
        SMC(PiGDM(PRIOR, eta=0.0), 2)
    with pytest.raises(OperatorAbilityError, match='covariance="matrix"'):
        SMC(TMPD(PRIOR), 2).sample(problem(2), LEVELS, noise(0))
