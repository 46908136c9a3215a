"""FITS files as telescopes write them, lens.toml, the commands; and what is wrong with each."""

import json
import math
import re

import numpy as np
import pytest
import torch
from pages import is_made_again
from PIL import Image

from hdagger.domains.lensing.fits import Sky, read_planes, sky_of, write_cube
from hdagger.domains.lensing.galaxies import CANVAS, Galaxies, blurred, sersic_profiles
from hdagger.domains.lensing.learning import GalaxyPlan, GalaxyTraining
from hdagger.domains.lensing.lens_file import LensFile
from hdagger.domains.lensing.lenses import Lens
from hdagger.domains.lensing.reading import Files, read
from hdagger.domains.lensing.shooting import Frame
from hdagger.domains.lensing.simulation import COMMON, simulate
from hdagger.domains.lensing.view import View
from hdagger.errors import FileError, HDaggerError, SettingError
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samples import PosteriorSamples

fits = pytest.importorskip("astropy.io.fits")
WCS = pytest.importorskip("astropy.wcs").WCS

VIEW = View(COMMON.lens, Frame(64, 64, 0.03, 0.05, 0.1), Frame(60, 60, 0.08))
MADE = simulate(sersic_profiles(1, CANVAS, np.random.default_rng(3))[0, 0], VIEW, 0.16, 30.0, 1)
LENS = """
[[lens]]
model = "sie"
einstein_radius = 1.2
axis_ratio = 0.75
angle = 20
[[lens]]
model = "shear"
gamma1 = 0.03
gamma2 = -0.01
"""


@pytest.fixture
def folder(tmp_path):
    """The files of an image, all well."""
    frame = VIEW.image
    write_cube(tmp_path / "image.fits", MADE.image, frame)
    write_cube(tmp_path / "noise.fits", MADE.noise, frame)
    write_cube(tmp_path / "psf.fits", MADE.psf, frame.around(*MADE.psf.shape))
    (tmp_path / "lens.toml").write_text(LENS)
    return tmp_path


def files(folder, **said):
    names = {"image": "image.fits", "lens": "lens.toml", "noise": "noise.fits", "psf": "psf.fits"}
    named = {name: folder / path for name, path in (names | said.pop("names", {})).items() if path}
    return Files(**({"noise": None, "psf": None} | named | said))


def header(scale=0.08, turn=0.0, mirrored=False):
    """Of a WCS whose north is ``turn`` degrees anticlockwise from +y."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    side = 1 if mirrored else -1
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cd = np.array([[side * cos, side * sin], [-sin, cos]]) * scale / 3600
    return wcs.to_header()


def test_a_reading_holds_the_image_its_noise_and_a_frame_for_the_source(folder):
    found = read(files(folder))
    measurement = found.measurement
    assert measurement.domain == "lensing"
    torch.testing.assert_close(measurement.y[0], MADE.image, rtol=1e-6, atol=1e-7)
    assert measurement.signal_shape == (1, 64, 64)
    source = found.view.source
    assert math.hypot(source.x - 0.05, source.y - 0.1) < 0.15
    assert found.view.lens == VIEW.lens
    assert found.sky.scale == pytest.approx(0.08)
    assert "0.08 arcsec a pixel, north at 90.0" in found.notes[0]
    said = files(folder, names={"psf": None}, source_size=2.5, pixels=32)
    found = read(said)
    assert found.view.source.rows == 32
    assert found.view.source.scale == pytest.approx(2.5 / 32)
    assert "no point spread: taken for a point" in found.notes


def test_telescopes_files_are_read_whatever_their_form(folder):
    """Big-endian extensions, weights, flags and NaN."""
    image = MADE.image.float().numpy().copy()
    image[0, :5] = np.nan
    weight = 1 / MADE.noise.numpy() ** 2
    weight[1, :7] = 0
    dq = np.zeros(image.shape, np.int32)
    dq[2, :3] = 4
    layers = [
        fits.PrimaryHDU(),
        fits.ImageHDU(image.astype(">f4"), header(), name="SCI"),
        fits.ImageHDU(weight.astype(">f8"), name="WHT"),
        fits.ImageHDU(dq, name="DQ"),
        fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]),
    ]
    fits.HDUList(layers).writeto(folder / "many.fits")
    found = read(files(folder, names={"image": "many.fits", "noise": None}))
    noise = found.measurement.sigma_y[0]
    assert int((~noise.isfinite()).sum()) == 15
    assert "15 of 3600 pixels are masked" in found.notes
    seen = noise.isfinite()
    torch.testing.assert_close(noise[seen], MADE.noise[seen], rtol=1e-6, atol=0)
    assert found.measurement.y.isfinite().all()


@pytest.mark.parametrize(("name", "power"), [("ERR", 1), ("VAR", 2), ("IVAR", -2), ("WHT", -2)])
def test_noise_is_told_in_the_field_s_ways(folder, name, power):
    values = MADE.noise.numpy() ** power
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values, name=name)]).writeto(folder / "n.fits")
    found = read(files(folder, names={"noise": "n.fits"}))
    torch.testing.assert_close(found.measurement.sigma_y[0], MADE.noise)


def test_scaled_integers_and_axes_of_length_1_are_read(folder):
    counts = np.arange(40_000, 40_000 + 400, dtype=np.uint16).reshape(1, 20, 20)
    fits.PrimaryHDU(counts).writeto(folder / "u16.fits")
    planes = read_planes(folder / "u16.fits", "an image")
    assert planes.first.dtype == torch.float64
    assert planes.first[1, 0] == 40_020  # rows are y


@pytest.mark.parametrize("turn", [0.0, 30.0, -100.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_sky_may_be_turned_and_mirrored(folder, turn, mirrored):
    data = np.ones((20, 20), np.float32)
    fits.PrimaryHDU(data, header(turn=turn, mirrored=mirrored)).writeto(folder / "t.fits")
    planes = read_planes(folder / "t.fits", "an image")
    sky = sky_of(planes, None)
    assert sky.mirrored == mirrored
    north, east = (
        np.array(WCS(planes.header).wcs_world2pix([place], 0)[0])
        - WCS(planes.header).wcs_world2pix([[0, 0]], 0)[0]
        for place in ([0, 1e-4], [1e-4, 0])
    )
    for position_angle, direction in ((0, north), (90, east)):
        angle = math.radians(sky.angle(position_angle))
        unit = direction / np.hypot(*direction)
        assert np.dot(unit, [math.cos(angle), math.sin(angle)]) == pytest.approx(1, abs=1e-6)


def test_a_position_angle_is_from_north_through_east(folder):
    text = LENS.replace("angle = 20", "position_angle = -70")
    (folder / "lens.toml").write_text(text)
    assert LensFile.read(folder / "lens.toml", Sky(0.1, 90.0)).lens.parts[0].angle == 20
    assert LensFile.read(folder / "lens.toml", Sky(0.1, 90.0, True)).lens.parts[0].angle == 160
    with pytest.raises(SettingError, match="does not say where north is"):
        LensFile.read(folder / "lens.toml", Sky(0.1))


def test_a_lens_s_file_says_what_was_written(folder):
    said = LensFile(Lens.read("epl:1.2,0.75,20,2.1,0.01,-0.02 | shear:0.03,0"), 0.1, -0.2, 1.9)
    (folder / "l.toml").write_text(said.to_toml())
    assert LensFile.read(folder / "l.toml", Sky(0.1)) == said


def test_what_is_written_lies_where_it_did(folder):
    frame = Frame(12, 20, 0.03, 0.3, -0.6)
    write_cube(folder / "c.fits", torch.rand(3, 12, 20), frame)
    with fits.open(folder / "c.fits") as file:
        assert file[0].data.shape == (3, 12, 20)
        x, y = WCS(file[0].header, naxis=2).wcs_world2pix([[0, 0]], 0)[0]
    assert (y - 5.5) * 0.03 == pytest.approx(0.6)
    assert (x - 9.5) * 0.03 == pytest.approx(-0.3)


def plane(folder, name, values, head=None):
    fits.PrimaryHDU(np.asarray(values, np.float32), header() if head is None else head).writeto(
        folder / name
    )
    return name


BAD = {
    "no file": (lambda f: {"names": {"image": "none.fits"}}, "does not exist"),
    "a text": (lambda f: {"names": {"image": "lens.toml"}}, "Wanted an image as FITS"),
    "no scale": (
        lambda f: {"names": {"image": plane(f, "b.fits", MADE.image, fits.Header())}},
        "Give --pixel-scale",
    ),
    "two scales": (lambda f: {"pixel_scale": 0.2}, "WCS says 0.08"),
    "no noise": (lambda f: {"names": {"noise": None}}, r"--sigma 0\.\d+, which the blank sky"),
    "two noises": (lambda f: {"sigma": 0.1}, "got both"),
    "noise of another size": (
        lambda f: {"names": {"noise": plane(f, "b.fits", np.ones((5, 5)))}},
        "has 5 x 5",
    ),
    "no noise at all in pixels": (
        lambda f: {"names": {"noise": plane(f, "b.fits", 0 * MADE.noise)}},
        "3600 of 3600 pixels of ERR",
    ),
    "an even point spread": (
        lambda f: {"names": {"psf": plane(f, "b.fits", np.full((4, 4), 1 / 16))}},
        "odd sides",
    ),
    "a point spread of another sum": (
        lambda f: {"names": {"psf": plane(f, "b.fits", 2 * MADE.psf)}},
        "of sum 1, but that of",
    ),
    "a point spread off its middle": (
        lambda f: {"names": {"psf": plane(f, "b.fits", MADE.psf.roll(1, 1))}},
        r"lies \+1.00, \+0.00 pixels off",
    ),
    "a point spread of another scale": (
        lambda f: {"names": {"psf": plane(f, "b.fits", MADE.psf, header(0.04))}},
        "at the image's 0.08",
    ),
    "a frame too small": (lambda f: {"source_size": 0.2}, r"Give --source-size \d"),
    "all masked": (
        lambda f: {"names": {"image": plane(f, "b.fits", MADE.image * np.nan)}},
        "all of .* are masked",
    ),
    "tiny": (lambda f: {"names": {"image": plane(f, "b.fits", np.ones((4, 4)))}}, "has 4 x 4"),
    "a cube": (
        lambda f: {"names": {"image": plane(f, "b.fits", np.ones((3, 20, 20)), fits.Header())}},
        "no image of two axes",
    ),
    "the lens's light": (
        lambda f: {"names": {"image": plane(f, "b.fits", with_lens_light())}},
        "brightest at the lens",
    ),
    "nothing to see": (
        lambda f: {"names": {"image": plane(f, "b.fits", 0 * MADE.image)}},
        "nothing stands out",
    ),
}


def with_lens_light():
    x, y = VIEW.image.centres()
    return MADE.image + 5 * MADE.image.max() * torch.exp(-(x**2 + y**2) / 0.05)


def test_a_lens_whose_light_is_masked_is_not_seen_around_the_mask(folder):
    x, y = VIEW.image.centres()
    masked = torch.where(torch.hypot(x, y) < 0.1, torch.nan, 0.01 * MADE.image)
    image, noise = plane(folder, "i.fits", masked), plane(folder, "n.fits", 0.01 * MADE.noise)
    assert read(files(folder, names={"image": image, "noise": noise}))


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_told_in_one_line(folder, case):
    said, words = BAD[case]
    with pytest.raises(HDaggerError, match=words) as told:
        read(files(folder, **said(folder)))
    assert str(told.value).startswith("Wanted")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# nothing", r"table \[\[lens\]\]"),
        ("[lens]\nmodel = 'sie'", r"table \[\[lens\]\]"),
        ("[[lens]]\neinstein_radius = 1", "model = one of sie"),
        ("[[lens]]\nmodel = 'sie'", "einstein_radius of the lens model sie, but got none"),
        ("[[lens]]\nmodel = 'sie'\neinstein_radius = '1'", "einstein_radius"),
        ("[[lens]]\nmodel = 'sie'\neinstein_radius = 1\ncore = 1", "'core'. Remove it"),
        ("[[lens]]\nmodel = 'shear'\n[source]\nsize = 'big'", "size of the source"),
        ("[[lens]]\nmodel = 'shear'\n[source]\nside = 1", "has side"),
        ("[[lens]]\nmodel = 'sie'\neinstein_radius = 1\nangle = 1\nposition_angle = 1", "both"),
        ("not toml", "Wanted TOML of a lens"),
        ("[[lens]]\nmodel = 'shear'\nunknown = {x = 1}", "unknown = { NUMBER = .* x = 1"),
        ("[[lens]]\nmodel = 'shear'\nunknown = 1", "unknown = 1"),
    ],
)
def test_a_lens_s_file_that_says_something_else_is_refused(folder, text, words):
    (folder / "l.toml").write_text(text)
    with pytest.raises(HDaggerError, match=words):
        LensFile.read(folder / "l.toml", Sky(0.1, 90.0))


def tiny(path):
    """A prior that has learned nothing, in its file."""
    torch.manual_seed(0)
    shape = UNetShape(
        channels=1, widths=(8, 16), embedding=8, heads=2, sigma_data=0.1, stretch=True, spread=True
    )
    UNetDenoiser(shape).save(path)
    return path


def test_simulate_and_restore_by_command(run, tmp_path):
    prior = tiny(tmp_path / "tiny.safetensors")
    code, out, err = run("lens", "simulate", "--pixels", 40, "--pixel-scale", 0.1, "--fwhm", 0.2,
                         "-o", "sim")  # fmt: skip
    assert code == 0, err
    command = re.search(r"Next: hdagger (.*) -o out", out)[1].split()
    more = ["--prior", prior, "--samples", 2, "--steps", 3, "--json", "-o", "out"]
    code, out, err = run(*command, *more)
    assert code == 0, err
    assert "0.1 arcsec a pixel" in err
    summary = json.loads(out)
    assert summary["truth"].keys() == {"nrmse", "coverage", "coverage_sky", "spread"}
    assert summary["method"] == "pigdm"
    folder = tmp_path / "out"
    wanted = "figure.png report.html mean.fits std.fits samples.fits model.fits residual.fits"
    for name in [*wanted.split(), "samples.npz", "summary.json", "recipe.toml", "measurement.npz"]:
        assert (folder / name).stat().st_size > 0
    draws = PosteriorSamples.load(folder / "samples.npz").draws
    with fits.open(folder / "samples.fits") as file:
        np.testing.assert_allclose(file[0].data, draws[:, 0].numpy(), rtol=1e-6)
    page = (folder / "report.html").read_text()
    assert "chi2/N" in page
    assert "sie:1.2" in page
    assert is_made_again(folder)


def test_a_lens_that_is_known_roughly_is_drawn_along(run, tmp_path):
    prior = tiny(tmp_path / "tiny.safetensors")
    assert run("lens", "simulate", "--pixels", 30, "--pixel-scale", 0.13, "--fwhm", 0.26)[0] == 0
    lens = tmp_path / "simulated/lens.toml"
    unknown = "unknown = { einstein_radius = 0.02, angle = 5 }"
    lens.write_text(lens.read_text().replace("angle = 20", f"{unknown}\nangle = 20"))
    files = [f"--{name}=simulated/{name}.fits" for name in ("noise", "psf")]
    more = ["--lens", lens, "--prior", prior, "--pixels", 16, "--method", "drawn", "--samples", 2]
    code, out, err = run("lens", "restore", "simulated/image.fits", *files, *more, "--steps", 2)
    assert code == 0, err
    summary = json.loads((tmp_path / "unlensed/summary.json").read_text())
    assert summary["lens"].keys() == {"sie.einstein_radius", "sie.angle"}
    mean, std = summary["lens"]["sie.einstein_radius"]
    assert mean == pytest.approx(1.2, abs=0.04)
    told = f"The lens, drawn with the source: sie.einstein_radius {mean:.4g} +- {std:.2g}"
    assert told in out
    known = PosteriorSamples.load(tmp_path / "unlensed/samples.npz").known["numbers"]
    assert known.shape == (2, 2)
    assert summary["lens"]["sie.angle"][0] == pytest.approx(known[:, 1].mean().item())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["restore", "i.fits", "--lens", "l.toml", "--pixels", 4], "8 to 512 pixels"),
        (["restore", "i.fits", "--lens", "l.toml", "--pixel-scale", 0], "pixels of 0.0001"),
        (["restore", "i.fits", "--lens", "l.toml", "--source-size", -1], "a source of 0.001"),
        (["restore", "i.fits", "--lens", "l.toml", "--steps", 0], "1 step or more"),
        (["restore", "i.fits", "--lens", "l.toml"], "i.fits does not exist"),
        (["simulate", "--peak", 0], "1 to 100000 deviations"),
        (["simulate", "--fwhm", 0.01], "point spread of 0.075"),
        (["simulate", "--pixels", 1], "16 to 1024"),
        (["simulate", "none.png"], "none.png does not exist"),
        (["train", "none.toml"], "none.toml does not exist"),
    ],
)
def test_bad_commands_are_one_line_and_code_2(run, arguments, words):
    code, _, err = run("lens", *arguments)
    assert code == 2
    assert words in " ".join(err.split())


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "galaxies"
    folder.mkdir()
    profiles = sersic_profiles(3, CANVAS, np.random.default_rng(0))
    for k, profile in enumerate(profiles[:, 0]):
        pixels = (profile * 65535).round().numpy().astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def test_galaxies_are_reproducible_on_a_dark_sky(pictures, monkeypatch):
    galaxies = Galaxies(pictures, 32)
    x = galaxies.draw(64, seed=1)
    assert x.shape == (64, 1, 32, 32)
    assert x.min() >= 0
    assert torch.equal(x, galaxies.draw(64, seed=1))
    assert not torch.equal(x, galaxies.draw(64, seed=2))
    peaks = x.amax((1, 2, 3))
    assert 0.19 < peaks.min() < 0.35
    assert 0.9 < peaks.max() < 2.5
    assert (x < 1e-3).double().mean() > 0.4
    sharp = galaxies.draw(64, seed=1, sharp=True)
    monkeypatch.setattr("hdagger.domains.lensing.galaxies.BLUR", 5.0)
    assert torch.equal(sharp, galaxies.draw(64, seed=1, sharp=True))
    assert not torch.equal(x, galaxies.draw(64, seed=1))
    with pytest.raises(FileError, match="gather_galaxies"):
        Galaxies(pictures / "none", 32)
    (pictures / "broken.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match=r"broken.png is not one"):
        Galaxies(pictures, 32)


def test_a_blur_keeps_the_light_and_spreads_it():
    x = torch.zeros(3, 1, 32, 32)
    x[:, 0, 16, 16] = 1
    sharp, soft, softer = blurred(x, torch.tensor([0.0, 2.0, 3.0]))[:, 0]
    torch.testing.assert_close(sharp, x[0, 0], rtol=0, atol=1e-6)
    assert soft.sum() == pytest.approx(1, abs=0.01)
    r2 = (torch.arange(32) - 16.0).square()
    assert (soft.sum(0) * r2).sum() == pytest.approx(4, abs=0.01)
    assert (softer.sum(0) * r2).sum() == pytest.approx(9, abs=0.02)


def test_a_sersic_profile_has_the_flattening_and_the_fall_that_it_should():
    x = sersic_profiles(50, 64, np.random.default_rng(1))
    assert x.amax((1, 2, 3)).allclose(torch.ones(50))
    assert x[..., 0, 0].max() == 0
    place = torch.arange(64) - 31.5
    assert ((x.sum(2)[:, 0] * place).sum(1) / x.sum((1, 2, 3))).abs().max() < 1e-3


def test_a_galaxy_prior_is_trained_from_a_plan(pictures, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'galaxies = "galaxies"\nside = 16\nhours = 0.0003\nbatch = 4\n[unet]\nchannels = 1\n'
        "widths = [8, 16]\nembedding = 8\nheads = 2\nsigma_data = 0.1\nspread = true\n"
        "stretch = true\n"
    )
    training = GalaxyTraining(GalaxyPlan.read(plan), tmp_path / "run")
    training.run(lambda now: None)
    assert training.step > 0
    prior = UNetDenoiser.load(tmp_path / "run/prior.safetensors")
    assert prior.shape.stretch
    D, variance = prior.moments(torch.rand(2, 1, 16, 16), torch.tensor(0.1))
    assert D.shape == variance.shape == (2, 1, 16, 16)
    assert (tmp_path / "run/samples.png").exists()
    again = GalaxyTraining(GalaxyPlan.read(plan), tmp_path / "run")
    assert again.step == training.step
    plan.write_text("side = 16\n")
    with pytest.raises(SettingError, match=r"Start from training/galaxies.toml"):
        GalaxyPlan.read(plan)


def test_what_is_faint_is_shown_as_clearly_as_what_is_bright():
    """The stretch is inside of the network: the signal stays linear flux."""
    shape = UNetShape(channels=1, widths=(8,), embedding=8, heads=2, sigma_data=0.1, stretch=True)
    prior = UNetDenoiser(shape)
    x = torch.tensor([1e-3, 1e-2, 1.0, 10.0]).view(1, 1, 2, 2)
    shown, _ = prior.shown(x, torch.full((1, 1, 1, 1), 0.01))
    torch.testing.assert_close(shown[:, 1:], (x / 0.01).asinh())
    torch.testing.assert_close(shown[:, :1], x / (0.01**2 + 0.1**2) ** 0.5)
