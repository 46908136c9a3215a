"""What was measured: complex data, noise that differs, and data that were not seen.

By affine maps, without Monte Carlo (exact_moments.py). Signals are real; complex data are a real
vector space of twice the dimension, sigma_y the deviation of each real component.
"""

from dataclasses import replace

import pytest
import torch
from exact_moments import exact_moments

from hdagger.covariance import Isotropic
from hdagger.diagnostics import residual_chi2, residual_summary
from hdagger.errors import HDaggerError
from hdagger.measurement import Measurement
from hdagger.operators.base import LinearOperator
from hdagger.operators.chain import compose
from hdagger.operators.nonlinear import Clip
from hdagger.operators.quantisation import Bits, Quantiser
from hdagger.operators.spectral import Dense, Identity, Inpainting
from hdagger.priors.analytic import GaussianPrior
from hdagger.problem import Problem
from hdagger.samplers import METHODS
from hdagger.samplers.guidance import DPS, ReconstructionGuidance
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.projection import Projected, Projection
from hdagger.samplers.tmpd import TMPD
from hdagger.samplers.walk import Step, karras_levels
from hdagger.solving import solve
from hdagger.tensors import SampleNoise

F64 = torch.float64
N, SIGMA_Y = 6, 0.3
KEPT = torch.tensor([False, True, False, True, True, False])
WHITE = GaussianPrior(torch.tensor([0.3, -0.2, 0.5, 0.0, 0.1, -0.4]))
SPREAD = torch.diag(torch.tensor([0.05, 0.3, 1.0, 2.0, 4.0, 0.7])) + 0.02 * torch.ones(6, 6)
COLOURED = GaussianPrior(WHITE.mean, SPREAD)


class MaskedFourier(LinearOperator):
    """Some frequencies of a real signal, by the centred orthonormal Fourier transform."""

    signal_shape = data_shape = (N,)
    complex_data = True

    def forward(self, x):
        return KEPT * torch.fft.fftshift(torch.fft.fft(x, norm="ortho"), dim=1)

    def adjoint(self, y):
        return torch.fft.ifft(torch.fft.ifftshift(KEPT * y, dim=1), norm="ortho").real


class Stacked(LinearOperator):
    """The same with the real and the imaginary part of the data side by side."""

    signal_shape, data_shape = (N,), (2 * N,)

    def __init__(self):
        super().__init__()
        self.H = MaskedFourier()

    def forward(self, x):
        y = self.H(x)
        return torch.cat([y.real, y.imag], dim=1)

    def adjoint(self, y):
        return self.H.adjoint(torch.complex(y[:, :N], y[:, N:]))


COMPLEX, TWIN = MaskedFourier(), Stacked()
MATRIX = TWIN(torch.eye(N, dtype=F64)).T
Y2 = torch.randn(2 * N, generator=torch.Generator().manual_seed(4), dtype=F64) * KEPT.repeat(2)
Y = torch.complex(Y2[:N], Y2[N:])


def test_the_adjoint_of_complex_data_is_that_of_their_real_parts():
    x = torch.randn(3, N, generator=torch.Generator().manual_seed(0), dtype=F64)
    y = torch.view_as_complex(torch.randn(3, N, 2, dtype=F64))
    left = (COMPLEX(x).conj() * y).real.sum(1)
    torch.testing.assert_close(left, (x * COMPLEX.adjoint(y)).sum(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "prior"),
    [
        (PiGDM(data_variance=1.0, jacobian="vjp"), WHITE),
        (PiGDM(eta=0.0, data_variance=1.0), WHITE),
        (TMPD(), COLOURED),
        (TMPD(eta=1.0, solver="euler", iterations=20), COLOURED),
        (ReconstructionGuidance(), COLOURED),
    ],
)
def test_complex_data_give_what_their_real_and_imaginary_parts_give(method, prior):
    levels = karras_levels(20, low=0.02, high=80.0)
    ours = exact_moments(method, prior, Y, COMPLEX, SIGMA_Y, levels)
    theirs = exact_moments(method, prior, Y2, TWIN, SIGMA_Y, levels)
    for actual, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", [DPS(strength=0.3), ReconstructionGuidance()])
def test_complex_data_pull_like_their_parts_where_the_sampler_is_not_affine(method):
    x = torch.randn(3, N, generator=torch.Generator().manual_seed(0), dtype=F64)
    step = Step(torch.tensor(2.0, dtype=F64), torch.tensor(1.0, dtype=F64), 1.0, 3, 10)
    ours = method.correct(COLOURED, x, Problem.of(Y, COMPLEX, SIGMA_Y), step)
    theirs = method.correct(COLOURED, x, Problem.of(Y2, TWIN, SIGMA_Y), step)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    D = COLOURED(x, step.sigma)
    e = Y2 - D @ MATRIX.T
    jacobian = SPREAD.double() @ torch.linalg.inv(SPREAD.double() + 4 * torch.eye(N, dtype=F64))
    pull = e @ MATRIX @ jacobian
    if isinstance(method, DPS):
        scale = 0.3 * ((1 + 1.0**2) * (1 + 2.0**2)) ** 0.5 / (1 - step.keep)
        pull = scale * pull / e.norm(dim=1, keepdim=True)
    torch.testing.assert_close(ours, D + pull, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("method", "prior", "counts", "rate"),
    [
        (PiGDM(data_variance=1.0, jacobian="vjp"), WHITE, (50, 100, 200), 2),
        (TMPD(iterations=12), COLOURED, (25, 50, 100), 4),
    ],
    ids=["pigdm", "tmpd"],
)
def test_complex_data_lead_to_the_exact_posterior(method, prior, counts, rate):
    mean, cov = prior.posterior(MATRIX, Y2, SIGMA_Y)
    off = []
    for count in counts:
        levels = karras_levels(count, low=0.002, high=300.0)
        got_mean, got_cov = exact_moments(method, prior, Y, COMPLEX, SIGMA_Y, levels)
        off.append(float((got_cov - cov).norm()))
    assert float((got_mean - mean).norm()) < 0.02
    assert off[-1] < 0.15
    assert off[0] / off[1] == pytest.approx(rate, rel=0.2)
    assert off[1] / off[2] == pytest.approx(rate, rel=0.2)


def test_the_residual_of_complex_data_counts_real_numbers():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, N, generator=generator, dtype=F64)
    noise = torch.view_as_complex(torch.randn(4000, N, 2, generator=generator, dtype=F64))
    problem = Problem(COMPLEX(x) + SIGMA_Y * noise, COMPLEX, SIGMA_Y)
    chi2 = residual_chi2(x, problem)
    assert problem.H.rank == 2 * N
    assert float(chi2.mean()) == pytest.approx(1, abs=0.02)


# Noise as an array: infinite is not seen.

HIDDEN = torch.tensor([False, True, False, False, True, False])
OTHER = torch.tensor([0.2, torch.inf, 0.5, 1.0, torch.inf, 0.3], dtype=F64)
SAME = torch.where(HIDDEN, torch.inf, 0.3).double()
SIGNAL = torch.tensor([0.5, -1.0, 1.5, 0.2, 0.7, -0.4], dtype=F64)
JUNK = (0.0, 1e30, float("nan"), float("inf"))
WALK = karras_levels(6, low=0.05, high=20.0)


def posed(method, noise, junk):
    """A problem that the method can work on, with junk where nothing is seen; or None."""
    if issubclass(method.needs, Quantiser):
        return None  # rounded data have no noise
    y = torch.where(HIDDEN, junk, SIGNAL)
    problem = Problem.of(y, Identity((N,)), noise)
    return None if isinstance(method, Projection) and problem.sigma_y > 0 else problem


@pytest.mark.parametrize("noise", [OTHER, SAME, torch.where(HIDDEN, torch.inf, 0.0).double()])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_seen_has_no_influence(name, noise):
    """The same bits whatever lies there, on draws and on the check of the residual."""
    method = METHODS[name]
    if method.group > 1:
        method = replace(method, particles=4)
    found = []
    for junk in JUNK:
        problem = posed(method, noise, junk)
        if problem is None:
            pytest.skip("it takes no data with noise")
        drawn = solve(
            COLOURED, problem, gentle(method), levels=WALK, samples=4, uncertainty=Isotropic(1.3)
        )
        chi2 = residual_summary(drawn.draws, problem)
        assert drawn.provenance["chi2_dof"] == chi2["chi2_dof"]
        found.append((drawn.draws, chi2))
    for draws, chi2 in found[1:]:
        assert torch.equal(draws, found[0][0])
        assert chi2 == found[0][1]


def gentle(method):
    """The method, able to run here.

    Reconstruction guidance does not look at noise; data divided by it need a small strength.
    """
    if isinstance(method, ReconstructionGuidance):
        return replace(method, strength=0.02)
    if isinstance(method, Projected):
        return replace(method, projector=lambda D, problem: D.clamp(-1, 1))
    return method


@pytest.mark.parametrize(
    "method",
    [
        METHODS["ddrm"],
        METHODS["pigdm"],
        METHODS["tmpd"],
        ReconstructionGuidance(strength=0.02),
        DPS(strength=0.3),
    ],
    ids=lambda method: type(method).__name__,
)
def test_data_that_are_not_seen_may_as_well_be_dropped(method):
    """By the rows of the matrix that are left, with their noise."""
    matrix = torch.randn(N, N, generator=torch.Generator().manual_seed(1), dtype=F64)
    rows = ~HIDDEN
    y = torch.where(HIDDEN, float("nan"), matrix @ SIGNAL)
    whole = Problem.of(y, Rows(matrix), OTHER)
    left = Problem.of(y[rows], Rows(matrix[rows]), OTHER[rows])
    if type(method).__name__ == "DDRM":
        whole = Problem.of(torch.where(HIDDEN, float("nan"), SIGNAL), Identity((N,)), OTHER)
        scaled = torch.eye(N, dtype=F64)[rows] / OTHER[rows, None]
        left = Problem.of(SIGNAL[rows] / OTHER[rows], Dense(scaled), 1.0)
        for actual, expected in zip(
            exact_moments_of(method, whole), exact_moments_of(method, left), strict=True
        ):
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)
        return
    a, b = (method.sample(COLOURED, p, WALK, SampleNoise(0, [(0,)])) for p in (whole, left))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert residual_chi2(a, whole).item() == pytest.approx(residual_chi2(b, left).item(), rel=1e-5)
    assert whole.H.rank == left.H.rank == 4


def exact_moments_of(method, problem):
    return exact_moments(method, COLOURED, problem.y[0], problem.H, problem.sigma_y, WALK)


class Rows(LinearOperator):
    """A matrix by its products alone."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.signal_shape, self.data_shape = (matrix.shape[1],), (matrix.shape[0],)

    def forward(self, x):
        return x @ self.matrix.T

    def adjoint(self, y):
        return y @ self.matrix


@pytest.mark.parametrize(
    ("method", "prior", "counts", "rate"),
    [
        (PiGDM(data_variance=1.0, jacobian="vjp"), WHITE, (50, 100, 200), 2),
        (TMPD(covariance="matrix"), COLOURED, (25, 50, 100), 4),
    ],
    ids=["pigdm", "tmpd"],
)
def test_noise_that_differs_leads_to_the_closed_form(method, prior, counts, rate):
    """W y = W H x + N(0, I), W = 1 / noise."""
    rows = ~HIDDEN
    matrix = torch.eye(N, dtype=F64)[rows] / OTHER[rows, None]
    mean, cov = prior.posterior(matrix, SIGNAL[rows] / OTHER[rows], 1.0)
    y, off = torch.where(HIDDEN, float("nan"), SIGNAL), []
    for count in counts:
        levels = karras_levels(count, low=0.002, high=300.0)
        got_mean, got_cov = exact_moments(method, prior, y, Identity((N,)), OTHER, levels)
        off.append(float((got_cov - cov).norm()))
    assert float((got_mean - mean).norm()) < 0.02
    assert off[-1] < 0.12
    assert off[0] / off[1] == pytest.approx(rate, rel=0.2)
    assert off[1] / off[2] == pytest.approx(rate, rel=0.2)


def test_one_noise_for_each_is_that_noise_for_all():
    method, y = PiGDM(data_variance=1.0), SIGNAL
    levels = karras_levels(10)
    one = exact_moments(method, WHITE, y, Identity((N,)), 0.3, levels)
    each = exact_moments(
        method, WHITE, y, Identity((N,)), torch.full((N,), 0.3, dtype=F64), levels
    )
    for actual, expected in zip(each, one, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (torch.full((N,), torch.inf), "all of the noise is infinite"),
        (torch.full((2,), 0.1), r"shape of the data, \(6,\)"),
        (torch.tensor([0.1, -0.1, 1, 1, 1, 1]), "negative or no number"),
        (torch.tensor([0.1, torch.nan, 1, 1, 1, 1]), "negative or no number"),
        (torch.tensor([0.1, 0.0, 1, 1, 1, 1]), "Set the zeros to a small number"),
        (-0.1, "0 or more"),
        (float("nan"), "0 or more"),
        (float("inf"), "0 or more"),
    ],
)
def test_noise_that_is_none_is_refused_in_one_line(noise, words):
    with pytest.raises(HDaggerError, match=words) as caught:
        Problem.of(SIGNAL, Identity((N,)), noise)
    assert "\n" not in str(caught.value)


# A mask at the end of a chain.

CHAIN = Rows(torch.randn(N, N, generator=torch.Generator().manual_seed(2), dtype=F64))
MASK = Inpainting(~HIDDEN)


@pytest.mark.parametrize("name", METHODS)
def test_what_lies_under_a_mask_is_not_looked_at(name):
    """Not by DPS's norm, nor in TMPD's Krylov space, nor by chi2: the same bits."""
    method = METHODS[name]
    H, sigma_y = compose(MASK, CHAIN), 0.3
    if issubclass(method.needs, Quantiser):
        H, sigma_y = compose(MASK, compose(Bits((N,), 3), Identity((N,)))), 0.0
        if not isinstance(H, Quantiser):
            pytest.skip("a mask over rounded numbers is no rounding")
    elif method.needs.__name__ == "SVDOperator":
        H = compose(MASK, Identity((N,)))
    elif isinstance(method, Projection):
        sigma_y = 0.0
    if method.group > 1:
        method = replace(method, particles=4)
    clean, found = H(SIGNAL[None])[0], []
    for junk in JUNK:
        problem = Problem.of(torch.where(HIDDEN, junk, clean), H, sigma_y)
        drawn = solve(COLOURED, problem, gentle(method), levels=WALK, samples=4)
        found.append((drawn.draws, residual_summary(drawn.draws, problem)))
    for draws, summary in found[1:]:
        assert torch.equal(draws, found[0][0])
        assert summary == found[0][1]


def test_hidden_data_are_no_degrees_of_freedom():
    """chi2 of a chain with a mask at its end is 1 for the truth, whatever the mask hides."""
    generator = torch.Generator().manual_seed(0)
    H = compose(MASK, CHAIN)
    x = torch.randn(4000, N, generator=generator, dtype=F64)
    y = CHAIN(x) + SIGMA_Y * torch.randn(4000, N, generator=generator, dtype=F64)
    problem = Problem(torch.where(HIDDEN, 1e30, y), H, SIGMA_Y)
    assert H.rank == 4
    assert float(residual_chi2(x, problem).mean()) == pytest.approx(1, abs=0.03)


def test_noise_of_each_number_reaches_operators_that_are_not_linear():
    """DPS on clipped data: hidden ones may hold anything, and noise weighs the others."""
    H = Clip((6,), 2.0)
    y = torch.tensor([0.5, -1.0, 1.0, 0.2, 0.0, 0.9], dtype=torch.float64)
    noise = torch.tensor([0.1, 0.2, 0.1, torch.inf, 0.3, torch.inf], dtype=torch.float64)
    prior = lambda x, sigma: x / (1 + sigma**2)
    spoilt = torch.where(noise.isfinite(), y, torch.nan)
    draws = [
        solve(prior, Problem.of(data, H, noise), DPS(), levels=karras_levels(20), samples=2).draws
        for data in (y, spoilt)
    ]
    assert torch.equal(*draws)
    problem = Problem.of(y, H, noise)
    x = torch.full((1, 6), 0.1, dtype=torch.float64)
    expected = torch.where(noise.isfinite(), (y - 0.2) / noise, 0)[None]
    torch.testing.assert_close(problem.residual(x), expected)
    assert problem.H.rank == 4


def test_the_hash_of_a_measurement_tells_it_from_any_other(tmp_path):
    y = torch.arange(6.0, dtype=torch.float64).view(1, 2, 3)
    mask = torch.tensor([True, False])
    one = Measurement(y, "mask", 0.1, {"mask": mask}, (1, 2, 3))
    one.save(tmp_path / "m.npz")
    assert Measurement.load(tmp_path / "m.npz").sha256 == one.sha256
    others = (
        replace(one, y=y + 1e-9),
        replace(one, y=y.view(1, 3, 2)),
        replace(one, operator="none"),
        replace(one, sigma_y=0.2),
        replace(one, sigma_y=torch.full_like(y, 0.1)),
        replace(one, arrays={"mask": ~mask}),
        replace(one, signal_shape=(3, 2, 3)),
        replace(one, domain="ct"),
    )
    assert len({one.sha256, *(other.sha256 for other in others)}) == 1 + len(others)
