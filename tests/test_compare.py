"""Restorations side by side: the right numbers of the right run, and the same for every domain."""

import csv
import html
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pages import images_in
from PIL import Image

from hdagger.comparison import Comparison
from hdagger.domain import DOMAINS, Before, write_pictures
from hdagger.domains.ct.domain import CT
from hdagger.domains.motion.files import write_motion
from hdagger.domains.motion.windows import SHAPE, to_motions, to_signal
from hdagger.domains.pictures.writing import to_image
from hdagger.errors import FileError, SettingError
from hdagger.report import heat_map, nearly_largest
from hdagger.samples import PosteriorSamples
from hdagger.scores import fair_crps

TRUTH = to_image(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1)
"""As a file has it: in steps of 255."""

X = torch.from_numpy(np.asarray(TRUTH, np.float32).transpose(2, 0, 1) / 127.5 - 1)


def told(method="drawn", **changes):
    return {
        "domain": "pictures", "measurement_sha256": "a" * 64, "method": method, "prior": "photo",
        "steps": 20, "nfe": 21, "seconds": 1.5, "chi2_dof": 1.02, "operator": "average:2",
        "sigma_y": 0.1, **changes,
    }  # fmt: skip


def kept(folder, draws, **changes):
    folder.mkdir(parents=True)
    PosteriorSamples(draws, told(**changes)).save(folder / "samples.npz")
    return folder


def noisy(deviation, count=6, seed=1, x=X):
    generator = torch.Generator().manual_seed(seed)
    return x + deviation * torch.randn(count, *x.shape, generator=generator)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A good restoration and a bad one, beside the truth."""
    monkeypatch.chdir(tmp_path)
    TRUTH.save("truth.png")
    kept(Path("good"), noisy(0.05), nfe=20, seconds=2.0)
    kept(Path("bad"), noisy(0.2, 5) + 0.6, method="ddrm", nfe=50, seconds=8.0, chi2_dof=4.0)
    return tmp_path


def decibels(x):
    return -10 * math.log10(float(((x.clamp(-1, 1) - X) / 2).square().mean()))


def test_each_row_has_the_numbers_of_its_own_run(runs, run):
    code, out, _ = run("compare", "good", "bad", "--truth", "truth.png", "-o", "out", "--json")
    assert code == 0
    good, bad = map(json.loads, out.splitlines())
    for row, name, method, nfe, seconds, chi2 in (
        (good, "good", "drawn", 20, 2.0, 1.02),
        (bad, "bad", "ddrm", 50, 8.0, 4.0),
    ):
        draws = PosteriorSamples.load(Path(name, "samples.npz")).draws
        assert [row[key] for key in ("run", "method", "nfe", "seconds", "chi2_dof")] == [
            name, method, nfe, seconds, chi2,
        ]  # fmt: skip
        assert row["psnr_of_the_mean"] == pytest.approx(decibels(draws.mean(0)), abs=1e-3)
        one = np.mean([decibels(draw) for draw in draws])
        assert row["psnr_of_one"] == pytest.approx(one, abs=1e-3)
        assert row["crps"] == pytest.approx(float(fair_crps(draws, X).mean()), rel=1e-4)
        assert row["samples"] == len(draws)
    assert good["coverage_90"] > 0.8 > 0.6 > bad["coverage_90"]
    assert good["energy_score"] < bad["energy_score"]
    with Path("out/comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["good", "bad"]
    assert float(rows[1]["crps"]) == bad["crps"]


def test_the_page_shows_each_run_under_its_own_name(runs, run):
    assert run("compare", "good", "bad", "--truth", "truth.png", "-o", "out")[0] == 0
    page = Path("out/report.html").read_text()
    shown = images_in(page)
    assert "<script" not in page
    assert "http" not in page
    np.testing.assert_array_equal(shown["truth"][0], np.asarray(TRUTH))
    for name, title in (("good", "good: drawn, photo"), ("bad", "bad: ddrm, photo")):
        samples = PosteriorSamples.load(Path(name, "samples.npz"))
        mean, one = shown[title]
        np.testing.assert_array_equal(mean, np.asarray(to_image(samples.mean)))
        np.testing.assert_array_equal(one, np.asarray(to_image(samples.draws[0])))
    first = PosteriorSamples.load(Path("bad/samples.npz")).draws
    np.testing.assert_array_equal(shown["sample 2"][1], np.asarray(to_image(first[1])))
    bright = {name: shown[name][0].astype(float).mean() for name in ("good", "bad")}
    assert bright["good"] < bright["bad"] / 1.5, "deviations have one scale"
    with Image.open("out/comparison.png") as sheet:
        assert sheet.width > 3 * 256
        assert sheet.height > 3 * 256


def test_without_a_truth_there_are_no_scores(runs, run):
    code, out, _ = run("compare", "good", "bad", "-o", "out", "--json")
    assert code == 0
    assert all(json.loads(line)["crps"] is None for line in out.splitlines())
    assert "give --truth" in Path("out/report.html").read_text()


def test_a_single_sample_has_no_deviation_and_no_intervals(runs, run):
    kept(Path("one"), noisy(0.05, 1))
    code, out, _ = run("compare", "one", "bad", "--truth", "truth.png", "-o", "out", "--json")
    assert code == 0
    row = json.loads(out.splitlines()[0])
    assert row["psnr_of_one"] == row["psnr_of_the_mean"] > 20
    assert row["crps"] is row["coverage_90"] is None
    assert "Samples of one" not in Path("out/report.html").read_text()


def test_names_of_folders_are_no_markup(runs, run):
    evil = "<img src=x onerror=alert(1)>"
    kept(Path(evil), noisy(0.1))
    assert run("compare", evil, "bad", "-o", "out")[0] == 0
    page = Path("out/report.html").read_text()
    assert evil not in page
    assert html.escape(evil) in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["good"], "two restorations or more, but got 1"),
        (["good", "good"], "two restorations or more, but got 1"),
        (["good", "nothing"], "nothing is none. Check it."),
        (["good", "empty"], "empty has no samples.npz"),
        (["good", "other"], "other is not of that of good"),
        (["good", "sound"], "sound is not of that of good"),
        (["good", "larger"], "larger has (3, 18, 16)"),
        (["good", "old"], "old lacks chi2_dof, measurement_sha256"),
        (["good", "bad", "--truth", "small.png"], "of shape (3, 16, 16), but small.png has"),
        (["good", "bad", "--truth", "none.png"], "none.png does not exist"),
        (["good", "odd"], "odd lacks sigma_y"),
        (["good", "broken"], "broken/samples.npz is not one that can be read"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(runs, run, arguments, says):
    Path("empty").mkdir()
    kept(Path("other"), noisy(0.1), measurement_sha256="b" * 64)
    kept(Path("sound"), noisy(0.1), domain="ct")
    kept(Path("larger"), torch.zeros(2, 3, 18, 16))
    kept(Path("old"), noisy(0.1))
    samples = PosteriorSamples(noisy(0.1), {"domain": "pictures"})
    samples.save(Path("old/samples.npz"))
    kept(Path("odd"), noisy(0.1), sigma_y="much")
    Image.new("RGB", (8, 8)).save("small.png")
    Path("broken").mkdir()
    Path("broken/samples.npz").write_bytes(b"PK")
    code, out, err = run("compare", *arguments, "-o", "out")
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert not Path("out").exists()


SIGNALS = {
    "pictures": X,
    "ct": torch.linspace(-1, 1, 3 * 64).view(3, 8, 8),
    "lensing": torch.linspace(0, 2, 64).view(1, 8, 8),
    "mri": torch.linspace(-1, 1, 128).view(2, 8, 8),
    "motion": None,
}
"""A signal of each domain; that of motion is a person who stands."""


def truth_file(name, x):
    """The signal as a file that ``--truth`` takes."""
    if name == "pictures":
        TRUTH.save("x.png")
        return Path("x.png")
    if name == "lensing":
        from astropy.io import fits

        fits.writeto("x.fits", x[0].numpy())
        return Path("x.fits")
    if name == "motion":
        write_motion(Path("x.npz"), to_motions(x[None])[0])
        return Path("x.npz")
    np.save("x.npy", 1000 * x if name == "ct" else torch.complex(x[0], x[1]))
    return Path("x.npy")


@pytest.mark.parametrize("name", SIGNALS)
def test_every_domain_is_compared(tmp_path, monkeypatch, run, name):
    monkeypatch.chdir(tmp_path)
    x = SIGNALS[name]
    if x is None:
        standing = to_motions(torch.zeros(1, *SHAPE))
        x = to_signal(standing)[0].float()
    file, unit = truth_file(name, x), 1000 if name == "ct" else 1
    for folder, seed in (("a", 1), ("b", 2)):
        kept(Path(folder), unit * noisy(0.02, 3, seed, x), domain=name)
    found = Comparison.of([Path("a"), Path("b")], file)
    assert found.truth is not None
    torch.testing.assert_close(found.truth.float(), x, atol=1e-4, rtol=1e-4)
    assert found.domain.spread(found.runs[0].samples.draws).ndim == 2
    code, out, err = run("compare", "a", "b", "--truth", file, "-o", "out", "--json")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert all(0.002 < row["crps"] < 0.02 for row in rows)
    page = Path("out/report.html").read_text()
    assert len(images_in(page)) >= 5
    assert page.count("<img") == 3 + 3 + 2 + 3 + 3


@pytest.mark.parametrize("name", [name for name in SIGNALS if name != "motion"])
def test_every_domain_writes_pictures_of_its_answer(tmp_path, name):
    """On one scale, that of the mean, and with what was before if that is known."""
    x, domain = SIGNALS[name], DOMAINS[name]
    samples = PosteriorSamples(noisy(0.05, 3, x=x), told(domain=name))
    shown = write_pictures(tmp_path, samples, Before("blurred", x / 2))
    top = domain.brightness(samples.mean)
    drawn = {
        "given.png": x / 2,
        "mean.png": samples.mean,
        **{f"samples/{k:03}.png": draw for k, draw in enumerate(samples.draws)},
    }
    for file, signal in drawn.items():
        wanted = np.asarray(domain.drawn(signal, top))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / file)), wanted)
    spread = domain.spread(samples.draws)
    pale = nearly_largest(spread)
    heat = np.asarray(Image.open(tmp_path / "std.png"))
    np.testing.assert_array_equal(heat, np.asarray(heat_map(spread, pale)))
    assert shown == {
        "scale": domain.scale,
        "spread": f"black 0, pale {domain.deviation(pale)}",
        "before": "blurred",
    }
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")}
    assert files == {*drawn, "std.png"}
    alone = PosteriorSamples(x[None], told(domain=name))
    (tmp_path / "one").mkdir()
    assert write_pictures(tmp_path / "one", alone) == {"scale": domain.scale}
    assert not list((tmp_path / "one").glob("[sg]*.png"))


def test_slices_are_shown_in_the_window_that_is_told(tmp_path):
    """-160 HU is black and 240 white."""
    hu = torch.tensor([-1000.0, -160, 80, 240, 2000]).expand(2, 1, 1, 5)
    shown = write_pictures(tmp_path, PosteriorSamples(hu / 1000, told(domain="ct")))
    assert shown["scale"] == "soft tissue, -160 to 240 HU"
    gray = np.asarray(Image.open(tmp_path / "mean.png"))[0]
    assert gray.tolist() == [0, 0, 153, 255, 255]
    assert np.asarray(Image.open(tmp_path / "std.png")).max() < 5, "they do not differ"


def test_all_domains_are_here():
    assert set(SIGNALS) == set(DOMAINS)


def test_the_units_of_a_file_are_not_those_of_the_signal(tmp_path):
    kept(tmp_path / "a", torch.full((2, 1, 8, 8), 40.0), domain="ct")
    assert CT.draws(tmp_path / "a").draws.mean() == pytest.approx(0.04)
    assert CT.deviation(0.04) == "40 HU"


def test_truths_of_other_shapes_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((3, 4, 4), np.float32))
    for name in ("ct", "mri"):
        with pytest.raises((FileError, SettingError, ValueError), match=r"but x\.npy has"):
            DOMAINS[name].truth(Path("x.npy"), (2, 8, 8))
