"""What every sampler promises. A new one joins by one line in SAMPLERS."""

import pytest
import torch

from hdagger.domains.pictures.kernels import gaussian_taps
from hdagger.domains.pictures.resample import BlockAverage, SeparableBlur
from hdagger.domains.pictures.spectral import CircularBlur, Grayscale, WalshHadamard
from hdagger.errors import HDaggerError, OperatorAbilityError
from hdagger.operators.base import Operator, PinvOperator
from hdagger.operators.spectral import Inpainting
from hdagger.priors.analytic import GaussianMixture
from hdagger.priors.base import Counted, Denoiser
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samplers.base import Problem, ddpm_levels, karras_levels, steps
from hdagger.samplers.ddim import DDIM
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.guidance import DPS, ReconstructionGuidance
from hdagger.samplers.integrators import Heun, Multistep
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.projection import Projection, below, last, schedule
from hdagger.samplers.smc import SMC
from hdagger.samplers.tmpd import TMPD
from hdagger.tensors import SampleNoise

SAMPLERS = {
    "ddim": DDIM,
    "ddrm": DDRM,
    "pigdm": PiGDM,
    "pigdm, paper": lambda prior: PiGDM(prior, weighting="paper"),
    "pigdm, held": lambda prior: PiGDM(prior, data_variance=0.02),
    "pigdm, gaussian step": lambda prior: PiGDM(prior, step_variance=0.3),
    "tmpd": TMPD,
    "tmpd, matrix": lambda prior: TMPD(prior, covariance="matrix"),
    "tmpd, rows": lambda prior: TMPD(prior, covariance="rows"),
    "tmpd, gaussian step": lambda prior: TMPD(prior, step_variance=0.3),
    "tmpd, multistep": lambda prior: Multistep(TMPD(prior, eta=0.0)),
    "reconstruction": ReconstructionGuidance,
    "dps": DPS,
    "projection": Projection,
    "projection, last 2": lambda prior: Projection(prior, schedule=last(2)),
    "projection, below 1": lambda prior: Projection(prior, schedule=below(1.0)),
}
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


def draw(sampler, H, y, rows, sigma_y=0.0, levels=None):
    problem = Problem(y.expand(len(rows), *y.shape[1:]), H, sigma_y)
    levels = karras_levels(12, low=0.02, high=40.0) if levels is None else levels
    return sampler.sample(problem, levels, SampleNoise(0, rows))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_does_not_depend_on_its_batch_or_its_place_in_it(name):
    sampler, H = SAMPLERS[name](Pictures()), BlockAverage(SHAPE, 2)
    y = H(PICTURE)
    together = draw(sampler, H, y, [(0, 0), (0, 1), (0, 2)], 0.1)
    for i in range(3):
        alone = draw(sampler, H, y, [(0, i)], 0.1)[0]
        torch.testing.assert_close(alone, together[i], rtol=0, atol=1e-12)
    backwards = draw(sampler, H, y, [(0, 2), (0, 0)], 0.1)
    torch.testing.assert_close(backwards, together[[2, 0]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_network_evaluation_a_step(name):
    prior, H = Counted(Pictures()), BlockAverage(SHAPE, 2)
    draw(SAMPLERS[name](prior), H, H(PICTURE), [(0, 0), (0, 1)], levels=ddpm_levels(9))
    assert prior.nfe == 9


@pytest.mark.parametrize(
    ("make", "calls"),
    [
        (lambda prior: Heun(PiGDM(prior)), 2 * 9 - 1),
        (lambda prior: PiGDM(prior, jacobian="difference"), 2 * 9),
        (lambda prior: PiGDM(prior, jacobian="jvp"), 2 * 9),
        (lambda prior: SMC(PiGDM(prior), 2), 9),
    ],
)
def test_the_evaluations_of_dearer_steps_are_counted(make, calls):
    prior, H = Counted(Pictures()), BlockAverage(SHAPE, 2)
    draw(make(prior), H, H(PICTURE), [(0, 0), (0, 1)], levels=ddpm_levels(9))
    assert prior.nfe == calls


@pytest.mark.parametrize("jacobian", ["jvp", "difference"])
def test_guidance_without_a_backward_pass_is_that_of_the_backward_pass(jacobian):
    """Of an ideal denoiser, whose Jacobian is symmetric."""
    H, levels = BlockAverage(SHAPE, 2), karras_levels(12, low=0.02, high=40.0)
    problem = Problem(H(PICTURE), H, 0.1)
    x = PICTURE + SampleNoise(1, [(0,)])((1, *SHAPE))
    for step in steps(levels, 1.0):
        expected = PiGDM(Pictures()).correct(x, problem, step)
        actual = PiGDM(Pictures(), jacobian=jacobian).correct(x, problem, step)
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
    along = PiGDM(prior, jacobian=jacobian).along(x, step.sigma, D, u)
    assert (along - nudged).norm() < 0.02 * nudged.norm()
    assert PiGDM(prior, jacobian=jacobian).correct(x, problem, step).isfinite().all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_float32_network_gives_finite_float64_samples(name):
    torch.manual_seed(0)
    prior = UNetDenoiser(UNetShape(widths=(8, 16), embedding=16, heads=2)).eval()
    H = SeparableBlur(SHAPE, gaussian_taps(0.7))
    samples = draw(SAMPLERS[name](prior), H, H(PICTURE), [(0, 0)], 0.05)
    assert samples.dtype == torch.float64
    assert samples.isfinite().all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_state_takes_a_gray_or_odd_sized_signal(name):
    prior = lambda x, sigma: x / (1 + sigma**2)
    H = Inpainting(torch.rand(1, 5, 7, generator=torch.Generator().manual_seed(0)) > 0.5)
    y = H(torch.ones(1, 1, 5, 7, dtype=torch.float64))
    assert draw(SAMPLERS[name](prior), H, y, [(0, 0)]).shape == (1, 1, 5, 7)


@pytest.mark.parametrize("name", ["ddrm", "projection", "projection, last 2"])
@pytest.mark.parametrize(
    "H",
    [
        Inpainting(torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) > 0.5),
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
    samples = draw(SAMPLERS[name](Pictures()), H, y, [(0, 0), (0, 1)])
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
    y = Squared()(PICTURE)
    with pytest.raises(OperatorAbilityError, match=r"only an Operator\. Use DPS"):
        draw(PiGDM(Pictures()), Squared(), y, [(0, 0)])
    with pytest.raises(OperatorAbilityError, match=r"only a PinvOperator\. Use PiGDM"):
        draw(DDRM(Pictures()), Halved(), y, [(0, 0)])
    with pytest.raises(OperatorAbilityError, match=r"Use sigma_y = 0, or DPS"):
        draw(PiGDM(Pictures()), Halved(), y, [(0, 0)], sigma_y=0.1)
    assert draw(DPS(Pictures()), Squared(), y, [(0, 0)]).isfinite().all()
    assert draw(PiGDM(Pictures()), Halved(), y, [(0, 0)]).isfinite().all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: karras_levels(0),
        lambda: ddpm_levels(0),
        lambda: ddpm_levels(1001),
        lambda: DDIM(Pictures(), eta=1.1),
        lambda: DDRM(Pictures(), eta_b=-0.1),
        lambda: PiGDM(Pictures(), data_variance=0.0),
        lambda: schedule("last:many"),
        lambda: schedule("all:4"),
        lambda: schedule("never"),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(HDaggerError):
        make()


def test_schedules_have_a_text_form():
    assert schedule("all")
    levels = karras_levels(5)
    fired = []
    for text in ("all", "last:2", "below:1.0"):
        calls = []
        projection = Projection(
            Pictures(),
            schedule=schedule(text),
            projector=lambda D, problem, c=calls: c.append(D) or D,
        )
        draw(projection, Squared(), Squared()(PICTURE), [(0, 0)], levels=levels)
        fired.append(len(calls))
    assert fired == [5, 2, int((levels[:-1] <= 1.0).sum())]


def test_levels_are_those_of_the_papers():
    ddpm = ddpm_levels(20)
    assert ddpm[0] == pytest.approx(97.1, abs=0.05)
    assert ddpm[-2] == pytest.approx(0.01, abs=1e-4)
    karras = karras_levels(18)
    assert (karras[0], karras[-2], karras[-1]) == pytest.approx((80.0, 0.002, 0.0))


def test_a_prior_is_a_denoiser():
    assert isinstance(Counted(Pictures()), Denoiser)
