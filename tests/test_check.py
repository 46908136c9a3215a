"""``hdagger check``: it runs what ``restore`` runs, refuses nonsense, and its words are true."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from motion_clips import stepping
from PIL import Image

from hdagger import calibration
from hdagger.calibration import Calibration, Plan, plan
from hdagger.diagnostics import central_interval, coverage, levels_shown, student, student_reach
from hdagger.domain import DOMAINS
from hdagger.domains.motion.domain import MOTION
from hdagger.domains.motion.files import write_motion
from hdagger.domains.motion.windows import SHAPE, to_signal
from hdagger.domains.pictures.options import Damages
from hdagger.domains.pictures.reading import read
from hdagger.errors import FileError, HDaggerError, SettingError
from hdagger.judging import LEVELS, Scores, judge
from hdagger.measurement import Measurement
from hdagger.priors import zoo
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, measure, prepare, restore
from hdagger.samples import PosteriorSamples
from hdagger.tensors import SampleNoise
from hdagger.verdicts import Subject

PICTURES = DOMAINS["pictures"]


@pytest.fixture(autouse=True)
def own_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.effect_noise((24, 24), 60).resize((64, 64)).convert("RGB").save(folder / "one.png")
    return folder


def randn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def simulated(draws, chi2_dof=1.0):
    return PosteriorSamples(draws, {"chi2_dof": chi2_dof, "nfe": 20, "seconds": 1.0})


def watched(monkeypatch):
    """Every (samples, truth) that a check judges."""
    seen = []

    def watch(samples, truth, domain, seed):
        seen.append((samples, truth))
        return judge(samples, truth, domain, seed)

    monkeypatch.setattr(calibration, "judge", watch)
    return seen


def test_a_check_judges_what_restore_draws(monkeypatch, pictures):
    seen = watched(monkeypatch)
    recipe = Recipe("pigdm", {"eta": 0.5}, steps=2, samples=19, seed=4)
    found = plan(recipe, "average:2", 0.1, 2, pictures, 8).run()
    truths = PICTURES.truths(pictures, (3, 8, 8), 2, 4).double()
    for item, (samples, truth) in enumerate(seen):
        assert torch.equal(truth, truths[item])
        measurement = PICTURES.measure(truth, "average:2", {}, 0.1, 4, item)
        restored = restore(recipe, measurement, item=item)
        assert torch.equal(samples.draws, restored.draws)
        assert samples.provenance["recipe"] == restored.provenance["recipe"]
        seen_of_it = torch.nn.functional.avg_pool2d(samples.draws.double(), 2)
        chi2 = float((measurement.y - seen_of_it).square().mean() / 0.1**2)
        assert samples.provenance["chi2_dof"] == pytest.approx(chi2, rel=1e-3)
    assert found.subject.settings["eta"] == 0.5
    assert found.subject.settings["data_variance"] == 0.25
    assert found.subject.prior_sha256 == zoo.card("photo").sha256
    each = [samples.provenance["chi2_dof"] for samples, _ in seen]
    assert found.scores.chi2_dof == pytest.approx(sum(each) / 2)
    assert (found.truths, found.shape) == ("crops of pictures", (3, 8, 8))


def test_a_kernel_from_a_file_is_checked(tmp_path, monkeypatch):
    """Its verdict is the one that a picture blurred by it asks for; a mask may follow."""
    monkeypatch.chdir(tmp_path)
    kernel = Image.new("L", (3, 3))
    for place, light in (((1, 1), 255), ((2, 1), 130), ((0, 2), 60)):
        kernel.putpixel(place, light)
    kernel.save("psf.png")
    Image.effect_noise((16, 16), 60).convert("RGB").save("shaken.png")
    recipe = Recipe("pigdm", steps=2, samples=19)
    ready = plan(recipe, "kernel:psf.png", 0.05, 2, side=16)
    damages = Damages(blur="psf.png", sigma_y=0.05)
    restored = prepare(recipe, read(Path("shaken.png"), damages).measurement, ready.prior)
    assert ready.promised.subject == restored.subject
    random = plan(recipe, "kernel:psf.png | mask", 0.05, 2, side=16).arrays["mask"]
    assert random.shape == (14, 14)
    Image.fromarray((~random * 255).byte().numpy()).save("holes.png")
    ready = plan(recipe, "kernel:psf.png | mask:holes.png", 0.05, 2, side=16)
    assert torch.equal(ready.arrays["mask"], ~random)
    with pytest.raises(SettingError, match="kernel:psf"):
        plan(recipe, "kernel", 0.05, 2)


def test_motions_are_checked_on_windows_of_clips(tmp_path):
    (tmp_path / "walks").mkdir()
    clips = {"short.npz": stepping(61), "walks/long.npz": stepping(70, seed=1)}
    for name, clip in clips.items():
        write_motion(tmp_path / name, clip)
    given = to_signal(
        [
            clip.grounded()[k : k + 60].canonical()
            for clip in clips.values()
            for k in range(len(clip) - 59)
        ]
    )
    x = MOTION.truths(tmp_path, SHAPE, 14, seed=3)
    order = torch.cdist(x.flatten(1), given.flatten(1)).argmin(1)
    torch.testing.assert_close(x, given[order], rtol=0, atol=1e-9)
    assert sorted(order[:13].tolist()) == list(range(13))
    assert order[13] == order[0]
    assert torch.equal(x, MOTION.truths(tmp_path, SHAPE, 14, seed=3))
    assert not torch.equal(x, MOTION.truths(tmp_path, SHAPE, 14, seed=4))
    recipe = Recipe("pigdm", prior="motion", steps=2, samples=19)
    found = plan(recipe, "frames", 0.01, 2, tmp_path, domain="motion").run()
    assert (found.truths, found.shape) == ("windows of clips", SHAPE)
    with pytest.raises(FileError, match="folder of clips"):
        MOTION.truths(tmp_path / "nowhere", SHAPE, 1, seed=0)


def test_every_simulation_has_noise_of_its_own():
    ready = plan(Recipe(prior="field", samples=19), "none", 1.0, 2, side=8)
    nothing = torch.zeros(1, 8, 8)
    noise = [ready.restoration(nothing, item).measurement.y for item in range(3)]
    assert not torch.equal(noise[0], noise[1])
    torch.testing.assert_close(
        torch.stack(noise).std(), torch.tensor(1.0).double(), atol=0.2, rtol=0
    )


def test_the_samples_of_every_simulation_have_noise_of_their_own(monkeypatch):
    seen = watched(monkeypatch)
    plan(Recipe("ddim", prior="field", steps=2, samples=19), "none", 1.0, 2, side=8).run()
    assert not torch.equal(seen[0][0].draws, seen[1][0].draws)


def test_the_noise_of_a_measurement_is_not_that_of_its_first_sample():
    measured = SampleNoise(0, [(3,)])((1, 8))
    assert not torch.equal(measured, SampleNoise(0, [(3, 0)])((1, 8)))
    assert not torch.equal(SampleNoise(0, [(3, 0)])((1, 8)), SampleNoise(3, [(0, 0)])((1, 8)))


def test_of_a_blur_the_frame_that_the_data_show_is_judged(monkeypatch):
    seen = watched(monkeypatch)
    ready = plan(Recipe("pigdm", prior="field", steps=2, samples=19), "gauss:1", 0.1, 2, side=20)
    found = ready.run()
    samples, truth = seen[0]
    height, width = samples.draws.shape[2:]
    assert 0 < height < 20
    assert found.shape == (1, height, width) == truth.shape
    edge = (20 - height) // 2
    assert torch.equal(truth, ready.truths()[0][:, edge : edge + height, edge : edge + width])


def test_rounded_data_are_settled_as_restore_does_it(monkeypatch, pictures):
    seen = watched(monkeypatch)
    ready = plan(Recipe(steps=2, samples=19), "jpeg:10", None, 2, pictures, 8)
    found = ready.run()
    assert (found.subject.method, found.subject.sigma_y, found.scores.chi2_dof) == (
        "drawn",
        0,
        None,
    )
    assert all(samples.provenance["kept"] == 1 for samples, _ in seen)


def test_truths_are_draws_of_the_prior_where_no_files_are_given(monkeypatch):
    recipe = Recipe("ddrm", steps=2, samples=19, prior="digits")
    ready = plan(recipe, simulations=2)
    truths = ready.truths()
    assert ready.shape == truths.shape[1:]
    assert not torch.equal(truths[0], truths[1])
    assert ready.origin == "draws of the prior"
    strokes = (truths.abs() > 0.7).double().mean()
    assert strokes > 0.8, "digits are black and white"


def test_a_prior_of_one_size_is_checked_at_that_size():
    card = replace(zoo.card("digits"), size=28)
    assert PICTURES.truth_shape(card, None) == (1, 28, 28)
    assert PICTURES.truth_shape(card, 56) == (1, 56, 56)
    assert PICTURES.truth_shape(zoo.card("photo"), None) == (3, 32, 32)


def test_the_levels_are_those_of_the_prior(monkeypatch):
    lower = replace(calibration.field_card(8), sigma_max=5.0)
    monkeypatch.setattr(calibration, "field_card", lambda side: lower)
    ready = plan(Recipe("pigdm", prior="field", samples=19), "none", 0.1, 2, side=8)
    restoration = ready.restoration(torch.zeros(1, 8, 8), 0)
    assert float(restoration.levels[0]) == pytest.approx(5.0)
    assert restoration.method.data_variance == 1.0


WHITE = Prior(
    zoo.Card("white", Path(), channels=1, data_variance=1.0),
    lambda x, sigma, label=None: x / (1 + sigma**2),
    "white",
)


def on_white_noise(recipe, simulations=12, conformal=False):
    """A check of white noise, whose truths are drawn through its denoiser."""
    shape, given = (1, 16, 16), (WHITE, PICTURES)
    return Plan(
        recipe, *given, shape, "average:2", 0.3, {}, simulations, conformal=conformal
    ).run()


def test_error_bars_of_an_exact_method_are_found_right():
    exact = Recipe("pigdm", {"step_variance": 1.0}, steps=3, samples=39)
    found = on_white_noise(exact)
    for level, held in found.scores.covered.items():
        assert held == pytest.approx(level, abs=0.03), level
    assert all(held == pytest.approx(0.9, abs=0.04) for held in found.scores.thirds)
    assert found.scores.chi2_dof == pytest.approx(1, abs=0.1)
    assert found.p_value > 0.01
    assert "confident" not in found.words
    for ratio in (*found.scores.bands["luma"], found.scores.texture):
        assert ratio == pytest.approx(1, abs=0.06)
    narrow = on_white_noise(replace(exact, method="ddrm", settings={}, steps=20))
    assert narrow.scores.covered[0.9] < 0.85
    assert "over-confident" in narrow.words
    assert narrow.scores.crps > 1.005 * found.scores.crps
    assert narrow.scores.energy > 1.005 * found.scores.energy
    assert all(ratio < 0.9 for ratio in narrow.scores.bands["luma"])


@pytest.mark.parametrize(
    ("count", "levels"), [(2, LEVELS), (8, LEVELS), (19, (0.5, 0.8, 0.9)), (39, LEVELS)]
)
def test_exact_draws_cover_each_level_that_is_told(count, levels):
    """By their ranks, or by Student's t where they are too few for that."""
    assert count < 19 or levels_shown(LEVELS, count) == levels
    found = judge(simulated(randn(count, 1, 128, 128)), randn(1, 128, 128, seed=1), PICTURES, 0)
    assert tuple(found.covered) == levels
    for level, held in found.covered.items():
        assert held == pytest.approx(level, abs=0.015), level


def test_a_level_that_few_draws_cannot_show_is_refused():
    with pytest.raises(SettingError, match=r"90 % at most. Draw 39 or more"):
        central_interval(randn(19, 3), 0.95)
    with pytest.raises(SettingError, match="Draw 19 or more"):
        central_interval(randn(18, 3), 0.9)
    low, high = central_interval(torch.arange(1.0, 20.0), 0.9)
    assert (float(low), float(high)) == (1.0, 19.0)


def test_the_texture_and_the_closeness_of_samples_are_judged_by_what_it_is_of_the_truth():
    """Samples twice as rough as the truth, whose mean misses it by less than each."""
    found = judge(simulated(2 * randn(30, 3, 32, 32)), randn(3, 32, 32, seed=1), PICTURES, 0)
    assert found.texture is not None
    assert found.texture[0] == pytest.approx(4 * found.texture[1], rel=0.1)
    assert found.psnr is not None
    assert found.psnr[0] < found.psnr[1] - 1
    assert list(found.bands) == ["luma", "red-green", "yellow-blue"]
    assert (found.nfe, found.seconds) == (20, 1 / 30)


def test_a_truth_on_the_end_of_its_interval_is_inside():
    draws = torch.arange(19.0).double().view(19, 1).expand(19, 2)
    truth = torch.tensor([0.0, 18.0]).double()
    assert coverage(truth[None], draws[None], 0.9) == 1
    found = judge(simulated(draws.view(19, 1, 1, 2)), truth.view(1, 1, 2), PICTURES, 0)
    assert found.covered[0.9] == 1


@pytest.mark.parametrize(("name", "empty"), [("ct", -1.0), ("mri", 0.0), ("lensing", 0.0)])
def test_intervals_are_judged_on_the_object_and_not_around_it(name, empty):
    """A square of light, water or tissue; around it every sample is far from the truth."""
    domain = DOMAINS[name]
    truth = torch.full((2 if name == "mri" else 1, 64, 64), empty, dtype=torch.float64)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[16:48, 16:48] = True
    truth[:, inside] = 1.0
    seen = domain.inside(truth)
    assert seen is not None
    assert seen.shape == truth.shape
    assert (seen == inside).double().mean() > 0.98
    x = truth + 0.1 * randn(19, *truth.shape) + torch.where(inside, 0, 9)
    known = truth + 0.1 * randn(*truth.shape, seed=1).where(inside, 0 * truth)
    assert judge(simulated(x), known, domain, 0).covered[0.9] == pytest.approx(0.9, abs=0.02)
    told = replace(CALIBRATION, part=domain.object_is).words
    assert f"cover 90 % of {domain.object_is}: " in told
    nothing = torch.full_like(truth, empty)
    draws, same = (
        nothing + 0.1 * randn(19, *truth.shape),
        nothing + 0.1 * randn(*truth.shape, seed=1),
    )
    assert judge(simulated(draws), same, domain, 0).covered[0.9] == pytest.approx(0.9, abs=0.03)


def test_what_the_data_tell_exactly_has_no_intervals_to_check():
    """Of two elements, one is known; the other's interval misses."""
    draws = randn(19, 1, 1, 2)
    draws[..., 0] = 0.25
    truth = torch.tensor([0.25 + 1e-7, 9.0]).view(1, 1, 2)
    assert judge(simulated(draws), truth, PICTURES, 0).covered[0.9] == 0
    exact = judge(simulated(draws), truth.where(truth > 1, 0.25), PICTURES, 0)
    assert float(exact.missed[-1, 232]) == 1
    wrong = torch.tensor([0.35, 9.0]).view(1, 1, 2)
    assert judge(simulated(draws), wrong, PICTURES, 0).covered[0.9] == 0
    with pytest.raises(SettingError, match="leave something open"):
        judge(simulated(draws[..., :1]), truth[..., :1], PICTURES, 0)


CALIBRATION = Calibration(
    subject=Subject("ab", "pictures", "average:4", 0.1, "ddrm", {"eta": 0.85}, 20),
    truths="crops of pictures",
    shape=(3, 32, 32),
    simulations=12,
    draws=19,
    scores=Scores(
        covered={0.5: 0.5, 0.8: 0.8, 0.9: 0.9},
        thirds=None,
        chi2_dof=1.0,
        crps=0.1,
        energy=0.4,
        bands={},
        texture=None,
        psnr=None,
        nfe=20,
        seconds=0.5,
    ),
    chance=0.04,
    p_value=0.5,
)


@pytest.mark.parametrize(
    ("held", "chance", "judged"),
    [
        (0.45, 0.04, "over-confident"),
        (0.85, 0.04, "over-confident"),
        (0.97, 0.04, "under-confident"),
        (0.88, 0.04, "as they should"),
        (0.91, 0.005, "as they should"),
        (0.87, 0.001, "over-confident"),
        (0.88, 0.3, "too few simulations to judge, chance alone is 30 %"),
        (0.45, 0.5, "too few simulations to judge, chance alone is 50 %"),
    ],
)
def test_the_words_say_what_was_found(held, chance, judged):
    scores = replace(CALIBRATION.scores, covered={0.9: held})
    found = replace(CALIBRATION, scores=scores, chance=chance)
    assert found.words == f"the 90 % intervals cover {100 * held:.0f} %: {judged}"
    assert found.verdict.coverage_90 == held
    assert found.words in found.svg()


def test_chance_is_what_repeated_checks_show(monkeypatch):
    """Its standard error is that of the mean over simulations, widened for few of them."""
    held = iter([0.8, 0.9, 1.0])
    one = judge(simulated(randn(19, 1, 8, 8)), randn(1, 8, 8, seed=1), PICTURES, 0)
    given = lambda *_: replace(one, covered=one.covered | {0.9: next(held)})
    monkeypatch.setattr(calibration, "judge", given)
    found = plan(Recipe("ddim", prior="field", steps=1, samples=19), simulations=3, side=8).run()
    assert found.scores.covered[0.9] == pytest.approx(0.9)
    assert found.chance == pytest.approx(student(2, 0.95) * 0.1 / math.sqrt(3))


REFUSED = {
    "--sigma-y -1": "noise of 0 or more",
    "--sigma-y nan": "noise of 0 or more",
    "--sigma-y inf": "noise of 0 or more",
    "--simulations -5": "--simulations -5",
    "--simulations 1": "2 or more",
    "--draws 1": "2 or more",
    "--conformal --simulations 8": "9 simulations or more",
    "--size 0": "--size 0",
    "--size 100000": "8 to 1024",
    "--steps 0": "--steps 0",
    "--method magic": "a method, one of",
    "--operator magic:2": "an operator, one of",
    "--operator average:5": "",
    "--operator mask:2 --method cells": "",
    "--set strength=3": "got auto",
    "--method ddrm --set strength=3": "one of eta, eta_b",
    "--set eta": "NAME=VALUE",
    "--method ddrm --set eta=7": "[0, 1]",
    "--method auto --set eta=0.5": "--method",
    "--method cells": "cells",
    "--store": "--prior photo",
    "--prior nobody": "a prior",
    "--domain music": "a domain",
    "--plot check.png": ".svg",
    "--plot check.svg --operator none --operator average:2": "one operator",
    "--operator none --operator magic:2": "an operator, one of",
    "--plot taken/check.svg": "cannot be written",
    "--pictures nowhere": "--prior photo",
    "--prior photo --pictures nowhere": "nowhere",
    "--prior photo --operator jpeg:10 --sigma-y 0.1": "rounded",
    "--label 3": "classes",
    "--seed -1": "seed",
}


@pytest.mark.parametrize(("options", "said"), REFUSED.items(), ids=REFUSED)
def test_nonsense_is_refused_in_one_line_before_any_work(run, monkeypatch, options, said):
    def work(*_):
        raise AssertionError("the network was run")

    monkeypatch.setattr(calibration, "solve", work)
    monkeypatch.setattr("hdagger.restoration.solve", work)
    monkeypatch.chdir(run.folder if hasattr(run, "folder") else ".")
    Path("taken").write_text("no folder")
    code, out, err = run("check", *options.split())
    assert code == 2, (out, err)
    assert out == ""
    assert err.count("\n") == 1
    assert said.lower() in err.lower()


def fails(out):
    """The exit code that goes with what a check says."""
    return int("confident" in out)


def test_a_weaker_check_is_refused_before_any_work(run, monkeypatch, pictures):
    small = ("--size", 8, "--steps", 2, "--draws", 19, "--pictures", pictures, "--store")
    small = ("--prior", "photo", "--method", "ddrm", *small)
    code, out, _ = run("check", *small, "--simulations", 3)
    assert code == fails(out)
    monkeypatch.setattr("hdagger.restoration.solve", None)
    code, _, err = run("check", *small, "--simulations", 2)
    assert code == 2
    assert "3 simulations of 19 draws" in err


def test_auto_says_what_it_stood_for(run):
    small = ("--size", 8, "--simulations", 2, "--draws", 19, "--steps", 2)
    code, out, err = run("check", *small)
    assert code == fails(out), err
    assert out.startswith("auto stands for drawn\n")
    assert run("check", *small, "--method", "quick")[1].startswith("quick stands for ddrm\n")
    assert "CRPS" in out
    assert "95 %" not in out
    assert "fine texture" in out
    code, out, _ = run("check", "--method", "auto", *small, "--json")
    told = json.loads(out)
    assert told["method"] == "drawn"
    assert told["settings"] == {"eta": 1.0, "asked": 2.5}
    assert list(told["coverage"]) == ["0.5", "0.8", "0.9"]


def test_several_operators_are_one_table(run):
    small = ("--size", 16, "--simulations", 2, "--draws", 2, "--steps", 2, "--method", "pigdm")
    both = ("--operator", "average:2", "--operator", "gauss:1")
    code, out, err = run("check", *small, *both)
    assert code == fails(out), err
    first, second, head, *rows = out.splitlines()
    assert first.startswith("average:2: the 90 % intervals")
    assert second.startswith("gauss:1: the 90 % intervals")
    assert head.split() == ["average:2", "gauss:1"]
    assert any(row.split()[0] == "CRPS" and len(row.split()) == 3 for row in rows)
    code, out, _ = run("check", *small, *both, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    alone = json.loads(run("check", *small, *both[2:], "--json")[1])
    assert [row["operator"] for row in told] == ["average:2", "gauss:1"]
    assert 0 <= alone["p_value"] <= 1
    differ = {name for name in alone if alone[name] != told[1][name]}
    assert differ <= {"seconds_a_sample"}
    assert list(alone["coverage"]) == ["0.5", "0.8", "0.9", "0.95"]


def test_a_check_is_kept_and_a_restoration_tells_it(run, monkeypatch, tmp_path, pictures):
    shutil.copy(zoo.card("photo").weights, tmp_path / "own.safetensors")
    monkeypatch.chdir(tmp_path)
    plot = tmp_path / "check.svg"
    quick = ("--prior", "own.safetensors", "--steps", 2, "--method", "ddrm", "--set", "eta=0.5")
    small = ("--size", 8, "--simulations", 2, "--draws", 19, "--operator", "average:2")
    code, out, err = run(
        "check", *quick, *small, "--pictures", pictures, "--store", "--plot", plot
    )
    assert code == fails(out), err
    words = out.splitlines()[0]
    assert words in plot.read_text()
    recipe = Recipe("ddrm", {"eta": 0.5}, steps=2, samples=1, prior="own.safetensors")
    x = PICTURES.truths(pictures, (3, 8, 8), 1, 0)[0]
    told = restore(recipe, measure(x, "average:2", {}, 0.1)).provenance["checked"]
    assert told == (
        "Checked: ddrm in 2 steps on 2 crops of pictures, 3 x 8 x 8 (average:2, sigma_y 0.1): "
        f"{words}."
    )
    other = restore(replace(recipe, settings={}), measure(x, "average:2", {}, 0.1))
    assert "have not been checked" in other.provenance["checked"]
    assert "--method ddrm --steps 2" in other.provenance["checked"]
    far = restore(replace(recipe, steps=9), measure(x, "average:2", {}, 0.1))
    assert "--method ddrm --set eta=0.5 --steps 9" in far.provenance["checked"]


def test_a_promise_is_kept_and_a_restoration_tells_it_for_its_number_of_samples(
    run, monkeypatch, tmp_path, pictures
):
    shutil.copy(zoo.card("photo").weights, tmp_path / "own.safetensors")
    monkeypatch.chdir(tmp_path)
    asked = ("--prior", "own.safetensors", "--steps", 2, "--method", "ddrm", "--conformal")
    small = ("--size", 8, "--simulations", 20, "--draws", 4, "--operator", "average:2")
    code, out, err = run("check", *asked, *small, "--pictures", pictures, "--store", "--json")
    assert code == fails(out), err
    factors = json.loads(out)["conformal_factors"]
    assert len(factors) == 3
    recipe = Recipe("ddrm", steps=2, samples=3, prior="own.safetensors")
    measured = measure(PICTURES.truths(pictures, (3, 8, 8), 1, 0)[0], "average:2", {}, 0.1)
    told = restore(recipe, measured).provenance
    assert told["interval_90"] == pytest.approx(factors[1] * student_reach(3, 0.9))
    assert f"Mean -+ {told['interval_90']:.2f} std holds 90 %" in told["checked"]
    other = measure(PICTURES.truths(pictures, (3, 8, 8), 1, 0)[0], "average:2", {}, 0.12)
    for asked, given in ((replace(recipe, samples=5), measured), (recipe, other)):
        told = restore(asked, given).provenance
        assert told["interval_90"] is None
        assert "std holds" not in told["checked"]


def test_the_factor_of_an_exact_method_is_near_one_and_that_of_a_narrow_one_is_not():
    exact = Recipe("pigdm", {"step_variance": 1.0}, steps=3, samples=8)
    found = on_white_noise(exact, 40, conformal=True)
    assert found.plain_factors[-1] == pytest.approx(1, abs=0.03)
    assert 1 < found.factors[-1] < 1.2
    assert f"(factor {found.factors[-1]:.2f})" in found.promise
    narrow = on_white_noise(replace(exact, method="ddrm", settings={}, steps=20), 20, True)
    assert narrow.plain_factors[-1] > 1.15


def test_a_jpeg_with_the_tables_of_a_quality_is_called_by_it():
    from hdagger.domains.pictures.jpeg_transform import quality_tables

    tables = quality_tables(10)[[0, 1, 1]]
    sampling = torch.tensor([[2, 2], [1, 1], [1, 1]])
    arrays = {"jpeg_tables": tables, "jpeg_sampling": sampling}
    y = PICTURES.operator("jpeg:10", (3, 16, 16), {})(torch.zeros(1, 3, 16, 16).double())[0]
    file = Measurement(y, "average:2 | jpeg", 0.0, arrays, (3, 32, 32))
    spelled = PICTURES.spelled(file)
    assert (spelled.operator, spelled.arrays_sha256) == ("average:2 | jpeg:10", "")
    own = replace(file, arrays=arrays | {"jpeg_tables": tables + 1})
    assert PICTURES.spelled(own) == own
    assert own.arrays_sha256 not in ("", file.arrays_sha256)


def test_a_random_mask_is_checked_as_a_mask():
    ready = plan(Recipe(prior="field", samples=19), "average:2 | mask", 0.1, 2, side=16)
    assert ready.arrays["mask"].shape == (8, 8)
    assert 0 < float(ready.arrays["mask"].double().mean()) < 1
    assert ready.promised.subject.arrays_sha256 != ""


def test_restore_is_prepare_and_run():
    x = torch.zeros(1, 8, 8)
    with pytest.raises(HDaggerError, match="channels"):
        prepare(
            Recipe(samples=1),
            measure(x.expand(2, 8, 8), "none", {}, 0.1),
            plan(Recipe(prior="field", samples=19), simulations=2, side=8).prior,
        )
