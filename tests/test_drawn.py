"""Drawn steps under a Gaussian prior, whose covariances are exact: the posterior in any steps.

No Monte Carlo: see exact_moments.py. The linear systems are solved to rounding.
"""

from dataclasses import dataclass, replace

import pytest
import torch
from exact_moments import exact_moments
from test_measured_data import COLOURED, COMPLEX, MATRIX, OTHER, SIGNAL, Y2, Rows, Y
from test_operator_contract import Fourier

from hdagger.covariance import (
    Covariance,
    DataBands,
    ExactField,
    Isotropic,
    Uncertainty,
    White,
)
from hdagger.domains.pictures.bands import PictureBands
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.domains.pictures.words import operator_for_data
from hdagger.errors import OperatorAbilityError
from hdagger.operators.convolution import convolution
from hdagger.operators.nonlinear import Clip
from hdagger.operators.spectral import Dense, Identity, Inpainting
from hdagger.priors.analytic import GaussianField, GaussianPrior
from hdagger.problem import Problem
from hdagger.recipe import Recipe
from hdagger.restoration import Prior
from hdagger.samplers import drawn, systems
from hdagger.samplers.drawn import NEVER, Drawing, Drawn, Predicted
from hdagger.samplers.systems import System
from hdagger.samplers.walk import Step, karras_levels
from hdagger.solving import solve
from hdagger.spectra import SpectralTable
from hdagger.tensors import Level, SampleNoise, Signal

F64 = torch.float64
SIGMA_Y, HIGH = 0.3, 1e6
H = Rows(MATRIX[:4] + 0.5 * torch.eye(4, 6, dtype=F64))
DATA = torch.tensor([1.5, -0.7, 0.4, 2.0], dtype=F64)


@dataclass(frozen=True)
class Whole(Covariance):
    """Any matrix."""

    matrix: torch.Tensor
    rows: int

    def times(self, v):
        return v @ self.matrix

    def draw(self, noise):
        values, vectors = torch.linalg.eigh(self.matrix)
        return noise((self.rows, len(values))) * values.clamp(min=0).sqrt() @ vectors.T


@dataclass(frozen=True)
class Exact(Uncertainty):
    """C = S - S (S + sigma^2 I)^-1 S = sigma^2 (S + sigma^2 I)^-1 S."""

    prior: GaussianPrior
    data_variance: float = 1.0

    def at(self, sigma: Level, D: Signal, variance: Signal | None) -> Whole:
        S = self.prior.cov
        C = sigma**2 * torch.linalg.solve(S + sigma**2 * torch.eye(len(S), dtype=F64), S)
        return Whole((C + C.T) / 2, len(D))


EXACT = Drawn(uncertainty=Exact(COLOURED))


@pytest.fixture(autouse=True)
def systems_solved_to_rounding(monkeypatch):
    monkeypatch.setattr(systems, "ACCURACY", 1e-13)


def assert_law(y, H, sigma_y, expected, eta=0.75, count=3):
    levels = karras_levels(count, low=0.02, high=HIGH)
    found = exact_moments(replace(EXACT, eta=eta), COLOURED, y, H, sigma_y, levels)
    for actual, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-5)  # a start without a mean


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_samples_have_the_law_of_the_posterior_in_any_steps(eta, count):
    expected = COLOURED.posterior(H.matrix, DATA, SIGMA_Y)
    assert_law(DATA, H, SIGMA_Y, expected, eta, count)


@dataclass(frozen=True)
class Controls(Drawn):
    """Ends at what chance did in the part ``at`` of a walk, not at its sample."""

    at: int = 0

    def start(self, problem, sigma, noise):
        return self.controlled(super().start(problem, sigma, noise))

    def finish(self, at, /, problem):
        return self.controls(at, problem)[self.at]


@pytest.mark.parametrize("at", range(drawn.PARTS))
def test_what_chance_did_is_0_in_the_mean(at):
    method = Controls(uncertainty=EXACT.uncertainty, eta=0.75, at=at)
    levels = karras_levels(20, low=0.02, high=HIGH)
    mean, cov = exact_moments(method, COLOURED, DATA, H, SIGMA_Y, levels)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12)
    assert cov.trace() > 0


def test_the_answer_is_nearer_than_the_mean_of_the_samples():
    problem, levels = Problem.of(DATA, H, SIGMA_Y), karras_levels(20, low=0.02, high=80.0)
    mean, _ = COLOURED.posterior(H.matrix, DATA, SIGMA_Y)
    draw = lambda item, batch: solve(
        COLOURED, problem, EXACT, levels=levels, samples=40, item=item, batch=batch
    )
    found = [draw(item, 10 + item) for item in range(24)]
    error = lambda x: float((x - mean).square().sum())
    of_draws = sum(error(samples.draws.mean(0)) for samples in found)
    assert sum(error(samples.mean) for samples in found) < 0.2 * of_draws
    torch.testing.assert_close(draw(4, 40).mean, found[4].mean, rtol=0, atol=1e-9)
    alone = solve(COLOURED, problem, EXACT, levels=levels, samples=1)
    torch.testing.assert_close(alone.draws[0], alone.mean, rtol=0, atol=0)


def test_the_answer_meets_exact_data():
    levels = karras_levels(20, low=0.02, high=80.0)
    samples = solve(COLOURED, Problem.of(DATA, H), EXACT, levels=levels, samples=40)
    assert not torch.equal(samples.mean, samples.draws.mean(0))
    assert (H(samples.mean[None]) - DATA).abs().max() < 1e-9


def test_without_data_that_say_anything_they_have_the_law_of_the_prior():
    nothing = Rows(torch.zeros(1, 6, dtype=F64))
    assert_law(torch.zeros(1, dtype=F64), nothing, 1.0, (COLOURED.mean, COLOURED.cov))


@pytest.mark.parametrize("count", [1, 20])
def test_complex_data_lead_to_the_exact_posterior(count):
    expected = COLOURED.posterior(MATRIX, Y2, SIGMA_Y)
    assert_law(Y, COMPLEX, SIGMA_Y, expected, count=count)


def test_noise_that_differs_leads_to_the_exact_posterior():
    seen = OTHER.isfinite()
    matrix = torch.eye(6, dtype=F64)[seen] / OTHER[seen, None]
    expected = COLOURED.posterior(matrix, SIGNAL[seen] / OTHER[seen], 1.0)
    for junk in (0.0, 1e30, float("nan")):
        assert_law(torch.where(seen, SIGNAL, junk), Identity((6,)), OTHER, expected)


@pytest.mark.parametrize(("deviation", "off"), [(drawn.EXACT, 0.02), (1e-5, 5e-5)])
def test_exact_data_lead_to_the_exact_posterior(deviation, off, monkeypatch):
    """But for what the deviation leaves that they are taken to have."""
    monkeypatch.setattr(drawn, "EXACT", deviation)
    matrix = H.matrix
    expected = COLOURED.posterior(matrix, DATA, 0.0)
    levels = karras_levels(20, low=0.02, high=HIGH)
    found = exact_moments(EXACT, COLOURED, DATA, Dense(matrix), 0.0, levels)
    for actual, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=off)


@pytest.mark.parametrize("accuracy", [0.05, 1e-6])
def test_exact_data_are_met_to_rounding(accuracy, monkeypatch):
    monkeypatch.setattr(systems, "ACCURACY", accuracy)
    y = H(SIGNAL[None])[0]
    found = solve(COLOURED, Problem.of(y, H, 0.0), EXACT, samples=5)
    assert (H(found.draws) - y).abs().max() < 1e-12
    picture = BlockAverage((1, 8, 8), 2)
    x0 = GaussianField(8).sample(1, SampleNoise(1, [(0,)]))
    problem = Problem.of(picture(x0)[0], picture, 0.0)
    known = ExactField(GaussianField(8))
    found = solve(GaussianField(8), problem, Drawn(), samples=5, uncertainty=known)
    assert (picture(found.draws) - problem.y).abs().max() < 1e-12


KERNEL = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.0, 0.2], [0.1, 0.1, 0.4]])


BLUR = convolution((1, 14, 14), KERNEL)


@pytest.mark.parametrize("H", [BLUR, Inpainting(torch.ones(1, 12, 12) > 0) @ BLUR])
@pytest.mark.parametrize(("sigma_y", "rounding"), [(0.0, 1e-3), (0.1, 1e-10)])
def test_a_sample_of_a_table_does_not_depend_on_its_batch(H, sigma_y, rounding, monkeypatch):
    """Neither by the preconditioner nor by the deviation that exact data are taken to have.

    Exact data make the system's condition a million, and its iteration stops far from rounding.
    """
    monkeypatch.setattr(systems, "ACCURACY", 0.05)
    field, bands = GaussianField(14), PictureBands((1, 14, 14))
    truths = field.sample(8, SampleNoise(0, [(k,) for k in range(8)]))
    table = SpectralTable.measured(field, truths, bands)
    problem = Problem.of(H(truths)[0], H, sigma_y)
    draw = lambda batch: (
        solve(field, problem, Drawn(), samples=5, batch=batch, uncertainty=table).draws
    )
    torch.testing.assert_close(draw(1), draw(5), rtol=0, atol=rounding)


def test_an_open_uncertainty_is_that_of_the_prior_and_a_given_one_stays():
    problem, known = Problem.of(DATA, H, SIGMA_Y), Isotropic(2.0)
    assert Drawn().fitted(problem, known).uncertainty is known
    assert EXACT.fitted(problem, known) is EXACT
    white = GaussianPrior(torch.zeros(6), 2 * torch.eye(6))
    levels = karras_levels(3, low=0.02, high=HIGH)
    given = exact_moments(replace(EXACT, uncertainty=known), white, DATA, H, SIGMA_Y, levels)
    for actual, wanted in zip(given, white.posterior(H.matrix, DATA, SIGMA_Y), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-6)


def test_a_prior_that_is_taken_for_white_is_found_out():
    """Else the tests above could not tell an exact covariance from any other."""
    levels = karras_levels(20, low=0.02, high=HIGH)
    method = replace(EXACT, uncertainty=Isotropic(1.0))
    _, cov = exact_moments(method, COLOURED, DATA, H, SIGMA_Y, levels)
    expected = COLOURED.posterior(H.matrix, DATA, SIGMA_Y)[1]
    assert (cov - expected).norm() > 0.1 * expected.norm()


def test_hidden_data_have_no_influence():
    seen = torch.tensor([True, False, True, True, False, True])
    clean, found = Inpainting(seen)(SIGNAL[None])[0], []
    for junk in (0.0, 7.0):
        noise = torch.where(seen, 0.3, torch.inf).double()
        problem = Problem.of(torch.where(seen, SIGNAL, junk), Rows(torch.eye(6).double()), noise)
        found.append(solve(COLOURED, problem, EXACT, samples=3).draws)
    assert torch.equal(*found)
    left = Problem.of(clean[seen], Rows(torch.eye(6, dtype=F64)[seen]), SIGMA_Y)
    assert left.H.rank == problem.H.rank == 4


def test_what_is_not_linear_is_refused_with_a_method_to_use():
    problem = Problem.of(SIGNAL.clamp(-1, 1), Clip((6,)), SIGMA_Y)
    with pytest.raises(OperatorAbilityError, match="Use DPS"):
        solve(COLOURED, problem, EXACT)


@pytest.mark.parametrize("data", ["by band", "of no band", "complex, every third hidden"])
@pytest.mark.parametrize("scale", [1.0, 0.6, 1.8])
def test_the_data_tell_by_how_much_a_covariance_is_too_small(scale, data):
    """(a + b)' F S^-1 (a - b) for a ~ N(0, s C + sigma_y^2), b ~ N(0, C + sigma_y^2), C = c I."""
    bands, rows, c, sigma_y = PictureBands((3, 24, 24)), 200, 0.5, 0.4
    generator = torch.Generator().manual_seed(0)
    kind, kept, seen = F64, 1, 3 * 24 * 24
    if data.startswith("complex"):
        kind, kept, seen = torch.complex128, torch.tensor([1, 1, 0]).view(3, 1, 1), 4 * 24 * 24
    normal = lambda: kept * torch.randn(rows, 3, 24, 24, generator=generator, dtype=kind)
    S, both = c + sigma_y**2, 2**0.5 if kind.is_complex else 1
    a = both * (scale * c + sigma_y**2) ** 0.5 * normal()
    b = both * S**0.5 * normal()
    variance = torch.full((rows, bands.count), S, dtype=F64)
    by_band = DataBands(bands, variance, torch.tensor([[sigma_y**2]], dtype=F64))
    known = by_band if data == "by band" else None
    system = System(Identity((seen,)), White(c, ()), sigma_y, known)
    found = drawn.change([drawn.told(system, a, a - b, (a - b) / S)])
    information = seen * (c / S) ** 2
    wanted = scale ** (information / (information + drawn.DOUBT))
    assert abs(found.mean() - wanted) < 0.015
    assert found.std() < 3 / information**0.5


def test_complex_data_that_are_hidden_in_part_tell_as_much_as_the_real_numbers_that_are_seen():
    hidden, rows, scale = torch.arange(12) % 3 == 0, 100, 1.8

    class Half(Fourier):
        visible = (~hidden).expand(12, 12)

        def forward(self, x):
            return self.seen(super().forward(x))

        def adjoint(self, y):
            return super().adjoint(self.seen(y))

    sky, noise = Half(12, 12), SampleNoise(0, [(k,) for k in range(rows)])
    y = sky(scale**0.5 * noise((rows, 2, 12, 12))) + SIGMA_Y * drawn.like(
        sky(torch.zeros(rows, 2, 12, 12, dtype=F64)), noise
    )
    problem = replace(Problem.of(y[0], sky, SIGMA_Y).rows(rows), y=y)
    zero = torch.zeros(rows, 2, 12, 12, dtype=F64)
    white = White(1.0, (rows, 2, 12, 12))
    predicted = Predicted(zero, white, torch.tensor(1.0, dtype=F64))
    given = drawn.given_data(predicted, problem, noise)
    information = 2 * 8 * 12 / (1 + SIGMA_Y**2) ** 2
    wanted = scale ** (information / (information + drawn.DOUBT))
    assert abs(given.change.mean() - wanted) < 0.05


def test_every_component_has_its_say_in_the_scale():
    """Of three of which one is too wide and one too narrow, the third decides."""
    tell = lambda excess, information: (torch.tensor([excess]), torch.tensor([information]))
    said = [tell(300.0, 1000.0), tell(-300.0, 1000.0), tell(200.0, 2000.0)]
    wanted = 1.05 ** (4000 / (4000 + drawn.DOUBT))
    torch.testing.assert_close(drawn.change(said), torch.tensor([[wanted]]))


def test_data_that_tell_nothing_change_nothing():
    y = torch.randn(2, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    zero, ones = torch.zeros_like(y), torch.ones(2, 1, dtype=F64)
    for sigma_y, data in ((2.0, (y, y, y / 4)), (0.0, (zero, zero, zero))):
        system = System(Identity((5,)), White(1.0, (2, 5)), sigma_y)
        torch.testing.assert_close(drawn.change([drawn.told(system, *data)]), ones)


def begun(x):
    """What is carried at such signals, of which nothing is known yet."""
    ones = torch.ones(len(x), 1, dtype=F64)
    return Drawing(x, ones, ones)


@pytest.mark.parametrize(("told", "low", "high"), [(1.0, 0.8, 1.25), (1 / 3, 2.0, 4.0)])
def test_a_covariance_that_was_measured_too_small_is_widened_on_the_way(told, low, high):
    field, levels = GaussianField(24), karras_levels(20, low=0.03, high=80.0)
    truths = field.sample(32, SampleNoise(0, [(k,) for k in range(32)]))
    table = SpectralTable.measured(field, truths, PictureBands((1, 24, 24)))
    method = Drawn(uncertainty=replace(table, spectra=told * table.spectra))
    fresh = SampleNoise(1, [(k,) for k in range(4)])
    y = field.sample(4, fresh) + 0.1 * fresh((4, 1, 24, 24))
    for item in y:
        problem, noise = Problem.of(item, Identity((1, 24, 24)), 0.1), SampleNoise(2, [(0,), (1,)])
        end = method.run(field, problem.rows(2), levels[:15], noise)
        found = end.scale * end.wider[:, -6:]
        assert low < found.mean() < high, found


def test_what_a_network_says_for_nothing_is_not_taken_where_it_is_never_asked():
    field, levels, shape = GaussianField(24), karras_levels(20, low=0.03, high=80.0), (1, 24, 24)
    truths = field.sample(8, SampleNoise(0, [(k,) for k in range(8)]))
    method = Drawn(uncertainty=SpectralTable.measured(field, truths, PictureBands(shape)))
    problem = Problem.of(truths[0], Identity(shape), 0.1)
    for asked, heard in ((NEVER, False), (2.0, True)):
        walk = replace(method, asked=asked)
        end = walk.run(field, problem, levels[:10], SampleNoise(2, [(0,)]))
        assert bool((end.wider != 1).any()) is heard


@pytest.mark.parametrize("told", [0.4, 2.5])
def test_one_kind_of_band_that_was_measured_wrong_has_the_right_variance_all_the_same(told):
    """The finest bands of draws, beside those of the exact posterior's; .84 and 1.11 else."""
    field, shape, finest = GaussianField(48), (1, 48, 48), slice(-8, None)
    truths = field.sample(32, SampleNoise(0, [(k,) for k in range(32)]))
    bands = PictureBands(shape)
    table = SpectralTable.measured(field, truths, bands)
    spectra = table.spectra.clone()
    spectra[..., finest] = (told * spectra[..., finest]).clamp(max=1)
    noise = SampleNoise(5, [(0,)])
    y = field.sample(1, noise) + 0.5 * noise((1, *shape))
    samples = solve(
        field,
        Problem.of(y[0], Identity(shape), 0.5),
        Drawn(),
        levels=karras_levels(8, low=0.03, high=20.0),
        samples=40,
        uncertainty=replace(table, spectra=spectra),
    )
    exact = ExactField(field).at(torch.tensor(0.5, dtype=F64), y.expand(200, *shape), None)
    wanted = exact.draw(SampleNoise(9, [(k,) for k in range(200)]))
    power = lambda x: (bands.power(x).mean(0) * bands.held)[finest]
    found = power(samples.draws - samples.draws.mean(0)) * 40 / 39
    assert float((found / power(wanted)).mean()) == pytest.approx(1, abs=0.08)


def test_noise_that_may_be_less_than_is_said_narrows_no_covariance():
    """Data without noise look like those of a clean signal that is surer than it was measured."""
    problem = Problem.of(torch.zeros(400, dtype=F64), Identity((400,)), 0.1).rows(2)
    step = Step(*torch.tensor([0.3, 0.2], dtype=F64), eta=1.0, index=0, count=9)
    start = begun(torch.zeros(2, 400, dtype=F64))
    certain = lambda x, sigma: torch.zeros_like(x)
    for at_most, narrow in ((False, True), (True, False)):
        method, noise = Drawn(uncertainty=Isotropic(2.0)), SampleNoise(0, [(0,), (1,)])
        given = replace(problem, at_most=at_most)
        scale = method.advance(start, certain, given, step, noise).scale
        assert ((scale < 0.7) if narrow else (scale == 1)).all(), scale


@pytest.mark.parametrize(
    ("sigma", "lower", "stays"), [(50.0, 20.0, 8 / 408), (0.2, 0.1, 800 / 801)]
)
def test_high_levels_forget_the_noise_that_low_ones_keep(sigma, lower, stays):
    """Of a silent step with a prior that hears nothing, all that x leaves is kept noise."""
    problem = Problem.of(torch.zeros(4, dtype=F64), Identity((4,)), 0.1).rows(2)
    method = Drawn(uncertainty=Isotropic(2.0))
    step = Step(*torch.tensor([sigma, lower], dtype=F64), eta=1.0, index=0, count=9)
    x = torch.tensor([[0.0] * 4, [1.0] * 4], dtype=F64)
    silent = lambda shape: torch.zeros(shape, dtype=F64)
    deaf = lambda x, sigma: torch.zeros_like(x)
    end = method.advance(begun(x), deaf, problem, step, silent).x
    left = torch.full((4,), stays * (lower / sigma) ** 2, dtype=F64)
    torch.testing.assert_close(end[1] - end[0], left)


@pytest.mark.parametrize("memory", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_kept_and_fresh_noise_make_the_next_level(eta, memory):
    step = Step(*torch.tensor([3.0, 2.0], dtype=F64), eta, index=0, count=1, memory=memory)
    assert step.down == pytest.approx(memory * 2 * (1 - (eta * (1 - 4 / 9) ** 0.5) ** 2) ** 0.5)
    assert (step.keep * 3) ** 2 + step.fresh**2 == pytest.approx(4)


def test_a_large_picture_is_solved_up_to_its_edges(monkeypatch):
    """What lies outside the frame of a blur is few numbers of many, and solved last."""
    monkeypatch.setattr(systems, "ACCURACY", 0.1)
    H = operator_for_data("gauss:2", (3, 1024, 1024), {}).to(torch.float32)
    noise = SampleNoise(0, [(0,)], dtype=torch.float32)
    problem = Problem.of(0.5 + 0.1 * noise((1, 3, 1024, 1024))[0], H, 0.1).rows(1)
    known = Prior.of(Recipe(prior="photo")).uncertainty(PictureBands(H.signal_shape))
    D, sigma = torch.zeros(1, *H.signal_shape), torch.tensor(8.0)
    C = known.at(sigma, D, None)
    assert drawn.given_data(Predicted(D, C, sigma), problem, noise).z.abs().max() < 3
