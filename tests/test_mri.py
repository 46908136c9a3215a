"""Encodings against plain sums and dense decompositions, coils, simulated scans and samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hdagger.domain import DOMAINS
from hdagger.domains.mri.coils import birdcage, covariance, of_unit_length, whitener
from hdagger.domains.mri.domain import SCANS, bright
from hdagger.domains.mri.encoding import Encoding, Fourier, reduced
from hdagger.domains.mri.espirit import espirit
from hdagger.domains.mri.judgement import Fit, against
from hdagger.domains.mri.kspace import image_of, signal_of, to_image, to_kspace
from hdagger.domains.mri.raw import without_oversampling
from hdagger.domains.mri.scan import Scan
from hdagger.domains.mri.simulation import Slices, simulate
from hdagger.domains.mri.trajectory import NonCartesian
from hdagger.errors import SettingError, ShapeError
from hdagger.linalg import conjugate_gradients, real
from hdagger.measurement import Measurement
from hdagger.operators import checks
from hdagger.priors.cards import Card
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare
from hdagger.rings import Rings
from hdagger.samples import PosteriorSamples


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def randc(*shape, seed=1):
    return torch.complex(randn(*shape, seed=seed), randn(*shape, seed=seed + 100))


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=tolerance)


def some_lines(count, columns, seed=0):
    mask = torch.zeros(columns, dtype=torch.bool)
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(seed))
    mask[order[:count]] = True
    mask[columns // 2] = True
    return mask


def plain_kspace(image, frequencies):
    """F as a sum, the origin at the pixel size // 2; frequencies in cycles per pixel."""
    rows, columns = image.shape
    y, x = torch.arange(rows) - rows // 2, torch.arange(columns) - columns // 2
    angle = frequencies[:, :1, None] * y[:, None] + frequencies[:, 1:, None] * x
    wave = torch.polar(torch.ones_like(angle), -2 * torch.pi * angle)
    return (wave * image).sum((1, 2)) / (rows * columns) ** 0.5


@pytest.mark.parametrize("shape", [(8, 6), (7, 5)])
def test_f_is_the_centred_orthonormal_sum(shape):
    image = randc(*shape)
    v, u = ((torch.arange(n) - n // 2).double() / n for n in shape)
    frequencies = torch.stack(torch.meshgrid(v, u, indexing="ij"), -1).reshape(-1, 2).double()
    close(to_kspace(image).flatten(), plain_kspace(image, frequencies))
    close(to_image(to_kspace(image)), image)
    close(to_kspace(image).norm(), image.norm(), 1e-10)


def test_signals_are_real_and_imaginary_parts():
    image = randc(2, 4, 5)
    close(signal_of(image)[:, 1], image.imag)
    close(image_of(signal_of(image)), image)


def test_coils_are_measured_one_by_one_where_the_mask_is():
    maps, mask, x = randc(3, 6, 7), randn(6, 7, seed=4) > 0, randn(1, 2, 6, 7)
    y = Encoding(maps, mask)(x)
    for coil in range(3):
        close(y[0, coil], torch.where(mask, to_kspace(maps[coil] * image_of(x)[0]), 0))
    one = Fourier(mask)(x)
    close(one[0, 0], torch.where(mask, to_kspace(image_of(x)[0]), 0))


@pytest.mark.parametrize(("coils", "lines"), [(8, 5), (3, 4)])
def test_the_decomposition_of_lines_is_the_dense_one(coils, lines):
    maps = of_unit_length(randc(coils, 16, 16))
    mask, y = some_lines(lines, 16), randc(1, coils, 16, 16, seed=3)
    H = Encoding(maps, mask.expand(16, 16))
    L, data = reduced(y[0], maps, mask)
    matrix = checks.dense(H)
    s = torch.linalg.svdvals(matrix)
    found = L.singular_values.sort(descending=True).values
    close(found, s[: len(found)])
    assert len(found) == min(2 * coils * int(mask.sum()) * 16, 512)
    expected = (torch.linalg.pinv(matrix) @ real(H.seen(y))[0]).view(1, 2, 16, 16)
    close(L.pinv(data[None]), expected, 1e-10)
    x, z = randn(2, 2, 16, 16), randn(2, *L.data_shape)
    assert checks.orthonormal_gap(L, x, z) < 1e-12
    assert checks.adjoint_gap(L, x, z) < 1e-10
    assert checks.pinv_gap(L, x) < 1e-10
    close(L.adjoint(L(x)), H.adjoint(H(x)))
    close(L.adjoint(data[None]), H.adjoint(y))
    close(L.pull(data[None], 0.3, 0.01), H.pull(y, 0.3, 0.01, tolerance=1e-13), 1e-9)


def test_reduced_noise_stays_white():
    maps, mask = birdcage(8, 16, 16), some_lines(5, 16)
    noise = torch.stack([reduced(randc(8, 16, 16, seed=k), maps, mask)[1] for k in range(40)])
    assert float(noise.square().mean()) == pytest.approx(1, abs=0.02)
    assert torch.corrcoef(noise.T).fill_diagonal_(0).square().mean() < 1.2 / 39


@pytest.mark.parametrize("columns", [15, 16])
def test_the_preconditioner_of_lines_is_the_diagonal_of_their_system(columns):
    """Exact where C is alike along a circle of rows; a test of fewer iterations elsewhere."""
    maps, mask = birdcage(6, 12, columns), some_lines(6, columns)
    L, _ = reduced(randc(6, 12, columns), maps, mask)
    along = torch.fft.irfft(torch.rand(columns // 2 + 1) + 0.1, n=columns).double()
    places = torch.arange(columns)
    circulant = along[(places[:, None] - places) % columns]
    C = lambda v: v @ circulant
    near = L.data_preconditioner(C, 0.3, 2)
    diagonal = torch.stack(
        [
            (L(C(L.adjoint(unit[None])))[0] + 0.3 * unit) @ unit
            for unit in torch.eye(L.rank).double()
        ]
    )
    close(near(torch.ones(2, L.rank).double()), (1 / diagonal).expand(2, -1), 1e-10)


def test_a_preconditioned_system_takes_fewer_iterations():
    maps, mask = birdcage(8, 32, 32), some_lines(8, 32)
    L, data = reduced(randc(8, 32, 32), maps, mask)
    bands = Rings((2, 32, 32))
    C = lambda v: bands.inverse(0.9**bands.band * bands.forward(v))
    calls, answers = [], []
    for near in (None, L.data_preconditioner(C, 1e-4, 1)):
        count = []
        S = lambda v, count=count: (count.append(0), L(C(L.adjoint(v))) + 1e-4 * v)[1]
        answers.append(conjugate_gradients(S, data[None], 3000, 1e-8, near=near))
        calls.append(len(count))
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-3, atol=1e-3)
    assert calls[1] < 0.6 * calls[0]


@pytest.mark.parametrize("coils", [1, 3])
def test_amplification_is_the_deviation_under_a_white_prior(coils):
    maps, mask = birdcage(coils, 6, 8), some_lines(3, 8)
    L, _ = reduced(randc(coils, 6, 8), maps, mask)
    matrix = checks.dense(Encoding(maps, mask.expand(6, 8)))
    inverse = torch.linalg.inv(matrix.T @ matrix + 0.01 * torch.eye(96).double())
    close(L.amplification(0.1), inverse.diagonal().view(2, 6, 8)[0].sqrt(), 1e-9)


def test_non_cartesian_k_space_is_the_plain_sum_in_the_same_unit():
    pytest.importorskip("torchkbnufft")
    maps, x = randc(2, 16, 12), randn(1, 2, 16, 12)
    trajectory = torch.rand(40, 2, generator=torch.Generator().manual_seed(2)).double() - 0.5
    H = NonCartesian(maps, trajectory)
    exact = torch.stack([plain_kspace(S * image_of(x)[0], trajectory) for S in maps])
    assert (H(x)[0] - exact).norm() < 2e-3 * exact.norm()
    assert checks.adjoint_gap(H, x, randc(1, 2, 40)) < 1e-12
    assert checks.adjoint_gap(H.float(), x.float(), randc(1, 2, 40).to(torch.complex64)) < 1e-6
    with pytest.raises(ShapeError, match="cycles per pixel"):
        NonCartesian(maps, 6 * trajectory)


def test_maps_have_unit_length_and_whitening_makes_noise_alike():
    maps = birdcage(8, 20, 30)
    close(maps.abs().square().sum(0), torch.ones(20, 30).double())
    assert maps[0, 10, 29].abs() > 3 * maps[0, 10, 0].abs()
    half = maps * (torch.arange(30) < 15)
    length = of_unit_length(half).abs().square().sum(0)
    close(length, (torch.arange(30) < 15).expand(20, 30).double())
    mixing = randc(4, 4)
    W, s = whitener(covariance(mixing @ randc(4, 5000, seed=3)))
    white = covariance(W @ mixing @ randc(4, 5000, seed=3)) / s**2
    close(white, torch.eye(4).to(torch.complex128), 1e-9)
    with pytest.raises(SettingError, match="dead coils"):
        whitener(torch.zeros(2, 2).to(torch.complex128))


def disc(side):
    place = torch.linspace(-1, 1, side).double()
    r = torch.hypot(place[:, None], 1.2 * place)
    return torch.where(r < 0.8, 1 + 0.3 * torch.cos(9 * r), 0.0)


def test_espirit_finds_the_maps_from_the_middle_of_k_space():
    maps, image = birdcage(6, 64, 64), torch.polar(disc(64), 1.5 * disc(64))
    kspace = to_kspace(maps * image) + 0.003 * randc(6, 64, 64)
    mask = torch.zeros(64, dtype=torch.bool)
    mask[20:44] = True
    found = espirit(torch.where(mask, kspace, 0), mask)
    inside = disc(64) > 0
    alike = (found.conj() * maps).sum(0).abs()[inside]
    assert alike.min() > 0.97
    assert alike.mean() > 0.9995
    close(found.abs().square().sum(0), torch.ones(64, 64).double(), 1e-9)
    assert found[0].imag.abs().max() < 1e-9
    with pytest.raises(SettingError, match="got 20"):
        espirit(kspace, mask.roll(-2) & mask.roll(2))


def test_espirit_agrees_with_sigpy(recwarn):
    app = pytest.importorskip("sigpy.mri.app")
    kspace = to_kspace(birdcage(4, 48, 48) * disc(48)) + 0.003 * randc(4, 48, 48)
    found = espirit(kspace, torch.ones(48, dtype=torch.bool))
    calibration = app.EspiritCalib(
        kspace.numpy(), calib_width=24, thresh=0.02, kernel_width=6, crop=0, show_pbar=False
    )
    theirs = torch.from_numpy(calibration.run()).to(torch.complex128)
    alike = (found.conj() * theirs).sum(0).abs()[disc(48) > 0]
    assert alike.mean() > 0.9999


def test_a_scan_is_its_text():
    text = "image:16,12 | coils:3 | points"
    assert str(Scan.read(text)) == text
    for bad in ("image:16 | coils:3 | points", "image:1,99999 | coils:3 | points", "mask"):
        with pytest.raises(SettingError, match="Wanted image:ROWS"):
            Scan.read(bad)
    for bad in ("image:16,12 | coils:0 | lines", "image:16,12 | coils:3 | spirals"):
        with pytest.raises(SettingError, match="Wanted image:ROWS"):
            Scan.read(bad)


def test_a_scan_makes_its_operator_of_its_arrays():
    arrays = {"maps": randc(3, 16, 12), "mask": some_lines(4, 12)}
    H = DOMAINS["mri"].operator("image:16,12 | coils:3 | lines", (2, 16, 12), arrays)
    assert H.rank == 2 * 3 * 16 * int(arrays["mask"].sum())
    one = Scan.read("image:16,12 | coils:1 | lines").operator({"mask": arrays["mask"]})
    assert isinstance(one, Fourier)
    with pytest.raises(SettingError, match="Wanted maps"):
        Scan.read("image:16,12 | coils:3 | lines").operator({"mask": arrays["mask"]})
    with pytest.raises(ShapeError, match="one truth value for each column"):
        Scan.read("image:12,16 | coils:3 | lines").mask(arrays)
    with pytest.raises(ShapeError, match=r"coil maps of shape \(4, 16, 12\)"):
        Scan.read("image:16,12 | coils:4 | lines").operator(arrays)
    with pytest.raises(ShapeError, match="16 x 12"):
        SCANS.operator("image:16,12 | coils:3 | lines", (2, 8, 8), arrays)


SIMULATED = simulate(Slices(disc(96)[None], (0.5, 0.5), None), 3, 6, 0.02, 48, seed=1)


def measured(scale=1.0, sampling="lines"):
    kspace = without_oversampling(SIMULATED.kspace[0], 48)
    mask = SIMULATED.mask if sampling == "lines" else SIMULATED.mask.expand(48, 48)
    arrays = {"maps": SIMULATED.maps, "mask": mask}
    text = f"image:48,48 | coils:6 | {sampling}"
    y = torch.where(mask, scale * kspace, 0)
    return Measurement(y, text, scale * 0.02, arrays, (2, 48, 48), "mri")


def test_what_is_simulated_is_not_its_own_inverse_but_fits():
    truth = signal_of(SIMULATED.truth)
    exact = simulate(Slices(disc(96)[None], (0.5, 0.5), None), 3, 6, 1e-9, 48, seed=1)
    H = Encoding(SIMULATED.maps, SIMULATED.mask.expand(48, 48))
    clean = without_oversampling(exact.kspace[0], 48)
    gap = (torch.where(SIMULATED.mask, clean, 0) - H(truth)[0]).abs()
    assert 1e-6 < gap.max() < 0.05
    fit = Fit.of(truth.float(), H, measured().y, 0.02)
    assert fit.of_mean == pytest.approx(1, abs=3 * (2 / H.rank) ** 0.5)
    assert bright(truth) == pytest.approx(1, abs=0.1)
    assert int(SIMULATED.mask.sum()) == 16
    assert SIMULATED.mask[22:27].all()


class White:
    """The denoiser of white signals of one variance."""

    channels, classes, size = 2, 0, 0

    def __init__(self, variance):
        self.variance = variance

    def __call__(self, x, sigma, label=None):
        return self.variance / (self.variance + sigma**2) * x


def white(variance):
    card = Card("white", Path("white"), "0", channels=2, sigma_min=0.005, data_variance=variance)
    return Prior(card, White(variance), "0")


WHITE = white(0.06)


@pytest.mark.parametrize("sampling", ["lines", "points"])
def test_samples_have_the_units_of_the_image_and_fit_k_space(sampling):
    draws = {}
    for scale in (1.0, 1000.0):
        measurement = measured(scale, sampling)
        samples = prepare(Recipe("drawn", steps=15, samples=2), measurement, WHITE).run()
        draws[scale] = samples.draws
        assert samples.provenance["unit"] == pytest.approx(scale, rel=0.5)
        H = SCANS.operator(measurement.operator, (2, 48, 48), measurement.arrays)
        fit = Fit.of(samples.draws, H, measurement.y, measurement.noise)
        assert 0.7 < fit.of_mean < fit.of_samples[0] < 1.1
    torch.testing.assert_close(draws[1000.0], 1000 * draws[1.0], rtol=1e-2, atol=20.0)


@pytest.mark.parametrize("sampling", ["lines", "points"])
def test_samples_have_the_law_of_the_posterior(sampling):
    """Of a white prior that the image is a draw of, in closed form."""
    maps, lines, v = birdcage(4, 24, 24), some_lines(7, 24), 0.3
    H = Encoding(maps, lines.expand(24, 24))
    y = H.seen(H(v**0.5 * randn(1, 2, 24, 24)) + 0.05 * randc(1, 4, 24, 24, seed=5))[0]
    mask = lines if sampling == "lines" else lines.expand(24, 24)
    text = f"image:24,24 | coils:4 | {sampling}"
    measurement = Measurement(y, text, 0.05, {"maps": maps, "mask": mask}, (2, 24, 24), "mri")
    _, told = SCANS.posed(measurement, WHITE.card, WHITE.network).finish(torch.zeros(1, 2, 24, 24))
    prior = white(v / told["unit"] ** 2)
    drawn = prepare(Recipe("drawn", samples=40, steps=8), measurement, prior).run()
    L, data = reduced(y, maps, lines)
    expected = v * L.pull(data[None], v, 0.05**2)[0]
    deviation = (0.05 * L.amplification(0.05 / v**0.5)).expand(2, 24, 24)
    error = lambda mean: (mean.double() - expected) / (deviation / 40**0.5)
    of_draws = float(error(drawn.draws.mean(0)).square().mean())
    assert 0.85 < of_draws < 1.25
    assert float(error(drawn.mean).square().mean()) < of_draws
    assert float((drawn.std / deviation).square().mean()) == pytest.approx(1, abs=0.06)


def test_the_walk_ends_at_the_noise_and_a_prior_of_pictures_is_refused():
    posed = SCANS.posed(measured(), WHITE.card, WHITE.network)
    levels = SCANS.levels(posed.problem, Recipe("drawn").sampler(), 10, WHITE.card)
    assert float(levels[0]) == pytest.approx(4)
    seen = posed.problem.sigma_y / posed.problem.H.norm
    assert float(levels[-2]) == pytest.approx(min(0.03, 2 * seen))
    clear = replace(posed.problem, sigma_y=posed.problem.sigma_y / 4)
    levels = SCANS.levels(clear, Recipe("drawn").sampler(), 10, WHITE.card)
    assert float(levels[-2]) == pytest.approx(2 * seen / 4)
    levels = SCANS.levels(posed.problem, Recipe("ddrm").sampler(), 10, WHITE.card)
    assert float(levels[-2]) == pytest.approx(max(min(0.01, seen / 4), WHITE.card.sigma_min))
    with pytest.raises(ShapeError, match="two channels"):
        SCANS.posed(measured(), Card("photo", Path("photo")), WHITE.network)
    dark = Measurement(0 * measured().y, *list(vars(measured()).values())[1:])
    with pytest.raises(SettingError, match="what it shows is 0"):
        SCANS.posed(dark, WHITE.card, WHITE.network)


@pytest.mark.parametrize("sampling", ["lines", "points"])
def test_a_check_makes_what_is_not_given(sampling):
    text = f"image:24,32 | coils:4 | {sampling}"
    arrays = SCANS.arrays(text, (2, 24, 32), {}, seed=3)
    share = float(arrays["mask"].double().mean())
    assert share == pytest.approx(0.25, abs=0.1)
    x = randn(2, 24, 32)
    measurement = SCANS.measure(x, text, arrays, 0.05, seed=1)
    H = SCANS.operator(text, (2, 24, 32), arrays)
    chi2 = Fit.of(x[None].float(), H, measurement.y, 0.05).of_mean
    assert chi2 == pytest.approx(1, abs=4 * (2 / H.rank) ** 0.5)
    assert SCANS.arrays(text, (2, 24, 32), {"mask": arrays["mask"]}, 4).keys() == arrays.keys()
    error = torch.zeros(2, 24, 32).double()
    error[0, 3, 4] = 0.1 * 24
    assert SCANS.psnr(x.abs() + error, x.abs()) < SCANS.psnr(x.abs(), x.abs() + 1e-9)


def test_scores_against_a_known_image():
    truth = torch.polar(disc(32), disc(32))
    noise = torch.stack([randn(2, 32, 32, seed=k) for k in range(39)])
    draws = signal_of(truth[None]) + 0.1 * (noise + randn(1, 2, 32, 32, seed=99))
    inside = disc(32) > 0
    found = against(PosteriorSamples(draws, {}), truth, inside, disc(32))
    assert found["coverage"]["real"] == pytest.approx(0.9, abs=0.04)
    assert found["coverage"]["imaginary"] == pytest.approx(0.9, abs=0.04)
    assert len(found["coverage_by_amplification"]) == 4
    assert np.mean(found["coverage_by_amplification"]) == pytest.approx(
        found["coverage"]["magnitude"], abs=0.01
    )
    exact = against(
        PosteriorSamples(signal_of(truth[None]).repeat(2, 1, 1, 1) * 0.9, {}), truth, inside
    )
    assert exact["complex_nmse"] == pytest.approx(0.01)
    assert exact["nmse"] == pytest.approx(0.01)
    assert exact["psnr"] == pytest.approx(
        float(20 * torch.log10(truth.abs().max() / (0.1 * truth.abs()).square().mean().sqrt()))
    )
    only = against(PosteriorSamples(draws, {}), truth.abs() + 0j, inside)
    assert set(only["coverage"]) == {"magnitude"}


def test_ssim_is_skimages():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = randn(1, 2, 24, 24).abs(), randn(1, 2, 24, 24, seed=2).abs()
    x, truth = image_of(a)[0], image_of(b)[0]
    found = against(PosteriorSamples(a, {}), truth, truth.abs() > 0)["ssim"]
    size = truth.abs().numpy()
    expected = metrics.structural_similarity(x.abs().numpy(), size, data_range=size.max())
    assert found == pytest.approx(expected, abs=5e-3)
