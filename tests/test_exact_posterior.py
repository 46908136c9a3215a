"""Where the posterior is known in closed form, a sampler must land on it.

No Monte Carlo: see exact_moments.py. So the tolerances are tight, the rate at which the
error falls is asserted, and known biases are asserted as numbers.
"""

import math
from dataclasses import replace

import pytest
import torch
from exact_moments import exact_moments

from hdagger.operators.checks import dense
from hdagger.operators.spectral import Dense, Identity, Inpainting
from hdagger.priors.analytic import GaussianPrior
from hdagger.problem import Problem
from hdagger.samplers.daps import DAPS
from hdagger.samplers.ddim import DDIM
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.diffpir import DiffPIR
from hdagger.samplers.guidance import DPS, ReconstructionGuidance
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.projection import Projection
from hdagger.samplers.red import RED
from hdagger.samplers.reddiff import REDDiff
from hdagger.samplers.snips import SNIPS
from hdagger.samplers.tmpd import TMPD
from hdagger.samplers.walk import Step, karras_levels

F64 = torch.float64
Y = torch.tensor([1.5, -0.7], dtype=F64)
SIGMA_Y = 0.3
MATRIX = torch.tensor(
    [[0.9, 0.3, 0.0, -0.4, 0.1], [0.0, 0.5, -0.2, 0.3, 0.6]], dtype=F64
)  # singular values 1.06 and 0.83: on either side of the data variance
H = Dense(MATRIX)
WHITE = GaussianPrior(torch.tensor([0.3, -0.2, 0.5, 0.0, 0.1]))
STEPS = (50, 100, 200)
PIGDM = PiGDM(data_variance=1.0, jacobian="vjp")
TMPD_EULER = TMPD(eta=1.0, solver="euler", iterations=20)


def errors(method, prior, truth, sigma_y=SIGMA_Y, low=0.002, counts=STEPS):
    """Distances of the mean and of the covariance from the truth at every number of steps."""
    mean, cov = truth
    moments = [
        exact_moments(method, prior, Y, H, sigma_y, karras_levels(steps, low=low, high=300.0))
        for steps in counts
    ]
    return (
        [float((m - mean).norm()) for m, _ in moments],
        [float((c - cov).norm()) for _, c in moments],
    )


def assert_first_order(values, small):
    assert values[-1] < small
    assert values[0] / values[1] == pytest.approx(2, rel=0.2)
    assert values[1] / values[2] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_converges_to_the_prior(eta):
    cov = torch.diag(torch.tensor([0.05, 0.3, 1.0, 2.0, 4.0], dtype=F64))
    cov[0, 1] = cov[1, 0] = 0.1
    prior = GaussianPrior(WHITE.mean, cov)
    mean_errors, cov_errors = errors(DDIM(eta), prior, (WHITE.mean, cov))
    assert max(mean_errors) < 0.01  # what a highest level of 300 leaves
    assert_first_order(cov_errors, small=0.5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_pigdm_converges_to_the_exact_posterior(eta):
    truth = WHITE.posterior(MATRIX, Y, SIGMA_Y)
    mean_errors, cov_errors = errors(replace(PIGDM, eta=eta), WHITE, truth)
    assert mean_errors[-1] < 0.02
    assert_first_order(cov_errors, small=0.12)


def test_pigdm_needs_the_variance_of_the_data():
    prior = GaussianPrior(WHITE.mean, 4 * torch.eye(5))
    mean, cov = prior.posterior(MATRIX, Y, SIGMA_Y)
    levels = karras_levels(200, high=300.0)

    def distance(data_variance):
        method = replace(PIGDM, eta=0.0, data_variance=data_variance)
        got_mean, got_cov = exact_moments(method, prior, Y, H, SIGMA_Y, levels)
        spread = MATRIX @ (got_cov - cov) @ MATRIX.T
        return float((MATRIX @ (got_mean - mean)).norm()), float(spread.norm() / SIGMA_Y**2)

    assert max(distance(4.0)) < 0.06
    assert max(distance(1.0)) > 0.2


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_noiseless_pigdm_converges_to_the_exact_posterior(eta):
    truth = WHITE.posterior(MATRIX, Y, 0.0)
    mean_errors, cov_errors = errors(replace(PIGDM, eta=eta), WHITE, truth, sigma_y=0.0)
    assert mean_errors[-1] < 0.02
    assert_first_order(cov_errors, small=0.12)


def test_the_papers_weighting_is_no_posterior_and_its_mean_gets_worse_with_steps():
    """It converges, but to another law: more steps lead the mean away from the posterior's."""
    truth = WHITE.posterior(MATRIX, Y, SIGMA_Y)
    paper, right = replace(PIGDM, weighting="paper"), PIGDM
    mean_errors, cov_errors = errors(paper, WHITE, truth)
    assert mean_errors == pytest.approx([0.0984, 0.1368, 0.1387], rel=2e-3)
    assert mean_errors[0] < mean_errors[1] < mean_errors[2]
    assert cov_errors == pytest.approx([0.4189, 0.2489, 0.1686], rel=2e-3)
    right_mean, right_cov = errors(right, WHITE, truth, counts=(200,))
    assert right_mean[0] < 0.15 * mean_errors[2]
    assert right_cov[0] < 0.75 * cov_errors[2]


def test_reconstruction_guidance_converges_to_the_noiseless_posterior():
    """Its likelihood has variance sigma^2 / w, which ends at 0 whatever the noise is."""
    truth = WHITE.posterior(MATRIX, Y, 0.0)
    mean_errors, cov_errors = errors(ReconstructionGuidance(strength=1.0), WHITE, truth)
    assert mean_errors[-1] < 0.001
    assert_first_order(cov_errors, small=0.12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 0.85, 1.0])
def test_projection_of_exact_data_converges_to_the_exact_posterior(eta):
    truth = WHITE.posterior(MATRIX, Y, 0.0)
    mean_errors, cov_errors = errors(Projection(eta), WHITE, truth, sigma_y=0.0)
    assert mean_errors[-1] < 0.01
    assert_first_order(cov_errors, small=0.12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 0.85, 1.0])
def test_ddrm_is_exact_where_it_observes_and_narrow_where_not(eta):
    """Known bias: unobserved directions keep (1 + sqrt(1 - eta^2)) / 2 of the variance."""
    mean, cov = WHITE.posterior(MATRIX, Y, 0.0)
    levels = karras_levels(200, high=300.0)
    got_mean, got_cov = exact_moments(DDRM(eta), WHITE, Y, H, 0.0, levels)
    assert (got_mean - mean).norm() < 0.01
    share = (1 + math.sqrt(1 - eta**2)) / 2
    assert (got_cov - share * cov).norm() < 0.06
    assert float((MATRIX @ got_cov @ MATRIX.T).norm()) < 1e-12


@pytest.mark.parametrize(
    ("steps", "share", "off"), [(20, 0.2421, 0.2050), (100, 0.1331, 0.7126), (400, 0.0716, 1.0448)]
)
def test_ddrm_with_noise_is_far_too_narrow_where_it_observes_and_more_so_with_more_steps(
    steps, share, off
):
    """Known bias. A white prior, all observed with sigma_y = 1: the posterior is N(y/2, 1/2)."""
    levels, y = karras_levels(steps, low=0.03, high=80.0), torch.tensor([2.0], dtype=F64)
    mean, cov = exact_moments(
        DDRM(eta=0.85), GaussianPrior(torch.zeros(1)), y, Identity((1,)), 1.0, levels
    )
    assert float(cov) / 0.5 == pytest.approx(share, abs=5e-5)
    assert float(mean - y / 2) / 0.5**0.5 == pytest.approx(off, abs=5e-5)


@pytest.mark.parametrize("sigma_y", [0.0, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("eta", [0.0, 0.85, 1.0])
@pytest.mark.parametrize("eta_b", [0.5, 1.0])
def test_every_branch_of_ddrm_keeps_the_variance_of_a_one_point_prior(sigma_y, eta, eta_b):
    """Over the noise of x, of y and of the step, x' ~ N(x*, lower^2 I), in exact arithmetic."""
    point = GaussianPrior(WHITE.mean, torch.zeros(5, 5))
    tall = Dense(torch.cat([MATRIX, torch.zeros(1, 5)]))
    method, n, m = DDRM(eta, eta_b), 5, 3
    unit = torch.cat([torch.zeros(1, n + m + n), torch.eye(n + m + n)]).to(F64)
    x_noise, y_noise, z = unit[:, :n], unit[:, n : n + m], unit[:, n + m :]
    step = Step(torch.tensor(1.0, dtype=F64), torch.tensor(0.2, dtype=F64), eta, 0, 2)
    rows = Problem(tall(point.mean[None]) + sigma_y * y_noise, tall, sigma_y)

    start = method.finish(method.start(rows, step.sigma, lambda shape: x_noise), rows)
    columns = start[1:] - start[0]
    torch.testing.assert_close(columns.T @ columns, torch.eye(n, dtype=F64), rtol=0, atol=1e-12)

    state = tall.Vt(point.mean + x_noise)
    moved = method.finish(method.advance(state, point, rows, step, lambda shape: z), rows)
    torch.testing.assert_close(moved[0], point.mean, rtol=0, atol=1e-12)
    columns, expected = moved[1:] - moved[0], step.lower**2 * torch.eye(n, dtype=F64)
    torch.testing.assert_close(columns.T @ columns, expected, rtol=0, atol=1e-12)


def test_dps_moves_by_a_step_of_fixed_length():
    step = Step(torch.tensor(2.0, dtype=F64), torch.tensor(1.0, dtype=F64), 1.0, 3, 10)
    x = torch.tensor([[0.5, -1.0, 2.0, 0.3, 0.0], [3.0, 0.0, 0.0, 0.0, 1.0]], dtype=F64)
    problem = Problem(Y.expand(2, -1), H, SIGMA_Y)
    actual = DPS(strength=0.7).correct(WHITE, x, problem, step)
    D, jacobian = WHITE(x, step.sigma), 1 / (1 + step.sigma**2)
    e = Y - D @ MATRIX.T
    pull = jacobian * e @ MATRIX / e.norm(dim=1, keepdim=True)
    shift = 0.7 * math.sqrt((1 + 1.0**2) * (1 + 2.0**2)) * pull
    torch.testing.assert_close(actual, D + shift / (1 - step.keep))


def test_a_projection_that_never_fires_is_ddim():
    levels, problem = karras_levels(7), Problem(Y[None], H, 0.0)

    def draw(method):
        generator = torch.Generator().manual_seed(0)
        return method.sample(
            WHITE,
            problem,
            levels,
            lambda shape: torch.randn(shape, generator=generator, dtype=F64),
        )

    assert torch.equal(draw(Projection(schedule="last:0")), draw(DDIM(eta=0.85)))
    assert not torch.equal(draw(Projection(schedule="last:1")), draw(DDIM(eta=0.85)))


def test_denoising_a_gaussian_gives_its_posterior():
    prior = GaussianPrior(WHITE.mean, torch.diag(torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0])))
    y = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0], dtype=F64)
    mean, _ = prior.posterior(dense(Identity((5,))), y, 0.7)
    torch.testing.assert_close(prior(y[None], torch.tensor(0.7, dtype=F64))[0], mean)


COLOURED = GaussianPrior(
    WHITE.mean, torch.diag(torch.tensor([0.05, 0.3, 1.0, 2.0, 4.0])) + 0.02 * torch.ones(5, 5)
)


FEWER = (25, 50, 100)
EXACT = TMPD(eta=0.0, solver="euler", covariance="matrix")


def assert_second_order(values, small):
    assert values[-1] < small
    assert values[0] / values[1] == pytest.approx(4, rel=0.2)
    assert values[1] / values[2] == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(("eta", "covariance"), [(1.0, "matrix"), (0.0, "krylov")])
def test_tmpd_converges_to_the_posterior_of_any_gaussian(eta, covariance):
    truth = COLOURED.posterior(MATRIX, Y, SIGMA_Y)
    mean_errors, cov_errors = errors(
        replace(TMPD_EULER, eta=eta, covariance=covariance), COLOURED, truth
    )
    assert mean_errors[-1] < 0.01
    assert_first_order(cov_errors, small=0.12)


def test_noiseless_tmpd_converges_to_the_posterior():
    truth = COLOURED.posterior(MATRIX, Y, 0.0)
    method = replace(TMPD_EULER, eta=0.0)
    mean_errors, cov_errors = errors(method, COLOURED, truth, sigma_y=0.0, counts=FEWER)
    assert mean_errors[-1] < 0.01
    assert_first_order(cov_errors, small=0.12)


def test_the_row_sums_of_tmpd_are_exact_where_the_covariance_of_the_data_is_diagonal():
    prior = GaussianPrior(WHITE.mean, torch.diag(torch.tensor([0.05, 0.3, 1.0, 2.0, 4.0])))
    H = Inpainting(torch.tensor([True, False, True, True, False]))
    x, problem = torch.full((1, 5), 0.7, dtype=F64), Problem(Y.repeat(3)[None, :5], H, SIGMA_Y)
    step = Step(torch.tensor(2.0, dtype=F64), torch.tensor(1.0, dtype=F64), 1.0, 3, 10)
    rows, matrix = (TMPD(covariance=c).guide(prior, x, problem, step) for c in ("rows", "matrix"))
    torch.testing.assert_close(rows.pull, matrix.pull, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rows.log_likelihood(), matrix.log_likelihood(), rtol=1e-12, atol=0)


def test_the_likelihood_of_tmpd_and_of_pigdm_is_exact_for_their_gaussians():
    step = Step(torch.tensor(2.0, dtype=F64), torch.tensor(1.0, dtype=F64), 1.0, 3, 10)
    x = torch.tensor([[0.5, -1.0, 2.0, 0.3, 0.0], [3.0, 0.0, 0.0, 0.0, 1.0]], dtype=F64)
    for method in (PIGDM, TMPD(covariance="matrix")):
        actual = method.guide(
            WHITE, x, Problem(Y.expand(2, -1), H, SIGMA_Y), step
        ).log_likelihood()
        cov = 4 / 5 * MATRIX @ MATRIX.T + SIGMA_Y**2 * torch.eye(2, dtype=F64)
        law = torch.distributions.MultivariateNormal(WHITE(x, step.sigma) @ MATRIX.T, cov)
        torch.testing.assert_close(actual, law.log_prob(Y), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("eta", "counts"), [(0.0, FEWER), pytest.param(1.0, STEPS, marks=pytest.mark.slow)]
)
def test_heun_is_of_second_order(eta, counts):
    truth = COLOURED.posterior(MATRIX, Y, SIGMA_Y)
    mean_errors, cov_errors = errors(
        replace(EXACT, eta=eta, solver="heun"), COLOURED, truth, counts=counts
    )
    assert mean_errors[-1] < 0.01
    assert_second_order(cov_errors, small=0.02)


def test_multistep_is_of_second_order_without_fresh_noise():
    truth = COLOURED.posterior(MATRIX, Y, SIGMA_Y)
    method = replace(EXACT, solver="multistep")
    mean_errors, cov_errors = errors(method, COLOURED, truth, counts=FEWER)
    assert mean_errors[-1] < 0.01
    assert_second_order(cov_errors, small=0.01)


@pytest.mark.parametrize("solver", ["heun", "multistep"])
def test_a_solver_that_assumes_a_variance_keeps_its_order_and_gains(solver):
    truth = COLOURED.posterior(MATRIX, Y, SIGMA_Y)
    method = replace(EXACT, solver=solver)
    _, plain = errors(method, COLOURED, truth, counts=FEWER[:1])
    _, better = errors(replace(method, step_variance=1.0), COLOURED, truth, counts=FEWER)
    assert_second_order(better, small=0.01)
    assert better[0] < plain[0] / 2


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sigma_y", [SIGMA_Y, 0.0])
def test_a_gaussian_step_is_exact_in_any_number_of_steps(count, eta, sigma_y):
    """DDIM is the same step for a variance of 0."""
    prior = GaussianPrior(WHITE.mean, 4 * torch.eye(5))
    mean, cov = prior.posterior(MATRIX, Y, sigma_y)
    method = replace(PIGDM, eta=eta, data_variance=4.0, step_variance=4.0)
    levels = karras_levels(count, high=1e6)
    got_mean, got_cov = exact_moments(method, prior, Y, H, sigma_y, levels)
    torch.testing.assert_close(got_mean, mean, rtol=0, atol=1e-5)  # of 1 / highest
    torch.testing.assert_close(got_cov, cov, rtol=0, atol=1e-8)


def test_a_gaussian_step_takes_the_spectrum_of_the_data():
    variance = torch.tensor([0.5, 3.0, 1.0, 2.0, 0.1], dtype=F64)
    basis = H.V(torch.eye(5, dtype=F64))
    prior = GaussianPrior(WHITE.mean, basis.T * variance @ basis)
    mean, cov = prior.posterior(MATRIX, Y, SIGMA_Y)
    method = replace(TMPD_EULER, step_variance=variance)
    got_mean, got_cov = exact_moments(method, prior, Y, H, SIGMA_Y, karras_levels(3, high=1e6))
    torch.testing.assert_close(got_mean, mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(got_cov, cov, rtol=0, atol=1e-8)


def silent(shape):
    return torch.zeros(shape, dtype=F64)


@pytest.mark.parametrize(("form", "strength"), [("fixed", 1.0), ("fixed", 0.3), ("gradient", 1.0)])
def test_red_finds_where_data_and_denoiser_agree(form, strength):
    """With strength = 1 the posterior's mean, and its top, of the prior blurred by the level."""
    method = RED(form=form, level=1.2, strength=strength)
    blurred = GaussianPrior(COLOURED.mean, (COLOURED.cov + 1.2**2 * torch.eye(5)) / strength)
    expected, _ = blurred.posterior(MATRIX / 2, Y, SIGMA_Y)
    problem = Problem.of(Y, Dense(MATRIX / 2), SIGMA_Y)
    found = method.sample(COLOURED, problem, karras_levels(300), silent)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)


def test_red_of_exact_data_is_the_mean_of_what_they_leave():
    blurred = GaussianPrior(COLOURED.mean, COLOURED.cov + torch.eye(5))
    expected, _ = blurred.posterior(MATRIX, Y, 0.0)
    method = RED(level=1.0, strength=1.0)
    found = method.sample(COLOURED, Problem.of(Y, H, 0.0), karras_levels(150), silent)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)


def test_red_diff_stands_still_where_its_loss_does():
    """H^T (H mu - y) / m + strength (mu - D(mu)) / n = 0 at one level, the noise at its mean."""
    level, strength, m, n = 2.0, 2.5, 2, 5
    lost = torch.linalg.inv(COLOURED.cov + level**2 * torch.eye(5)) * level**2  # I - J
    system = MATRIX.T @ MATRIX / m + strength / n * lost
    expected = torch.linalg.solve(system, MATRIX.T @ Y / m + strength / n * lost @ COLOURED.mean)
    levels = torch.full((400,), level, dtype=F64)
    method = REDDiff(rate=0.05, strength=strength)
    found = method.sample(COLOURED, Problem.of(Y, H, SIGMA_Y), levels, silent)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5)


def test_snips_converges_to_the_posterior_of_any_gaussian():
    """Of the prior blurred by the lowest level, which is 0.02 here."""
    mean, cov = COLOURED.posterior(MATRIX, Y, SIGMA_Y)
    levels = karras_levels(20, low=0.02, high=10.0)
    off = []
    for repeats in (8, 16, 32):
        method = SNIPS(step=0.2, repeats=repeats)
        found, law = exact_moments(method, COLOURED, Y, H, SIGMA_Y, levels)
        off.append(float((found - mean).norm() + (law - cov).norm()))
    assert off[2] < 0.25
    assert off[0] > 1.6 * off[1] > 2.5 * off[2]


def test_snips_as_published_takes_2500_steps_and_is_a_tenth_too_wide_where_nothing_is_seen():
    method = SNIPS()
    called = []
    prior = lambda x, sigma: called.append(sigma) or x / (1 + sigma**2)
    levels = karras_levels(method.enough, low=0.03, high=80.0)
    H = Inpainting(torch.tensor([True, False]))
    method.sample(prior, Problem.of(torch.zeros(2, dtype=F64), H, 0.1), levels, silent)
    assert len(called) == 2500
    assert called[0] / called[5] == pytest.approx(called[-6] / called[-1])
    assert (called[0], called[-1]) == pytest.approx((80.0, 0.03))
    variance = called[0] ** 2
    for sigma in called:  # x + c (D - x) + sqrt(2 c) sigma z
        kept = 1 - method.step * sigma**2 / (1 + sigma**2)
        variance = kept**2 * variance + 2 * method.step * sigma**2
    assert float(variance) == pytest.approx(1.1085, abs=5e-4)


@pytest.mark.parametrize("sigma_y", [SIGMA_Y, 0.0])
def test_diffpir_goes_to_the_proximal_point_of_each_prediction(sigma_y):
    x = torch.tensor([[0.5, -1.0, 2.0, 0.3, 0.0]], dtype=F64)
    step = Step(torch.tensor(2.0, dtype=F64), torch.tensor(0.0, dtype=F64), 0.0, 3, 10)
    problem = Problem.of(Y, H, sigma_y)
    found = DiffPIR(strength=0.7).advance(x, WHITE, problem, step, silent)
    ball = GaussianPrior(WHITE(x, step.sigma)[0], 2.0**2 / 0.7 * torch.eye(5))
    torch.testing.assert_close(found[0], ball.posterior(MATRIX, Y, sigma_y)[0])


@pytest.mark.parametrize("zeta", [0.1, 0.5, 1.0])
def test_diffpir_is_narrow_where_nothing_is_seen_by_its_zeta(zeta):
    """Known bias, as DDRM's: (1 + sqrt(1 - zeta)) / 2 of the variance."""
    levels = karras_levels(100, high=300.0)
    _, cov = exact_moments(DiffPIR(zeta=zeta), WHITE, Y, H, SIGMA_Y, levels)
    share = (1 + math.sqrt(1 - zeta)) / 2
    assert torch.linalg.eigvalsh(cov)[-3:].tolist() == pytest.approx([share] * 3, abs=0.07)
    _, right = WHITE.posterior(MATRIX, Y, SIGMA_Y)
    assert float((MATRIX @ (right - cov) @ MATRIX.T).trace()) > 0


def test_daps_tends_to_twice_the_variance_where_nothing_is_seen():
    """Known bias of the paper's r: what the ODE gives has the prior's variance, and every draw
    adds to it."""
    right = torch.linalg.eigvalsh(WHITE.posterior(MATRIX, Y, SIGMA_Y)[1])
    off = []
    for count in (10, 20, 40):
        levels = karras_levels(count, low=0.05, high=100.0)
        daps = DAPS(inner=count, reach=math.inf)
        _, cov = exact_moments(daps, WHITE, Y, H, SIGMA_Y, levels)
        found = torch.linalg.eigvalsh(cov)
        off.append(float(found[-1]) - 2)
    assert (found[:2] / right[:2]).tolist() == pytest.approx([1, 1], abs=0.06)
    assert 0 < off[2] < 0.5 * off[1] < 0.25 * off[0]


def test_daps_as_its_code_runs_holds_noisy_data_too_loosely():
    """Known bias of the authors' r, which falls from .14 to .014."""
    levels = karras_levels(200, low=0.05, high=100.0)
    _, cov = exact_moments(DAPS(inner=40), WHITE, Y, H, SIGMA_Y, levels)
    found = torch.linalg.eigvalsh(cov)
    right = torch.linalg.eigvalsh(WHITE.posterior(MATRIX, Y, SIGMA_Y)[1])
    assert (found[:2] / right[:2]).tolist() == pytest.approx([5.1, 4.6], abs=0.2)
    assert found[2:].tolist() == pytest.approx([1.01] * 3, abs=0.02)
