"""What every sampler promises. One in METHODS joins by itself, another by one line in CONTRACT."""

from dataclasses import replace

import pytest
import torch

from hdagger.domains.pictures.kernels import gaussian_taps
from hdagger.domains.pictures.resample import BlockAverage, SeparableBlur
from hdagger.domains.pictures.spectral import CircularBlur, Grayscale, WalshHadamard
from hdagger.errors import HDaggerError, OperatorAbilityError
from hdagger.operators.base import Operator, PinvOperator
from hdagger.operators.quantisation import Bits, Quantiser
from hdagger.operators.spectral import Inpainting
from hdagger.priors.analytic import GaussianMixture
from hdagger.priors.base import Counted, Denoiser
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.problem import Problem
from hdagger.samplers import METHODS
from hdagger.samplers.daps import DAPS
from hdagger.samplers.ddim import DDIM
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.diffpir import DiffPIR
from hdagger.samplers.drawn import Drawn
from hdagger.samplers.guidance import DPS, ReconstructionGuidance
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.projection import Projected, Projection
from hdagger.samplers.ranges import Schedule
from hdagger.samplers.red import RED
from hdagger.samplers.reddiff import REDDiff
from hdagger.samplers.smc import SMC
from hdagger.samplers.snips import SNIPS
from hdagger.samplers.tangent import NUDGE
from hdagger.samplers.tmpd import TMPD
from hdagger.samplers.walk import ddpm_levels, karras_levels, steps
from hdagger.solving import solve
from hdagger.tensors import SampleNoise

CONTRACT = {
    **METHODS,
    "smc": replace(METHODS["smc"], particles=2),
    "projected": replace(METHODS["projected"], projector=lambda D, problem: D.clamp(-1, 1)),
    "pigdm, vjp": PiGDM(jacobian="vjp"),
    "pigdm, jvp": PiGDM(jacobian="jvp"),
    "pigdm, paper": PiGDM(weighting="paper"),
    "pigdm, held": PiGDM(data_variance=0.02),
    "pigdm, vjp held": PiGDM(data_variance=0.02, jacobian="vjp"),
    "pigdm, gaussian step": PiGDM(step_variance=0.3),
    "pigdm, heun": PiGDM(solver="heun"),
    "tmpd, ancestral": TMPD(eta=1.0, solver="euler"),
    "tmpd, matrix": TMPD(covariance="matrix"),
    "tmpd, rows": TMPD(covariance="rows"),
    "tmpd, gaussian step": TMPD(step_variance=0.3),
    "red, gradient": RED(form="gradient"),
    "projection, last 2": Projection(schedule="last:2"),
    "projection, below 1": Projection(schedule="below:1"),
    "pigdm, projected": Projected(
        inner=PiGDM(jacobian="vjp"), schedule="last:2", projector=lambda D, problem: D.clamp(-1, 1)
    ),
}
CALLS = {"pigdm": 2, "pigdm, jvp": 2, "pigdm, paper": 2, "pigdm, held": 2}
CALLS |= {"pigdm, gaussian step": 2, "snips": 5, "daps": 5}
"""Calls of the network a step, where that is not one; with Heun's method see below."""


def generator():
    return torch.Generator().manual_seed(0)


SHAPE = (3, 8, 8)
PICTURE = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(3)).double() * 2 - 1
KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.2, 0.0]])


class Pictures:
    """A mixture of a few pictures as a denoiser of (batch, 3, 8, 8)."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.mixture = GaussianMixture(torch.rand(4, 192, generator=generator) * 2 - 1, std=0.2)

    def __call__(self, x, sigma):
        return self.mixture(x.flatten(1), sigma).view_as(x)


def operator_for(method, shape=SHAPE):
    """One that the method can work on, and the noise that goes with it."""
    if issubclass(method.needs, Quantiser):
        return Bits(shape, 3), 0.0
    return BlockAverage(shape, 2), 0.0 if isinstance(method, Projection) else 0.1


def draw(method, prior, H, y, rows, sigma_y=0.0, levels=None):
    problem = Problem(y.expand(len(rows), *y.shape[1:]), H, sigma_y)
    levels = karras_levels(12, low=0.02, high=40.0) if levels is None else levels
    return method.sample(prior, problem, levels, SampleNoise(0, rows))


@pytest.mark.parametrize("name", CONTRACT)
def test_a_sample_does_not_depend_on_its_batch_or_its_place_in_it(name):
    """A sample, or the group that is drawn together; a difference divides what rounding leaves."""
    method = CONTRACT[name]
    differs = isinstance(method, Drawn) or getattr(method, "jacobian", "") == "difference"
    atol = 1e-12 / NUDGE if differs else 1e-12
    H, sigma_y = operator_for(method)
    y, group = H(PICTURE), method.group
    rows = [(0, k) for k in range(3 * group)]
    groups = [rows[k * group : (k + 1) * group] for k in range(3)]
    together = draw(method, Pictures(), H, y, rows, sigma_y)
    for k, own in enumerate(groups):
        alone = draw(method, Pictures(), H, y, own, sigma_y)
        expected = together[k * group : (k + 1) * group]
        torch.testing.assert_close(alone, expected, rtol=0, atol=atol)
    backwards = draw(method, Pictures(), H, y, groups[2] + groups[0], sigma_y)
    expected = torch.cat([together[2 * group :], together[:group]])
    torch.testing.assert_close(backwards, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", CONTRACT)
def test_the_evaluations_of_the_network_are_counted(name):
    method, prior, count = CONTRACT[name], Counted(Pictures()), 9
    H, sigma_y = operator_for(method)
    problem = Problem.of(H(PICTURE)[0], H, sigma_y)
    samples = 2 * method.group
    drawn = solve(prior, problem, method, levels=ddpm_levels(count), samples=samples)
    calls = CALLS.get(name, 1) * count
    if name == "pigdm, heun":
        calls = 2 * (2 * count - 1)
    if name == "drawn":
        calls += 6  # where a difference tells more than the data: between .1 and 10
    assert prior.nfe == drawn.provenance["nfe"] == calls


@pytest.mark.parametrize("jacobian", ["jvp", "difference"])
def test_guidance_without_a_backward_pass_is_that_of_the_backward_pass(jacobian):
    """Of an ideal denoiser, whose Jacobian is symmetric."""
    H, levels = BlockAverage(SHAPE, 2), karras_levels(12, low=0.02, high=40.0)
    problem = Problem(H(PICTURE), H, 0.1)
    x = PICTURE + SampleNoise(1, [(0,)])((1, *SHAPE))
    for step in steps(levels, 1.0):
        backward = PiGDM(data_variance=1.0, jacobian="vjp")
        expected = backward.correct(Pictures(), x, problem, step)
        actual = replace(backward, jacobian=jacobian).correct(Pictures(), x, problem, step)
        slack = 1e-10 if jacobian == "jvp" else 0.02 * float((expected - x).abs().max())
        torch.testing.assert_close(actual, expected, rtol=0, atol=slack)


@pytest.mark.parametrize("jacobian", ["jvp", "difference"])
def test_a_network_guides_without_a_backward_pass(jacobian):
    torch.manual_seed(0)
    prior = UNetDenoiser(UNetShape(widths=(8, 16), embedding=16, heads=2)).eval()
    for weights in prior.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    H, step = BlockAverage(SHAPE, 2), next(steps(karras_levels(2, high=1.0), 1.0))
    x, problem = PICTURE + 0.0, Problem(H(PICTURE), H, 0.1)
    D, u = prior(x, step.sigma), torch.ones_like(x)
    nudged = (prior(x + 1e-3 * u, step.sigma) - prior(x - 1e-3 * u, step.sigma)) / 2e-3
    method = PiGDM(data_variance=1.0, jacobian=jacobian)
    along = method.along(prior, x, step.sigma, D, u)
    assert (along - nudged).norm() < 0.02 * nudged.norm()
    assert method.correct(prior, x, problem, step).isfinite().all()


@pytest.mark.parametrize("name", CONTRACT)
def test_a_float32_network_gives_finite_float64_samples(name):
    torch.manual_seed(0)
    method = CONTRACT[name]
    prior = UNetDenoiser(UNetShape(widths=(8, 16), embedding=16, heads=2)).eval()
    H, sigma_y = operator_for(method)
    problem = Problem.of(H(PICTURE)[0], H, sigma_y)
    levels = karras_levels(12, low=0.02, high=40.0)
    drawn = solve(prior, problem, method, levels=levels, samples=method.group)
    assert drawn.draws.dtype == torch.float64
    assert drawn.draws.isfinite().all()


@pytest.mark.parametrize("name", CONTRACT)
def test_the_state_takes_a_gray_or_odd_sized_signal(name):
    method, prior = CONTRACT[name], lambda x, sigma: x / (1 + sigma**2)
    H, sigma_y = Inpainting(torch.rand(1, 5, 7, generator=generator()) > 0.5), 0.0
    if name == "red, gradient":
        sigma_y = 0.1
    if issubclass(method.needs, Quantiser):
        H, sigma_y = operator_for(method, (1, 5, 7))
    y = H(torch.ones(1, 1, 5, 7, dtype=torch.float64))
    rows = [(0, k) for k in range(method.group)]
    assert draw(method, prior, H, y, rows, sigma_y).shape == (len(rows), 1, 5, 7)


@pytest.mark.parametrize(
    "name", ["ddrm", "drawn", "projection", "projection, last 2", "red", "diffpir", "daps"]
)
@pytest.mark.parametrize(
    "H",
    [
        Inpainting(torch.rand(SHAPE, generator=generator()) > 0.5),
        BlockAverage(SHAPE, 4),
        SeparableBlur(SHAPE, gaussian_taps(0.5)),
        CircularBlur(SHAPE, KERNEL),
        Grayscale(SHAPE),
        WalshHadamard(SHAPE),
    ],
    ids=lambda H: type(H).__name__,
)
def test_exact_data_are_met(name, H):
    y = H(PICTURE)
    samples = draw(CONTRACT[name], Pictures(), H, y, [(0, 0), (0, 1)])
    assert (H(samples) - y).abs().max() <= 1e-5


class Squared(Operator):
    """A nonlinear operator on the lowest rung."""

    signal_shape = data_shape = SHAPE

    def forward(self, x):
        return x.square()


class Halved(PinvOperator):
    """An operator on the second rung."""

    signal_shape = data_shape = SHAPE

    def forward(self, x):
        return x / 2

    def pinv(self, y):
        return 2 * y


def test_a_refusal_names_what_to_use_instead():
    y, prior = Squared()(PICTURE), Pictures()
    with pytest.raises(OperatorAbilityError, match=r"only an Operator\. Use DPS"):
        draw(PiGDM(), prior, Squared(), y, [(0, 0)])
    with pytest.raises(OperatorAbilityError, match=r"only a PinvOperator\. Use PiGDM"):
        draw(DDRM(), prior, Halved(), y, [(0, 0)])
    with pytest.raises(OperatorAbilityError, match=r"Use sigma_y = 0, or DPS"):
        draw(PiGDM(), prior, Halved(), y, [(0, 0)], sigma_y=0.1)
    with pytest.raises(OperatorAbilityError, match=r"got sigma_y = 0\.1\. Use DDRM or PiGDM, or"):
        draw(Projection(), prior, Halved(), y, [(0, 0)], sigma_y=0.1)
    assert draw(DPS(), prior, Squared(), y, [(0, 0)]).isfinite().all()
    assert draw(PiGDM(), prior, Halved(), y, [(0, 0)]).isfinite().all()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_refuses_what_stands_below_its_rung(name):
    method = METHODS[name]
    if method.needs is Operator and not isinstance(method, SMC):
        pytest.skip("works with any operator")
    rows = [(0, k) for k in range(method.group)]
    with pytest.raises(OperatorAbilityError, match="Use "):
        draw(method, Pictures(), Squared(), Squared()(PICTURE), rows)


@pytest.mark.parametrize(
    "make",
    [
        lambda: karras_levels(0),
        lambda: ddpm_levels(0),
        lambda: ddpm_levels(1001),
        lambda: DDIM(eta=1.1),
        lambda: DDRM(eta_b=-0.1),
        lambda: PiGDM(data_variance=0.0),
        lambda: PiGDM(weighting="paper", solver="heun"),
        lambda: DPS(solver="heun"),
        lambda: DPS(strength=0.0),
        lambda: ReconstructionGuidance(strength=-1.0),
        lambda: TMPD(iterations=0),
        lambda: Schedule("last:many"),
        lambda: Schedule("all:4"),
        lambda: Projection(schedule="never"),
        lambda: RED(level=0.0),
        lambda: REDDiff(rate=-0.1),
        lambda: SNIPS(step=2.0),
        lambda: DiffPIR(zeta=1.5),
        lambda: DAPS(inner=0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(HDaggerError):
        make()


def test_schedules_have_a_text_form():
    assert Schedule("all").fires(0, 1, 1.0)
    levels = karras_levels(5)
    fired = []
    for text in ("all", "last:2", "start:3", "uniform:1", "below:1.0"):
        calls = []
        method = Projected(
            inner=DDIM(),
            schedule=text,
            projector=lambda D, problem, c=calls: c.append(D) or D,
        )
        draw(method, Pictures(), Squared(), Squared()(PICTURE), [(0, 0)], levels=levels)
        fired.append(len(calls))
    assert fired == [5, 2, 3, 1, int((levels[:-1] <= 1.0).sum())]


def test_a_projected_sampler_keeps_what_its_inner_one_needs_and_assumes():
    inner = PiGDM(eta=0.5, solver="heun", step_variance=0.3)
    method = Projected(inner=inner, schedule="last:0", projector=lambda D, problem: 0 * D)
    assert (method.eta, method.solver, method.variance) == (0.5, "heun", 0.3)
    H = BlockAverage(SHAPE, 2)
    expected = draw(inner, Pictures(), H, H(PICTURE), [(0, 0)], 0.1)
    assert torch.equal(draw(method, Pictures(), H, H(PICTURE), [(0, 0)], 0.1), expected)
    with pytest.raises(OperatorAbilityError, match="PiGDM needs"):
        draw(method, Pictures(), Squared(), Squared()(PICTURE), [(0, 0)])


def test_levels_are_those_of_the_papers():
    ddpm = ddpm_levels(20)
    assert ddpm[0] == pytest.approx(97.1, abs=0.05)
    assert ddpm[-2] == pytest.approx(0.01, abs=1e-4)
    karras = karras_levels(18)
    assert (karras[0], karras[-2], karras[-1]) == pytest.approx((80.0, 0.002, 0.0))


def test_a_prior_is_a_denoiser():
    assert isinstance(Counted(Pictures()), Denoiser)
