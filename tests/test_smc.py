"""Twisted SMC: where the evidence is known, and what its weights must not depend on."""

from dataclasses import dataclass, replace

import pytest
import torch
from exact_moments import exact_moments

from hdagger.errors import OperatorAbilityError, SettingError
from hdagger.operators.spectral import Dense
from hdagger.priors.analytic import GaussianMixture, GaussianPrior
from hdagger.problem import Problem
from hdagger.samplers.ddim import DDIM
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.smc import SMC, effective_share, systematic
from hdagger.samplers.tmpd import TMPD
from hdagger.samplers.walk import karras_levels
from hdagger.tensors import SampleNoise

F64 = torch.float64
MATRIX = torch.tensor([[0.9, 0.3, -0.4], [0.0, 0.5, 0.6]], dtype=F64)
H = Dense(MATRIX)
Y = torch.tensor([1.5, -0.7], dtype=F64)
SIGMA_Y = 0.3
PRIOR = GaussianPrior(torch.tensor([0.3, -0.2, 0.5]), torch.diag(torch.tensor([0.5, 1.0, 2.0])))
LEVELS = karras_levels(60, low=0.01, high=60.0)
PIGDM = PiGDM(data_variance=1.0, jacobian="vjp")
TMPD_EULER = TMPD(eta=1.0, solver="euler", covariance="matrix")


def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator, dtype=F64)


def problem(rows):
    return Problem(Y.expand(rows, -1), H, SIGMA_Y)


def target(levels):
    """What a cloud draws from as it grows: mean, covariance and log-evidence, exactly.

    It is the law of the walk without data down to the last level, times the exact likelihood
    there, and then E[x0 | x, y]: the posterior, but for what the steps of the walk lose.
    """
    mean, cov = exact_moments(Stopped(eta=1.0), PRIOR, Y, H, SIGMA_Y, levels)
    sigma2, eye = levels[-2] ** 2, torch.eye(3, dtype=F64)
    shrink = PRIOR.cov @ torch.linalg.inv(PRIOR.cov + sigma2 * eye)
    A, b = MATRIX @ shrink, MATRIX @ (PRIOR.mean - shrink @ PRIOR.mean)
    S = sigma2 * MATRIX @ shrink @ MATRIX.T + SIGMA_Y**2 * torch.eye(2, dtype=F64)
    total = A @ cov @ A.T + S
    gain = cov @ A.T @ torch.linalg.inv(total)
    evidence = torch.distributions.MultivariateNormal(A @ mean + b, total).log_prob(Y)
    mean, cov = mean + gain @ (Y - A @ mean - b), cov - gain @ A @ cov
    left = sigma2 * shrink  # of x0, given x at the last level
    gain = left @ MATRIX.T @ torch.linalg.inv(S)
    last = shrink - gain @ A
    offset = PRIOR.mean - shrink @ PRIOR.mean + gain @ (Y - b)
    return last @ mean + offset, last @ cov @ last.T, float(evidence)


@dataclass(frozen=True)
class Stopped(DDIM):
    """DDIM without its last step."""

    def advance(self, trail, /, prior, problem, step, noise):
        if step.lower == 0:
            return trail
        return super().advance(trail, prior, problem, step, noise)


@pytest.mark.parametrize(
    "method",
    [
        PIGDM,
        replace(PIGDM, eta=0.5, step_variance=0.4),
        TMPD_EULER,
        replace(TMPD_EULER, covariance="rows"),
    ],
)
def test_one_particle_is_the_guided_sampler_bit_for_bit(method):
    streams = [(k,) for k in range(4)]
    alone = method.sample(PRIOR, problem(4), LEVELS, SampleNoise(0, streams))
    smc = SMC(eta=method.eta, particles=1, twist=method)
    assert torch.equal(smc.run(PRIOR, problem(4), LEVELS, SampleNoise(0, streams)).x, alone)


def test_the_target_of_a_cloud_tends_to_the_posterior():
    mean, cov = PRIOR.posterior(MATRIX, Y, SIGMA_Y)
    off = []
    for steps in (60, 120):
        walk_mean, walk_cov, _ = target(karras_levels(steps, low=0.01, high=60.0))
        off.append(float((walk_mean - mean).norm() + (walk_cov - cov).norm()))
    assert off[1] < 0.1
    assert off[0] / off[1] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize(("covariance", "slack"), [("matrix", 0.015), ("rows", 0.04)])
def test_the_evidence_and_the_posterior_are_those_of_the_closed_form(covariance, slack):
    """With an exact twist (matrix) and with one that is off (rows), by ten thousand particles."""
    mean, cov, evidence = target(LEVELS)
    twist, count = replace(TMPD_EULER, covariance=covariance), 10_000
    smc = SMC(particles=count, twist=twist)
    cloud = smc.run(PRIOR, problem(count), LEVELS, noise(0))
    assert float(cloud.log_evidence) == pytest.approx(evidence, abs=slack)
    assert float((cloud.x.mean(0) - mean).norm()) < slack
    assert float((cloud.x.T.cov() - cov).norm()) < slack
    if covariance == "rows":
        alone = twist.sample(PRIOR, problem(count), LEVELS, noise(0))
        assert float((alone.mean(0) - mean).norm()) > 5 * slack


def test_the_error_of_the_evidence_falls_as_the_root_of_the_particles():
    """For a twist that is off; the walk's own error, common to both, is taken out."""
    twist = replace(PIGDM, data_variance=0.5)
    levels = karras_levels(15, low=0.05, high=20.0)

    def spread(particles, clouds=150):
        smc = SMC(particles=particles, twist=twist)
        cloud = smc.run(PRIOR, problem(particles * clouds), levels, noise(1))
        return float(cloud.log_evidence.std())

    assert spread(16) / spread(256) == pytest.approx(4, rel=0.25)


def test_modes_get_the_weight_that_the_data_give_them():
    means = torch.tensor([[-4.0, 0.0, 0.0], [4.0, 0.0, 1.0]])
    prior = GaussianMixture(means, torch.tensor([0.8, 0.2]))
    rows = Problem(torch.zeros(2000, 2, dtype=F64), H, 2.0)
    weights, _, _ = prior.posterior(MATRIX, rows.y[0], 2.0)
    levels = karras_levels(60, low=0.01, high=60.0)

    def share(method):
        x = method.sample(prior, rows, levels, noise(0))
        return float(prior.responsibilities(x, torch.tensor(0.0, dtype=F64))[:, 0].mean())

    right = float(weights[0])
    assert share(SMC(particles=2000, twist=TMPD_EULER)) == pytest.approx(right, abs=0.02)
    assert share(TMPD_EULER) < right - 0.04


class Raised(TMPD):
    """TMPD with a constant added to its log-likelihood."""

    def guide(self, prior, x, problem, step):
        guidance = super().guide(prior, x, problem, step)
        return replace(guidance, log_likelihood=lambda: guidance.log_likelihood() + 7.0)


def test_a_constant_in_the_log_twist_changes_no_weight():
    plain, raised = (
        SMC(particles=50, twist=twist).run(PRIOR, problem(50), LEVELS, noise(0))
        for twist in (TMPD_EULER, Raised(eta=1.0, solver="euler", covariance="matrix"))
    )
    torch.testing.assert_close(raised.x, plain.x, rtol=0, atol=1e-9)
    torch.testing.assert_close(raised.ess, plain.ess, rtol=0, atol=1e-9)
    torch.testing.assert_close(raised.log_evidence, plain.log_evidence + 7, rtol=0, atol=1e-9)


def test_clouds_do_not_see_each_other_and_ancestors_are_counted():
    smc = SMC(particles=20, twist=replace(PIGDM, data_variance=0.5))
    streams = [(0, k) for k in range(40)]
    both = smc.run(PRIOR, problem(40), LEVELS, SampleNoise(0, streams))
    second = smc.run(PRIOR, problem(20), LEVELS, SampleNoise(0, streams[20:]))
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
        SMC(particles=3, twist=PIGDM).sample(PRIOR, problem(5), LEVELS, noise(0))
    with pytest.raises(SettingError, match="Try 500"):
        SMC(particles=0, twist=PIGDM)
    with pytest.raises(SettingError, match="fresh noise"):
        SMC(eta=0.0, particles=2, twist=PIGDM)
    with pytest.raises(OperatorAbilityError, match='covariance="matrix"'):
        SMC(particles=2, twist=TMPD()).sample(PRIOR, problem(2), LEVELS, noise(0))
