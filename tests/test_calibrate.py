"""``hdagger priors calibrate``: covariances, measured and used; real files, tiny networks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_huggingface import pipeline  # noqa: F401

from hdagger.domains.pictures.bands import PictureBands
from hdagger.errors import FileError
from hdagger.priors import checkpoint, zoo
from hdagger.priors.latent import LatentDenoiser
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.recipe import Recipe
from hdagger.restoration import Prior
from hdagger.spectra import SpectralTable
from hdagger.verdicts import found_on, store

TINY = UNetShape(channels=1, widths=(8, 16), embedding=16, heads=2, spread=True)
TABLE = "tiny.covariance.safetensors"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The user's priors, one of them tiny, and a folder of pictures."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = UNetDenoiser(TINY)
    for weight in network.parameters():
        weight.data = 0.1 * torch.randn_like(weight)
    network.save(Path("file.safetensors"))
    zoo.add("tiny", "file.safetensors")
    Path("pictures").mkdir()
    for k in range(3):
        noise = np.random.default_rng(k).integers(0, 256, (40, 50), np.uint8)
        Image.fromarray(noise).save(f"pictures/{k}.png")
    return tmp_path / "data/hdagger/priors"


QUICK = ("--pictures", "pictures", "--count", 3, "--size", 16)


def test_a_calibrated_prior_is_listed_and_draws_with_what_was_measured(run, home):
    assert "error bars: open; hdagger priors calibrate tiny --pictures FOLDER" in run("priors")[1]
    Image.effect_noise((20, 24), 60).save("noisy.png")
    restore = ("restore", "noisy.png", "--denoise", 60, "--prior", "tiny", "--steps", 2, "--json")
    told = json.loads(run(*restore)[1])
    assert told["recipe"]["method"] == "ddrm"
    assert told["checked"].endswith(
        "hdagger priors calibrate tiny --pictures FOLDER would give it error bars that hold."
    )
    assert "calibrate" not in json.loads(run(*restore, "--method", "pigdm")[1])["checked"]
    code, out, err = run("priors", "calibrate", "tiny", *QUICK)
    assert code == 0, err
    assert "tiny is calibrated on 3 crops of pictures, 1 x 16 x 16, seed 0:" in out
    assert {path.name for path in home.iterdir()} == {"tiny.toml", "tiny.safetensors", TABLE}
    listed = run("priors")[1]
    assert "error bars: calibrated, for the method drawn" in listed
    assert "calibrate tiny" not in listed
    told = json.loads(run(*restore)[1])
    assert told["recipe"]["method"] == "drawn"
    assert "would give it" not in told["checked"]
    assert json.loads(run(*restore, "--method", "ddrm")[1])["recipe"]["method"] == "ddrm"


def test_a_table_is_decided_by_its_seed_and_is_that_of_the_network_as_it_runs(run, home):
    tables = []
    for seed in (0, 0, 1):
        assert run("priors", "calibrate", "tiny", *QUICK, "--seed", seed)[0] == 0
        tables.append((home / TABLE).read_bytes())
    assert tables[0] == tables[1] != tables[2]
    about = checkpoint.read_kind(home / TABLE)[1]
    assert about["prior_sha256"] == zoo.card("tiny").sha256
    prior = Prior.of(Recipe(prior="tiny"))
    table = prior.uncertainty(PictureBands((1, 30, 20)))
    assert isinstance(table, SpectralTable)
    assert table.nodes.shape == (14, 3)
    assert table.data_variance == prior.card.data_variance
    assert about["data_variance"] == pytest.approx(1 / 3, rel=0.1)


def test_a_file_of_weights_has_its_table_beside_it(run):
    code, out, err = run("priors", "calibrate", "file.safetensors", *QUICK)
    assert code == 0, err
    assert "hdagger check --prior file.safetensors" in out
    assert Path("file.covariance.safetensors").is_file()


def test_the_middles_at_full_size_come_first_and_then_any_place(home, monkeypatch):
    whole = [torch.from_numpy(np.array(Image.open(f"pictures/{k}.png"))) for k in range(3)]
    middles = [picture[12:28, 17:33] / 127.5 - 1 for picture in whole]
    measured, seen = SpectralTable.measured, []
    watching = lambda *given: seen.append(given[1][:, 0].cpu()) or measured(*given)
    monkeypatch.setattr(SpectralTable, "measured", watching)
    Prior.of(Recipe(prior="tiny")).calibrate(Path("pictures"), count=5, side=16)
    (crops,) = seen
    found = [[torch.equal(crop, middle) for middle in middles] for crop in crops]
    assert [sum(column) for column in zip(*found[:3], strict=True)] == [1, 1, 1]
    assert not any(map(any, found[3:]))


def test_small_pictures_take_a_small_size(run):
    code, _, err = run("priors", "calibrate", "tiny", "--pictures", "pictures")
    assert code == 2
    assert "at least 96 x 96" in err
    assert "smaller crops" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tiny", "--pictures", "nothing"), "has none"),
        (("tiny", *QUICK, "--size", 4), "8 pixels or more"),
        (("tiny", *QUICK, "--size", 4000), "Try --size 32"),
        (("tiny", *QUICK, "--count", 1), "2 to 1000"),
        (("tiny", *QUICK, "--domain", "smells"), "motion"),
        (("magic", *QUICK), "hdagger priors"),
        (("motion", *QUICK), "106 channels"),
        (("motion", "--pictures", "pictures", "--domain", "motion"), "by frequency"),
        (("digits-classifier", *QUICK), "classifier"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(run, home, arguments, says):
    code, _, err = run("priors", "calibrate", *map(str, arguments))
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (home / TABLE).exists()


def test_a_latent_prior_is_refused(pipeline, tmp_path):  # noqa: F811
    from hdagger.errors import SettingError
    from hdagger.priors import latent

    network = latent.from_folder(pipeline, "")
    assert isinstance(network, LatentDenoiser)
    prior = Prior(zoo.card("tiny"), network, "ab")
    with pytest.raises(SettingError, match="one of codes"):
        prior.calibrate(Path("pictures"))


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(home):
    prior = Prior.of(Recipe(prior="tiny"))
    Path("blocked").write_text("a file where the folder should be")
    card = replace(prior.card, weights=Path("blocked/tiny.safetensors"))
    with pytest.raises(FileError, match=r"blocked cannot be written\. Copy tiny") as error:
        replace(prior, card=card).calibrate(Path("nothing"), count=3, side=16)
    assert "\n" not in str(error.value)


def test_a_measurement_that_is_stopped_leaves_the_old_table(home, monkeypatch):
    prior = Prior.of(Recipe(prior="tiny"))
    prior.calibrate(Path("pictures"), count=3, side=16)
    before = (home / TABLE).read_bytes()

    def stop(done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prior.calibrate(Path("pictures"), count=3, side=16, seed=1, watch=stop)
    assert (home / TABLE).read_bytes() == before
    assert len(list(home.iterdir())) == 3


def test_a_table_of_other_weights_is_refused(run, home):
    assert run("priors", "calibrate", "file.safetensors", *QUICK)[0] == 0
    torch.manual_seed(1)
    UNetDenoiser(TINY).save(Path("other.safetensors"))
    shutil.copy("file.covariance.safetensors", "other.covariance.safetensors")
    Image.effect_noise((20, 24), 60).save("noisy.png")
    code, _, err = run("restore", "noisy.png", "--denoise", 60, "--prior", "other.safetensors")
    assert code == 2
    assert "belongs to other weights" in err


def test_a_verdict_on_drawn_steps_belongs_to_the_table(run, home):
    from hdagger.calibration import plan

    def subject(method):
        recipe = Recipe(method, steps=2, samples=2, prior="tiny")
        return plan(recipe, simulations=2, side=16).promised

    prior = Prior.of(Recipe(prior="tiny"))
    for seed in (0, 1):
        prior.calibrate(Path("pictures"), count=3, side=16, seed=seed)
        verdicts = [subject(method) for method in ("drawn", "ddrm")]
        known = [found_on(verdict.subject).same is not None for verdict in verdicts]
        assert known == [False, seed == 1]
        for verdict in verdicts:
            store(replace(verdict, words="as they should"))
        assert all(found_on(verdict.subject).same for verdict in verdicts)
    assert verdicts[0].subject.covariance_sha256
    assert not verdicts[1].subject.covariance_sha256
