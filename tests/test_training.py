"""Training on real pictures at tiny size: it learns, stops, resumes, and says what is wrong."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger import denoising
from hdagger.domains.pictures.dataset import Photographs
from hdagger.domains.pictures.training import Training, TrainingPlan
from hdagger.errors import FileError, SettingError
from hdagger.muon import Muon, orthogonalise
from hdagger.priors.unet import UNetDenoiser, UNetShape


@pytest.fixture
def photographs(tmp_path):
    from skimage import data

    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    Image.fromarray(data.coffee()).save(folder / "coffee.jpg")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def plan(photographs, seconds, **settings):
    shape = UNetShape(widths=(8, 16), embedding=16, heads=2)
    settings = {"batch": 4, "crops": (16,), "unet": shape} | settings
    return TrainingPlan(photographs, hours=seconds / 3600, **settings)


def test_crops_are_reproducible_and_in_range(photographs):
    pictures = Photographs(photographs, crop=32)
    crops = pictures.draw(6, seed=3)
    assert crops.shape == (6, 3, 32, 32)
    assert crops.min() >= -1
    assert crops.max() <= 1
    assert crops.std() > 0.1
    assert torch.equal(crops, pictures.draw(6, seed=3))
    assert not torch.equal(crops, pictures.draw(6, seed=4))


def test_larger_crops_come_from_the_pictures_that_have_room(photographs):
    pictures = Photographs(photographs, crop=32)
    larger = pictures.cut(200)
    assert larger.draw(2, seed=0).shape == (2, 3, 200, 200)
    assert len(larger.pictures) == 5  # both at full size and .71 of it, the coffee at half
    assert pictures.draw(1, seed=0).shape == (1, 3, 32, 32)
    with pytest.raises(FileError, match="at least 900 x 900"):
        pictures.cut(900)


def test_stages_have_larger_crops_and_as_many_pixels(photographs, tmp_path):
    training = Training(plan(photographs, seconds=100.0, crops=(16, 32)), tmp_path, "cpu")
    training.prepare()
    sizes = []

    def loss(x0, *rest):
        sizes.append(x0.shape)
        return torch.zeros(())

    training.denoiser.loss = loss
    for seconds in (0.0, 49.0, 51.0, 100.0):
        training.seconds = seconds
        training.loss()
    assert sizes == [(4, 3, 16, 16)] * 2 + [(1, 3, 32, 32)] * 2


def test_coarse_levels_have_their_share(photographs, tmp_path):
    settings = {"batch": 4000, "log_sigma_mean": -4.0, "log_sigma_std": 0.1, "coarse": 0.25}
    training = Training(plan(photographs, seconds=1.0, **settings), tmp_path, "cpu")
    sigma = training._levels(4000, torch.Generator().manual_seed(0))
    high = sigma[sigma > 0.1].log()
    assert len(high) / len(sigma) == pytest.approx(0.25, abs=0.02)
    assert high.min() > np.log(0.5)
    assert high.median() == pytest.approx(np.log(0.5 * 100) / 2, abs=0.2)


def test_training_learns_and_leaves_a_prior(photographs, tmp_path):
    reports = []
    coarse = {"rate": 0.02, "rate_rest": 0.01, "log_sigma_mean": 0.0, "log_sigma_std": 0.5}
    training = Training(plan(photographs, seconds=6.0, **coarse), tmp_path / "run", "cpu")
    training.run(reports.append, report_every=0.5)
    assert reports[-1].loss < 0.8 * reports[0].loss
    assert reports[-1].crops == training.step * 4
    assert (tmp_path / "run/samples.png").exists()
    prior = UNetDenoiser.load(tmp_path / "run/prior.safetensors")
    x0 = Photographs(photographs, 16).draw(32, seed=99)
    noisy = x0 + 0.5 * torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    assert (prior(noisy, torch.tensor(0.5)) - x0).square().mean() < 0.5**2 / 2


def test_a_stopped_training_goes_on(photographs, tmp_path):
    first = Training(plan(photographs, seconds=0.5), tmp_path / "run", "cpu")
    first.run(lambda progress: None)
    assert first.done
    longer = Training(plan(photographs, seconds=1.0), tmp_path / "run", "cpu")
    assert longer.step == first.step
    assert longer.seconds == first.seconds
    for ours, theirs in zip(longer.ema.parameters(), first.ema.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    longer.run(lambda progress: None)
    assert longer.step > first.step


def test_a_training_goes_on_from_before_the_fall(photographs, tmp_path):
    first = Training(plan(photographs, seconds=0.6), tmp_path / "first", "cpu")
    first.run(lambda progress: None)
    (tmp_path / "longer").mkdir()
    (tmp_path / "first/flat.pt").rename(tmp_path / "longer/state.pt")
    longer = Training(plan(photographs, seconds=6.0), tmp_path / "longer", "cpu")
    assert 0.3 * 0.6 < longer.seconds < first.seconds
    assert longer.step < first.step


def test_a_pause_is_not_trained_time(photographs, tmp_path, monkeypatch):
    clock = itertools.count(0.0, 1000.0)
    monkeypatch.setattr("hdagger.course.time.monotonic", lambda: next(clock))
    training = Training(plan(photographs, seconds=35.0), tmp_path, "cpu")
    training.run(lambda progress: None)
    assert training.step == 4


def test_examples_drawn_ahead_by_others_are_the_same(photographs, tmp_path, monkeypatch):
    made = []
    for others in (0, 1):
        monkeypatch.setitem(denoising.DRAWING, "cpu", others)
        folder = tmp_path / str(others)
        chosen = plan(photographs, seconds=1.0, updates=4, crops=(16, 32), label_dropout=0.5)
        Training(chosen, folder, "cpu").run(lambda progress: None)
        made.append(UNetDenoiser.load(folder / "prior.safetensors").state_dict())
    assert all(torch.equal(weight, made[1][name]) for name, weight in made[0].items())


def test_each_update_sees_other_examples(photographs, tmp_path):
    training = Training(plan(photographs, seconds=1.0), tmp_path, "cpu")
    training.step = 5
    seeds = training.ahead(lambda seed: (torch.tensor([float(seed)]), torch.zeros(1, dtype=int)))
    assert [int(next(seeds)[0]) for _ in range(3)] == [training.seed_of(k) for k in (5, 6, 7)]


def test_examples_are_drawn_in_full_precision(photographs, tmp_path):
    training = Training(plan(photographs, seconds=1.0, bfloat16=True), tmp_path, "cpu")
    third = torch.full((2, 2), 1 / 3)
    with torch.autocast("cpu", torch.bfloat16):
        x0, _ = next(training.ahead(lambda seed: (third @ third, torch.zeros(2, dtype=int))))
    assert torch.equal(x0, third @ third)


def test_bfloat16_learns_too(photographs, tmp_path):
    coarse = {"log_sigma_mean": 0.0, "log_sigma_std": 0.5, "bfloat16": True}
    training = Training(plan(photographs, seconds=1.0, **coarse), tmp_path, "cpu")
    training.prepare()
    training.loss().backward()
    assert training.denoiser.net.head.weight.grad.dtype == torch.float32
    training.run(lambda progress: None)
    assert all(weight.isfinite().all() for weight in training.ema.parameters())


def test_a_training_begins_from_a_smaller_prior(photographs, tmp_path):
    small = UNetDenoiser(UNetShape(widths=(8, 16), embedding=16, heads=2))
    for weight in small.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    small.save(tmp_path / "small.safetensors")
    shape = UNetShape(widths=(8, 16, 16), down=2, embedding=16, heads=2, attended=2, spread=True)
    larger = Training(
        plan(photographs, seconds=1.0, unet=shape, start=tmp_path / "small.safetensors"),
        tmp_path,
        "cpu",
    )
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    ours, theirs = (
        prior(x, torch.tensor(0.3)) for prior in (larger.ema, UNetDenoiser.load(larger.plan.start))
    )
    assert torch.allclose(ours, theirs, atol=1e-5)
    with pytest.raises(SettingError, match="no place in the larger one"):
        small.grow(larger.denoiser)
    with pytest.raises(SettingError, match="Leave start out"):
        plan(photographs, seconds=1.0, network="classifier", start=tmp_path)


def test_a_prior_of_one_channel_begins_as_one_of_colours_that_are_alike():
    shape = UNetShape(widths=(8, 16), embedding=16, heads=2, spread=True)
    colour, gray = UNetDenoiser(shape), UNetDenoiser(replace(shape, channels=1))
    for weight in colour.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    gray.grow(colour)
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    D = colour(x.expand(2, 3, 16, 16), torch.tensor(0.3)).mean(1, keepdim=True)
    torch.testing.assert_close(gray(x, torch.tensor(0.3)), D, atol=1e-5, rtol=0)
    two = UNetDenoiser(replace(shape, channels=2))
    two.grow(colour)
    x = torch.cat([x, x[:1].expand(2, 1, 16, 16)], 1)
    D = colour(x[:, [0, 1, 1]], torch.tensor(0.3))
    D = torch.cat([D[:, :1], D[:, 1:].mean(1, keepdim=True)], 1)
    torch.testing.assert_close(two(x, torch.tensor(0.3)), D, atol=1e-5, rtol=0)


def test_a_state_of_another_network_is_refused(photographs, tmp_path):
    Training(plan(photographs, seconds=0.0), tmp_path, "cpu").save()
    other = TrainingPlan(photographs, unet=UNetShape(widths=(8, 24), heads=2))
    with pytest.raises(FileError, match="Choose another folder"):
        Training(other, tmp_path, "cpu")


def test_muon_orthogonalises():
    generator = torch.Generator().manual_seed(0)
    for shape in ((2, 5, 5), (1, 3, 9), (3, 9, 4)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=generator)))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_muon_finds_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    x, goal = torch.randn(64, 6, generator=generator), torch.randn(4, 6, generator=generator)
    weight = torch.nn.Parameter(torch.zeros(4, 6))
    optimiser = Muon([weight], lr=0.1)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimiser.zero_grad()
        (x @ (weight - goal).T).square().mean().backward()
        optimiser.step()
    assert (weight - goal).abs().max() < 0.05


def test_a_plan_says_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "plan.toml"
    for text, error, says in (
        ("photographs = ", FileError, "Wanted TOML"),
        ("hours = 1", SettingError, "Start from training/photo.toml"),
        ('photographs = "."\nspeed = 3', SettingError, "speed"),
        ('photographs = "."\n[unet]\ncolour = 3', SettingError, "colour"),
    ):
        path.write_text(text)
        with pytest.raises(error, match=says):
            TrainingPlan.read(path)
    path.write_text('photographs = "."\nhours = 0.5\n[unet]\nwidths = [8, 16]')
    read = TrainingPlan.read(path)
    assert read.unet.widths == (8, 16)
    with pytest.raises(FileError, match="gather_photos"):
        Training(read, tmp_path / "run", "cpu").run(lambda progress: None)


def test_small_pictures_are_left_out(tmp_path):
    Image.fromarray(np.zeros((10, 90, 3), np.uint8)).save(tmp_path / "thin.png")
    with pytest.raises(FileError, match="at least 16 x 16"):
        Photographs(tmp_path, crop=16)
