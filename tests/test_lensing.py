"""Lenses against closed forms, ray shooting against plain sums, and samples of a source."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hdagger.domain import DOMAINS
from hdagger.domains.lensing.critical import caustics, critical_curves, magnification
from hdagger.domains.lensing.domain import LENSING, unit_of
from hdagger.domains.lensing.fits import write_cube
from hdagger.domains.lensing.galaxies import CANVAS, sersic_profiles
from hdagger.domains.lensing.judgement import Fit, against, told
from hdagger.domains.lensing.lenses import EPL, SIE, Lens, Shear
from hdagger.domains.lensing.shooting import Frame, Shooting, lensed
from hdagger.domains.lensing.simulation import COMMON, gaussian, simulate
from hdagger.domains.lensing.unknown import drawn_lenses, rough_lens
from hdagger.domains.lensing.view import View
from hdagger.errors import HDaggerError, SettingError, ShapeError
from hdagger.measurement import Measurement
from hdagger.operators import checks
from hdagger.priors.cards import Card
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare
from hdagger.samplers.drawn import NEVER
from hdagger.samples import PosteriorSamples


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


X, Y = randn(500), randn(500, seed=2)
PSF = gaussian(0.1, 0.05)
LENS = COMMON.lens


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=tolerance)


@pytest.mark.parametrize("slope", [1.6, 2.0, 2.3])
@pytest.mark.parametrize("q", [0.3, 0.75, 1.0])
def test_a_power_law_bends_light_as_its_mass_does(slope, q):
    """Poisson: the divergence of alpha is twice the convergence, and its curl is 0."""
    x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
    a, b = EPL(1.1, q, 50.0, slope, 0.1, -0.2).deflection(x, y)
    ax, ay = torch.autograd.grad(a.sum(), (x, y), retain_graph=True)
    bx, by = torch.autograd.grad(b.sum(), (x, y))
    turn = math.radians(50)
    dx, dy = X - 0.1, Y + 0.2
    along, across = (
        dx * math.cos(turn) + dy * math.sin(turn),
        dy * math.cos(turn) - dx * math.sin(turn),
    )
    R = (q * along**2 + across**2 / q).sqrt()
    convergence = (3 - slope) / 2 * (1.1 / R) ** (slope - 1)
    close((ax + by) / 2 / convergence, torch.ones(500).double(), 1e-9)
    close((ay - bx) / convergence, torch.zeros(500).double(), 1e-9)


def test_an_isothermal_ellipsoid_is_the_power_law_of_slope_2_and_the_complex_form():
    q = 0.75
    sie = SIE(1.2, q, 20.0, 0.01, -0.02).deflection(X, Y)
    close(torch.stack(sie), torch.stack(EPL(1.2, q, 20.0, 2.0, 0.01, -0.02).deflection(X, Y)))
    turn = np.exp(1j * np.radians(20))
    w = ((X - 0.01).numpy() + 1j * (Y + 0.02).numpy()) / turn
    psi, f = np.hypot(q * w.real, w.imag), np.sqrt(1 - q**2)
    alpha = np.conj(1.2 * np.sqrt(q) / f * np.arcsin(f * psi / (q * w))) * turn
    close(torch.stack(sie), torch.from_numpy(np.stack([alpha.real, alpha.imag])))


def test_a_round_lens_deflects_by_its_einstein_radius():
    r = torch.hypot(X, Y)
    for model in (SIE(1.3), EPL(1.3)):
        a, b = model.deflection(X, Y)
        close(a, 1.3 * X / r, 1e-9)
        close(b, 1.3 * Y / r, 1e-9)
    x, y = Lens((SIE(1.3), Shear(0.03, -0.01))).traced(X, Y)
    close(x, X - 1.3 * X / r - (0.03 * X - 0.01 * Y), 1e-9)
    close(y, Y - 1.3 * Y / r - (-0.01 * X - 0.03 * Y), 1e-9)


def test_the_middle_of_a_lens_and_far_away_are_finite():
    zero, far = torch.zeros(1).double(), torch.full((1,), 1e6).double()
    for model in (SIE(1.0, 0.1), EPL(1.0, 0.1, 0.0, 2.8), EPL(1.0, 0.1, 0.0, 1.2)):
        for place in (zero, far):
            assert all(part.isfinite().all() for part in model.deflection(place, place))


def test_magnification_and_critical_curves_of_a_round_lens():
    lens = Lens((SIE(1.2),))
    close(magnification(lens, X, Y), 1 / (1 - 1.2 / torch.hypot(X, Y)), 1e-6)
    image = Frame(100, 100, 0.05)
    radius = np.hypot(*np.concatenate(critical_curves(lens, image)).T)
    assert radius == pytest.approx(1.2, abs=1e-3)
    point, cut = caustics(lens, image)
    assert np.abs(point).max() < 0.01
    assert np.hypot(*cut.T) == pytest.approx(1.2, abs=1e-3)


def test_a_lens_is_its_text():
    text = "epl:1.2,0.75,20,2.1,0.01,-0.02 | shear:0.03,-0.01"
    assert str(Lens.read(text)) == text
    lens = Lens.read(text)
    assert lens.names[:2] == ("epl.einstein_radius", "epl.axis_ratio")
    assert lens.moved(lens.numbers) == lens
    view = f"source:32,64,0.03,0.1,-0.2 | {text} | image:50,60,0.05"
    assert str(View.read(view)) == view


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nfw:1.0", "one of sie, epl, shear"),
        ("sie:1.2,2", "axis_ratio of the lens model sie, a number from 0.1 to 1"),
        ("sie:one", "Wanted numbers"),
        ("sie:1,1,1,1,1,1", "Wanted numbers"),
        ("sie:nan", "einstein_radius"),
    ],
)
def test_what_is_no_lens_is_refused(text, words):
    with pytest.raises(SettingError, match=words):
        Lens.read(text)


@pytest.mark.parametrize(
    "text",
    [
        "mask",
        "source:8,8,0.1 | image:9,9,0.1 | sie:1",
        "source:99999,8,0.1 | sie:1 | image:9,9,0.1",
        "source:8,8,0 | sie:1 | image:9,9,0.1",
        "source:8,8,x | sie:1 | image:9,9,0.1",
    ],
)
def test_what_is_no_view_is_refused(text):
    with pytest.raises(SettingError, match="Wanted source:ROWS"):
        View.read(text)


def test_a_frame_lies_where_it_says():
    x, y = Frame(2, 4, 0.5, 1.0, -1.0).centres()
    close(x[0], torch.tensor([0.25, 0.75, 1.25, 1.75]).double())
    close(y[:, 0], torch.tensor([-1.25, -0.75]).double())
    fine = Frame(2, 4, 0.5, 1.0, -1.0).centres(rays=4)[0]
    close(fine.unflatten(1, (4, 4)).mean(2)[0], x[0])
    wide = Frame(2, 4, 0.5, 1.0, -1.0).wider(1, 2, 3, 4)
    close(wide.centres()[0][0, 3:7], x[0])
    close(wide.centres()[1][1:3, 0], y[:, 0])


@pytest.mark.parametrize("psf", [None, PSF, PSF[1:-1] / PSF[1:-1].sum()])
def test_the_adjoint_is_exact(psf):
    H = lensed(LENS, Frame(24, 20, 0.08, 0.05, 0.1), Frame(40, 50, 0.08), psf)
    assert checks.adjoint_gap(H, randn(2, 1, 24, 20), randn(2, 1, 40, 50)) <= 1e-10
    assert (
        checks.adjoint_gap(H.float(), randn(2, 1, 24, 20).float(), randn(2, 1, 40, 50).float())
        < 1e-5
    )


def test_without_a_lens_an_image_is_the_mean_of_bilinear_values():
    source, image = Frame(12, 12, 0.1), Frame(4, 5, 0.15, 0.0, 0.0)
    x = randn(1, 1, 12, 12)
    found = Shooting(Lens((Shear(),)), source, image)(x)
    u, v = image.centres(rays=4)
    grid = torch.stack([u, v], -1)[None] / 0.6
    values = torch.nn.functional.grid_sample(x, grid, align_corners=False)
    close(found, torch.nn.functional.avg_pool2d(values, 4))


def test_lensing_keeps_surface_brightness():
    source, image = Frame(40, 40, 0.1), Frame(30, 30, 0.05)
    H = lensed(LENS, source, image, PSF)
    close(H(torch.ones(1, 1, 40, 40).double()), torch.ones(1, 1, 30, 30).double())


def test_the_point_spread_brings_light_in_from_beyond_the_image():
    source, image = Frame(30, 30, 0.1), Frame(10, 10, 0.1)
    kernel = randn(3, 5).abs()
    x = randn(1, 1, 30, 30)
    small = lensed(LENS, source, image, kernel)(x)
    large = lensed(LENS, source, Frame(14, 14, 0.1), kernel)(x)
    close(small, large[..., 2:-2, 2:-2])
    off = torch.zeros(3, 5).double()
    off[0, 2] = 1  # light moves to the row before
    moved = lensed(LENS, source, Frame(14, 14, 0.1), off)(x)
    plain = Shooting(LENS, source, Frame(14, 14, 0.1))(x)
    close(moved[..., :-1, :], plain[..., 1:, :])


def test_frames_that_see_nothing_and_even_point_spreads_are_refused():
    with pytest.raises(SettingError, match="no ray ends"):
        lensed(LENS, Frame(8, 8, 0.01, 50.0, 50.0), Frame(8, 8, 0.05))
    with pytest.raises(ShapeError, match="odd sides"):
        lensed(LENS, Frame(8, 8, 0.1), Frame(8, 8, 0.05), torch.ones(4, 4).double() / 16)


def galaxy(seed=3):
    return sersic_profiles(1, CANVAS, np.random.default_rng(seed))[0, 0]


VIEW = View(LENS, Frame(64, 64, 0.03, 0.05, 0.1), Frame(80, 80, 0.06))


def test_what_is_simulated_is_not_its_own_inverse_but_fits():
    made = simulate(galaxy(), VIEW, 0.12, 25.0, seed=1)
    H = VIEW.operator(made.psf)
    truth = made.truth[None, None].float().repeat(2, 1, 1, 1)
    fit = Fit.of(truth, H, made.image[None], made.noise[None])
    assert fit.of_mean == pytest.approx(1, abs=3 * (2 / 6400) ** 0.5)
    clean = made.image - simulate(galaxy(), VIEW, 0.12, 1e5, seed=1).image
    assert float(clean.std() / made.noise.mean()) == pytest.approx(1, abs=0.03)
    assert float((H(truth.double())[0, 0] - (made.image - clean)).abs().max()) > 1e-5
    assert made.psf.sum() == pytest.approx(1)


class White:
    """The denoiser of white signals of one variance."""

    channels, classes, size = 1, 0, 0

    def __call__(self, x, sigma, label=None):
        return 0.02 / (0.02 + sigma**2) * x


WHITE = Prior(
    Card("white", Path("white"), "0", channels=1, sigma_min=0.01, data_variance=0.02), White(), "0"
)


def measured(scale=1.0):
    made = simulate(galaxy(), VIEW, 0.12, 25.0, seed=1)
    noise = (scale * made.noise).clone()
    noise[:3] = math.inf
    y = torch.where(noise.isfinite(), scale * made.image, math.nan).nan_to_num(7e9)[None]
    return Measurement(y, str(VIEW), noise[None], {"psf": made.psf}, (1, 64, 64), "lensing"), made


def test_samples_have_the_units_of_the_image_and_fit_it():
    draws = {}
    for scale in (1.0, 1000.0):
        measurement, made = measured(scale)
        run = prepare(Recipe("drawn", steps=15, samples=2), measurement, WHITE)
        assert run.recipe.settings["asked"] == NEVER
        samples = run.run()
        assert samples.provenance["unit"] == pytest.approx(
            unit_of(measurement.y, measurement.sigma_y)
        )
        draws[scale] = samples.draws
        H = VIEW.operator(made.psf)
        fit = Fit.of(samples.draws, H, measurement.y, measurement.sigma_y)
        assert fit.residual.isnan().sum() == 3 * 80
        assert 0.8 < fit.of_mean < fit.of_samples[0] < 1.1
    torch.testing.assert_close(draws[1000.0], 1000 * draws[1.0], rtol=1e-3, atol=1.0)


def test_a_lens_that_is_known_roughly_has_its_images_and_their_slopes():
    noise = torch.full((1, 80, 80), 0.1).double()
    noise[0, :3] = math.inf
    deviations = (0.05, 0.1, 10.0, 0, 0, 0.03, 0)
    H = rough_lens(VIEW, gaussian(0.12, 0.06), noise, deviations)
    assert [number.name for number in H.numbers] == [
        "sie.einstein_radius",
        "sie.axis_ratio",
        "sie.angle",
        "shear.gamma1",
    ]
    x = simulate(galaxy(), VIEW, 0.12, 25.0, seed=1).truth[None, None]
    exact = VIEW.operator(gaussian(0.12, 0.06))(x) / noise
    torch.testing.assert_close(H(x), exact)
    numbers = torch.tensor([[1.22, 0.8, 25.0, 0.02]]).double()
    (lens,) = drawn_lenses(VIEW.lens, deviations, numbers)
    assert lens.numbers == pytest.approx((1.22, 0.8, 25, 0, 0, 0.02, -0.01))
    assert H.seen(H.at(numbers[0])(x)).ne(0).any()
    found = H.slope(x, numbers)[0]
    for k, deviation in enumerate((0.05, 0.1, 10.0, 0.03)):
        step = torch.zeros(4).double()
        step[k] = 0.02 * deviation
        plain = (H.at(numbers[0] + step)(x) - H.at(numbers[0] - step)(x)) / (2 * step[k])
        assert (found[k] - plain[0]).norm() < 0.12 * plain.norm()


def test_a_prior_of_colours_and_another_shape_are_refused():
    measurement, _ = measured()
    with pytest.raises(ShapeError, match="one channel"):
        LENSING.posed(measurement, Card("photo", Path("photo")), White())
    with pytest.raises(ShapeError, match="64 x 64"):
        LENSING.operator(str(VIEW), (1, 8, 8), {})
    with pytest.raises(SettingError, match="some light"):
        unit_of(-torch.ones(1, 8, 8).double(), 0.1)


def test_the_walk_ends_at_the_noise_as_the_source_sees_it():
    measurement, _ = measured()
    posed = LENSING.posed(measurement, WHITE.card, White())
    levels = LENSING.levels(posed.problem, Recipe("drawn").sampler(), 10, WHITE.card)
    assert levels[0] == 80
    assert 0.01 <= levels[-2] <= 0.0101
    assert levels[-1] == 0


def test_the_walk_begins_where_data_tell_of_a_lens_that_is_known_roughly():
    measurement, _ = measured()
    deviations = torch.tensor([0.05, 0.1, 10.0, 0, 0, 0.03, 0])
    rough = replace(measurement, arrays=dict(measurement.arrays) | {"deviations": deviations})
    posed = LENSING.posed(rough, WHITE.card, White())
    levels = LENSING.levels(posed.problem, Recipe("drawn").sampler(), 10, WHITE.card)
    assert float(levels[0]) == pytest.approx(1)


def test_a_check_measures_galaxies_through_a_lens_and_a_point_spread(tmp_path):
    write_cube(tmp_path / "psf.fits", PSF, Frame(*PSF.shape, 0.06))
    text, arrays = LENSING.with_files(f"{VIEW} | psf:{tmp_path / 'psf.fits'}")
    assert text == str(VIEW)
    torch.testing.assert_close(arrays["psf"], PSF, rtol=0, atol=1e-7)
    assert LENSING.with_files(text) == (text, {})
    measurement = LENSING.measure(galaxy()[None, ::2, ::2], text, arrays, 0.1)
    assert measurement.y.shape == (1, 80, 80)
    nothing = Measurement(torch.zeros(1, 8, 8), "none", 0.0, {}, (1, 8, 8), "lensing")
    assert LENSING.posed(nothing, WHITE.card, White()).problem.H.data_shape == (1, 8, 8)


def test_the_registry_knows_lensing():
    assert DOMAINS["lensing"] is LENSING
    assert LENSING.truth_shape(WHITE.card, None) == (1, 64, 64)
    bands = LENSING.basis((1, 16, 16))
    assert bands is not None
    assert bands.count == 24


def test_masked_pixels_have_no_part_in_chi2():
    y, noise = torch.ones(1, 8, 8).double(), torch.full((1, 8, 8), 0.5).double()
    noise[0, :4] = math.inf
    H = Shooting(Lens((Shear(),)), Frame(8, 8, 0.1), Frame(8, 8, 0.1))
    fit = Fit.of(torch.zeros(2, 1, 8, 8), H, y, noise)
    assert fit.of_mean == pytest.approx(4)
    assert fit.of_samples == pytest.approx([4, 4])
    assert int(fit.residual.isnan().sum()) == 32


def test_scores_against_a_known_source():
    truth = torch.zeros(16, 16).double()
    truth[4:12, 4:12] = 1 + randn(8, 8).abs()
    draws = truth + 0.1 * randn(40, 1, 16, 16, seed=4)
    shifted = truth + 0.1 * randn(1, 16, 16, seed=5)[0]
    found = against(PosteriorSamples(draws.float(), {}), shifted)
    assert found["coverage"] == pytest.approx(0.9, abs=0.1)
    assert found["spread"] == pytest.approx(1, abs=0.15)
    rms = (shifted[truth > 0].square().mean() ** 0.5).item()
    assert found["nrmse"] == pytest.approx(0.1 / rms, rel=0.2)
    narrow = truth + 0.03 * randn(40, 1, 16, 16, seed=4)
    assert against(PosteriorSamples(narrow.float(), {}), shifted)["coverage"] < 0.5
    bright_sky = against(PosteriorSamples((draws + 9 * (truth == 0)).float(), {}), shifted)
    assert bright_sky["coverage"] == pytest.approx(found["coverage"])
    assert bright_sky["coverage_sky"] < 0.1


def test_fluxes_are_counted_in_pixels_of_the_image():
    draws = torch.ones(3, 1, 10, 10)
    fit = Fit(torch.full((5, 5), 4.0).double(), torch.zeros(5, 5), 1.0, [1.0, 1.0, 1.0])
    found = told(draws, fit, scale=0.02, image_scale=0.04)
    assert found["flux"] == pytest.approx([25, 0])
    assert found["magnification"] == pytest.approx([4, 0])


def test_every_error_is_one_the_caller_can_mend():
    assert issubclass(SettingError, HDaggerError)
