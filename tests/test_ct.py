"""Projections of slices against exact chords and other code; what samples of slices say."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from hdagger.domain import DOMAINS
from hdagger.domains.ct import simulation
from hdagger.domains.ct.domain import CT
from hdagger.domains.ct.judgement import against, body, psnr, told, unseen_wedge
from hdagger.domains.ct.phantom import Ellipse, Phantom, chest
from hdagger.domains.ct.projector import (
    Projector,
    crossed,
    filtered_back_projection,
    projected,
    water,
)
from hdagger.domains.ct.scan import Fan, Frame, Parallel, Scan
from hdagger.domains.ct.simulation import Plan, Slices, simulate, simulate_phantom
from hdagger.errors import SettingError, ShapeError
from hdagger.measurement import Measurement
from hdagger.operators import checks
from hdagger.operators.gram import Gram
from hdagger.priors.analytic import GaussianField
from hdagger.priors.cards import Card
from hdagger.problem import Problem
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare
from hdagger.samplers import METHODS
from hdagger.samples import PosteriorSamples

FRAME = Frame(64, 64, 4.0, 3.0, -5.0)
PARALLEL = Parallel(100, 3.9, 1.0)
FAN = Fan(120, 6.0, 1.5, 500.0, 900.0)
TURN = tuple(2 * math.pi * k / 24 for k in range(24))
ELLIPSE = Phantom((Ellipse(1.0, 90, 50, 20, -15, 0.5),))


def randn(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def sinogram(phantom, scan):
    return torch.stack([phantom.line_integrals(scan, t, 1)[:, 0] for t in scan.angles])


@pytest.mark.parametrize("detector", [PARALLEL, FAN], ids=["parallel", "fan"])
def test_line_integrals_are_the_chords_of_an_ellipse(detector):
    """Better on finer grids: what is left is the pixels'."""
    errors = []
    for factor in (1, 3):
        frame = Frame(64 * factor, 64 * factor, 4.0 / factor, 3.0, -5.0)
        scan = Scan(frame, detector, TURN[:8])
        H, exact = Projector(scan), sinogram(ELLIPSE, scan)
        found = H(ELLIPSE.picture(frame)[None, None])[0] + water(H)
        errors.append(float((found - exact).norm() / exact.norm()))
        assert abs(float(found.sum() / exact.sum()) - 1) < 1e-3
    assert errors[0] < 0.02
    assert errors[1] < 0.4 * errors[0]


def test_an_ellipse_s_chords_are_lengths_of_points_within():
    scan = Scan(FRAME, FAN, (0.4,))
    rays = scan.rays(0.4)
    t = torch.linspace(0, 1000, 20_001, dtype=torch.float64)
    points = rays.point[:, None] + t[:, None] * rays.direction[:, None]
    counted = ELLIPSE.ellipses[0].holds(points).double().sum(1) * 0.05
    close(ELLIPSE.ellipses[0].chords(rays), counted, 0.1)
    ridge = Ellipse(1.0, 90, 10, turn=math.pi / 4)  # to the upper right
    places = torch.tensor([[50.0, 50], [50, -50]], dtype=torch.float64)
    assert ridge.holds(places).tolist() == [True, False]


def test_views_are_scikit_images():
    from skimage.transform import radon

    rows, columns = np.mgrid[:101, :101] - 50
    rough = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((101, 101)), 3)
    x = np.where(rows**2 + columns**2 < 2400, rough * np.exp(-(rows**2 + columns**2) / 450), 0)
    degrees = np.array([0, 10, 37, 90, 120, 175])
    scan = Scan(Frame(101, 101, 1.0), Parallel(101, 1.0), tuple(np.radians(degrees)), 1.0)
    found = Projector(scan)(torch.from_numpy(x)[None, None])[0]
    expected = torch.from_numpy(radon(x, degrees, circle=True).T)
    close(found, expected, 0.01 * float(expected.abs().max()))
    close(found[[0, 3]], expected[[0, 3]], 1e-9)


def test_a_ray_that_follows_a_row_or_a_column_sums_it():
    x = randn(1, 1, 4, 6)
    frame = Frame(4, 6, 2.0, 1.0, 3.0)
    H = Projector(Scan(frame, Parallel(4, 2.0, 3.0), (math.pi / 2,), 0.1))
    close(H(x)[0, 0], 0.2 * x[0, 0].sum(1).flip(0))
    H = Projector(Scan(frame, Parallel(6, 2.0, 1.0), (0.0,), 0.1))
    close(H(x)[0, 0], 0.2 * x[0, 0].sum(0))


@pytest.mark.parametrize("detector", [PARALLEL, FAN], ids=["parallel", "fan"])
def test_the_adjoint_is_exact(detector):
    scan = Scan(FRAME, detector, TURN[:7])
    H = Projector(scan)
    x, y = randn(2, *scan.signal_shape), randn(2, *scan.data_shape)
    assert checks.adjoint_gap(H, x, y) <= 1e-10
    assert checks.adjoint_gap(H.float(), x.float(), y.float()) < 1e-5


@pytest.mark.parametrize("detector", [PARALLEL, FAN], ids=["parallel", "fan"])
def test_projected_view_by_view_is_the_matrix(detector):
    scan, x = Scan(FRAME, detector, TURN[:3]), randn(64, 64)
    H = Projector(scan, rays=2)
    views = torch.stack([p.mean(1) for p in projected(x, scan, 2)])
    close(views, H(x[None, None])[0] + water(H))


def test_rays_of_a_far_source_are_parallel():
    far = Fan(100, 3.9, 1.0, 1e8, 1e8)
    a, b = (Scan(FRAME, d, (0.3, 2.0)) for d in (PARALLEL, far))
    x = randn(1, 1, 64, 64)
    close(Projector(a)(x), Projector(b)(x), 1e-4)
    half = Fan(100, 7.8, 2.0, 1e8, 2e8)  # the same at the axis
    assert half.width_at_axis == PARALLEL.width
    close(Projector(a)(x), Projector(Scan(FRAME, half, (0.3, 2.0)))(x), 1e-4)


@pytest.mark.parametrize("detector", [PARALLEL, FAN], ids=["parallel", "fan"])
def test_filtered_back_projection_of_many_views_is_the_slice(detector):
    scan = Scan(FRAME, detector, tuple(2 * math.pi * k / 180 for k in range(180)))
    found = filtered_back_projection(sinogram(ELLIPSE, scan), scan)
    truth = ELLIPSE.picture(FRAME)
    inside = ndimage.binary_erosion(truth.numpy() > -0.01, iterations=4)
    assert float(found[inside].mean()) == pytest.approx(0, abs=2e-3)
    assert float(found[inside].std()) < 0.02
    assert float((found - truth).square().mean().sqrt()) < 0.04


def test_views_of_half_a_turn_weigh_as_much_as_those_of_a_whole_one():
    half = tuple(math.pi * k / 90 for k in range(90))
    for angles in (half, tuple(t + 0.3 for t in half), tuple(2 * t for t in half[:-1])):
        scan = Scan(FRAME, PARALLEL, angles)
        found = filtered_back_projection(sinogram(ELLIPSE, scan), scan)
        assert float(found[40:44, 34:38].mean()) == pytest.approx(0, abs=5e-3)


def test_a_scan_is_its_text():
    for detector in (PARALLEL, FAN):
        for angles in (TURN, (0.0, 0.1, 0.5), (1.0,)):
            scan = Scan(FRAME, detector, angles, 0.02)
            again = Scan.read(str(scan))
            assert str(again) == str(scan)
            assert again.detector == detector
            assert again.angles == pytest.approx(angles)
    assert "arc:24" in str(Scan(FRAME, FAN, TURN))
    assert "angles:0,0.1,0.5" in str(Scan(FRAME, FAN, (0.0, 0.1, 0.5)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mask", "Wanted frame:ROWS"),
        ("frame:8,8,1 | parallel:8,1 | arc:3,0,1 | water:.02", "no detector"),
        ("frame:8,8,1 | cone:8,1,0 | arc:3,0,1 | water:.02", "no detector"),
        ("frame:8,8 | parallel:8,1,0 | arc:3,0,1 | water:.02", "no frame"),
        ("frame:9999,8,1 | parallel:8,1,0 | arc:3,0,1 | water:.02", "1 to 2048 pixels"),
        ("frame:8,8,1 | parallel:8,0,0 | arc:3,0,1 | water:.02", "2 to 100000 bins"),
        ("frame:8,8,1 | fan:8,1,0,900,500 | arc:3,0,1 | water:.02", "an axis between"),
        ("frame:8,8,1 | parallel:8,1,0 | arc:1e9,0,1 | water:.02", "no arc"),
        ("frame:8,8,1 | parallel:1000,1,0 | arc:50000,0,1 | water:.02", "20000000 rays"),
        ("frame:8,8,1 | parallel:8,1,0 | arc:0,0,1 | water:.02", "no arc"),
        ("frame:8,8,1 | parallel:8,1,0 | arc:3,0,nan | water:.02", "not finite"),
        ("frame:8,8,1 | parallel:8,1,0 | arc:3,0,1 | water:0", "attenuation of water"),
    ],
)
def test_what_is_no_scan_is_refused(text, words):
    with pytest.raises(SettingError, match=words) as told:
        Scan.read(text)
    assert "\n" not in str(told.value)


def test_the_wedge_that_no_view_measured():
    arc = Scan(FRAME, PARALLEL, tuple(math.radians(1.5 * k) for k in range(60)))
    first, width = arc.unseen()
    assert math.degrees(first) == pytest.approx(88.5)
    assert math.degrees(width) == pytest.approx(91.5)
    fan = Scan(FRAME, FAN, arc.angles)
    assert fan.unseen()[1] == pytest.approx(width - FAN.opening)
    assert unseen_wedge(Scan(FRAME, PARALLEL, TURN)) is None
    wedge = unseen_wedge(arc)
    # A ridge along y has its spectrum along x, which the view at 0 sees; turned, it is unseen.
    rows, columns = np.mgrid[:64, :64] - 32
    for turn, unseen in ((0.0, False), (30.0, False), (120.0, True), (150.0, True)):
        across = columns * math.cos(math.radians(turn)) - rows * math.sin(math.radians(turn))
        ridge = np.cos(across) * np.exp(-(rows**2 + columns**2) / 100)
        power = torch.fft.rfft2(torch.from_numpy(ridge)).abs().square()
        assert float(power[wedge].sum() / power.sum() > 0.5) == unseen
        p = Projector(Scan(Frame(64, 64, 1.0), Parallel(90, 1.0), arc.angles, 1.0))
        sees = float(p(torch.from_numpy(ridge)[None, None]).square().mean())
        assert (sees > 1) == (not unseen)


def test_what_is_simulated_is_not_its_own_inverse_but_fits():
    made = simulate_phantom(Plan(views=16, i0=1e4, pixels=64, seed=3))
    H = Projector(made.scan)
    p = -(made.counts[0].clamp(min=1) / made.i0).log()
    residual = p - water(H) - H(made.truth[None])[0]
    chi = residual * made.counts[0].sqrt()
    assert float(chi[:, :12].std()) == pytest.approx(1, abs=0.1)  # air
    assert 1.1 < float(chi[:, 40:50].std()) < 4  # the grid's error, too
    assert torch.equal(made.counts, simulate_phantom(Plan(16, 180, 1e4, 64, 3)).counts)
    assert not torch.equal(made.counts, simulate_phantom(Plan(16, 180, 1e4, 64, 4)).counts)
    assert made.counts.frac().abs().max() == 0


def test_a_slice_is_scanned_through_its_own_pixels():
    """Of a phantom on a fine grid about the same photons arrive as through its ellipses."""
    plan = Plan(views=8, i0=1e9, pixels=32)
    phantom, fine = chest(0), Frame(124, 128, 2.28)
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    made = simulate(Slices(phantom.picture(fine)[None], fine.pixel, affine), plan, lambda *_: None)
    assert made.scan.frame == Frame(32, 32, 9.12)
    rays = (phantom.line_integrals(made.scan, t, simulation.RAYS) for t in made.scan.angles)
    exact = torch.stack([-torch.exp(-p).mean(1).log() for p in rays])
    found = -(made.counts[0] / 1e9).log()
    assert float((found - exact).norm() / exact.norm()) < 0.01
    close(made.truth[0], phantom.picture(made.scan.frame), 0.2)
    corner = made.affine @ [0, 0, 0, 1]  # the middle of 4 x 4 fine pixels, two rows of them added
    assert corner[:2] == pytest.approx([-1.5, -0.5])


def test_a_body_is_without_its_table():
    x = chest(0).picture(Frame(128, 128, 2.28))
    table = x.clone()
    table[112:114, 20:108] = 0.1
    for one in (x, table):
        found = body(one)
        inside = ndimage.binary_fill_holes(x.numpy() > -0.5)
        assert (found.numpy() != inside).mean() < 0.004
    assert not body(torch.full((32, 32), -1.0)).any()


def test_scores_are_those_of_their_definitions():
    scan = Scan(Frame(128, 128, 2.28), Parallel(182, 2.28), tuple(0.02 * k for k in range(60)))
    truth = chest(0).picture(scan.frame)
    deviation = 0.01 + 0.05 * torch.rand(128, 128, dtype=torch.float64)
    mean = truth + deviation * randn(128, 128)
    draws = (mean + deviation * randn(19, 128, 128, seed=2))[:, None]
    scores = against(PosteriorSamples(draws, {}), truth, scan)
    inside = body(truth)
    rms = float((draws.mean(0)[0] - truth)[inside].square().mean().sqrt())
    assert scores["rmse_hu"] == pytest.approx(1000 * rms)
    assert scores["coverage"] == pytest.approx(0.9, abs=0.01)
    assert scores["coverage_unseen"] == pytest.approx(0.9, abs=0.02)
    assert scores["spread"] == pytest.approx(1, abs=0.03)
    off = against(PosteriorSamples(draws + 0.01 * (truth < -0.9), {}), truth, scan)
    assert off["bias_hu_air"] - scores["bias_hu_air"] == pytest.approx(10)
    assert off["bias_hu_bone"] == scores["bias_hu_bone"]
    assert psnr(truth + 0.2 * (truth < 0.5), truth) == pytest.approx(
        10 * math.log10(4 / (0.04 * float((truth < 0.5).double().mean()))), abs=0.2
    )


def test_what_the_wedge_leaves_open_is_told():
    scan = Scan(Frame(64, 64, 2.0), Parallel(92, 2.0), tuple(0.02 * k for k in range(60)))
    wedge = unseen_wedge(scan)
    z = torch.fft.rfft2(randn(8, 64, 64), norm="ortho")
    draws = torch.fft.irfft2(torch.where(wedge, 3 * z, z), s=(64, 64), norm="ortho")[:, None]
    H = Projector(scan)
    problem = Problem.of(H(draws[:1])[0], H, 1e3)
    found = told(PosteriorSamples(draws, {}), problem, scan)
    assert found["std_unseen_over_seen"] == pytest.approx(3, abs=0.15)
    assert found["unseen_degrees"] == pytest.approx(180 - math.degrees(59 * 0.02))
    assert found["chi2_n_of_mean"] < 1e-3


FIELD = GaussianField(16)
CARD = Card("field", Path("field"), "0", channels=1, sigma_min=0.003)


def test_samples_have_the_law_of_the_posterior():
    """Against the closed form: mean and covariance under a Gaussian prior, unequal noise."""
    FIELD.channels, FIELD.classes = 1, 0
    scan = Scan(Frame(16, 16, 10.0), Parallel(23, 10.0), tuple(0.5 * k for k in range(6)))
    H = Projector(scan)
    x = FIELD.sample(1, lambda shape: randn(*shape, seed=5))
    noise = 0.05 + 0.1 * torch.rand(6, 23, dtype=torch.float64)
    y = (H(x)[0] + noise * randn(6, 23, seed=6)).clone()
    noise[2, 3:9] = math.inf
    y[2, 3:9] = 1e6
    measurement = Measurement(y, str(scan), noise, {}, scan.signal_shape, "ct")
    prior = Prior(CARD, FIELD, "0")
    samples = prepare(Recipe("drawn", samples=128, steps=20), measurement, prior).run()
    seen = noise.flatten().isfinite()
    matrix = (checks.dense(H) / noise.flatten()[:, None])[seen]
    mean, cov = FIELD.flat().posterior(matrix, (y / noise).flatten()[seen], 1.0)
    z = (samples.draws.flatten(1).double() - mean) @ torch.linalg.inv(torch.linalg.cholesky(cov)).T
    assert float(z.mean(0).square().mean() * 128) == pytest.approx(1, abs=0.25)
    assert float(z.var()) == pytest.approx(1, abs=0.04)
    assert samples.provenance["chi2_dof"] == pytest.approx(
        float((((y.flatten()[seen] / noise.flatten()[seen]) - matrix @ mean).square().sum()
               + torch.trace(matrix @ cov @ matrix.T)) / seen.sum()), abs=0.05
    )  # fmt: skip


def test_the_domain_s_small_print():
    assert DOMAINS["ct"] is CT
    scan = Scan(Frame(16, 16, 10.0), Parallel(23, 10.0), (0.0, 1.0))
    with pytest.raises(ShapeError, match="16 x 16 pixels"):
        CT.operator(str(scan), (1, 8, 8), {})
    problem = Problem.of(torch.zeros(scan.data_shape), Projector(scan), 0.01)
    measurement = Measurement(problem.y[0], str(scan), 0.01, {}, None, "ct")
    run = prepare(Recipe("drawn", samples=1), measurement, Prior(CARD, FIELD, "0"))
    assert run.recipe.steps == len(run.levels) - 1 == 40
    method = run.method
    assert run.posed.enough(METHODS["pigdm"]) == METHODS["pigdm"].enough
    levels = CT.levels(problem, method, 10, CARD)
    assert float(levels[-2]) == pytest.approx(0.003)
    assert CT.truth_shape(CARD, None) == (1, 128, 128)


def test_a_few_thousand_rays_are_solved_exactly():
    scan = Scan(Frame(16, 16, 10.0), Parallel(23, 10.0), (0.0, 0.7, 1.4))
    H, e = Projector(scan), randn(2, 3, 23)
    close(Gram(H).pull(e, 0.2, 1e-4), H.pull(e, 0.2, 1e-4, tolerance=1e-13), 1e-8)


def test_more_rays_than_memory_are_refused():
    scan = Scan(Frame(512, 512, 1.0), Parallel(900, 1.0), tuple(0.01 * k for k in range(360)))
    with pytest.raises(SettingError, match="at most 58593 rays through 512"):
        Projector(scan)


def test_pixels_that_a_ray_crosses_are_as_long_as_it_is():
    scan = Scan(FRAME, FAN, TURN)
    for angle in TURN:
        rays = scan.rays(angle)
        ray, _, length = crossed(rays, FRAME)
        total = torch.zeros(120, dtype=torch.float64).index_add_(0, ray, length)
        half = 128.0 - 4.0  # within, so that no ray is at the rim
        inner = Phantom((Ellipse(1.0, half, half, FRAME.x, FRAME.y),))
        assert (total >= inner.ellipses[0].chords(rays) - 1e-9).all()
        assert total.max() <= 256 * 2**0.5 + 1e-9
