"""A clip as a job, for batches and for the page: read, restored, written where it was."""

from pathlib import Path

import pytest
import torch
from motion_clips import stepping

from hdagger.domain import DOMAINS
from hdagger.domains.motion.clips import Motion
from hdagger.domains.motion.files import read_motion, write_motion
from hdagger.domains.motion.metrics import root_relative_distance
from hdagger.errors import FileError, SettingError
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare

RECIPE = Recipe(prior="motion", steps=4, samples=2)


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A walk of a second, away from the origin; bodies are drawn as sticks, which is quick."""
    monkeypatch.setattr("hdagger.domains.motion.render.offscreen", lambda: None)
    write_motion(tmp_path / "walk.npz", stepping(30).shifted(torch.tensor([3.0, 2.0, 0.0])))
    return tmp_path / "walk.npz"


@pytest.mark.parametrize(
    ("said", "operator", "done"),
    [
        ({}, "none", "freed from noise of 0.1"),
        ({"sigma_y": 0.2}, "none", "freed from noise of 0.2"),
        ({"keep": "0:10,20:30"}, "frames", "completed from its frames 0:10,20:30"),
        ({"trackers": "head,hands", "noise": 0.02}, "trackers:head,hands | frames", "from head,h"),
    ],
)
def test_a_clip_is_restored_where_it_was(clip, tmp_path, said, operator, done):
    job = DOMAINS["motion"].job(clip, said)
    assert job.measurement.operator == operator
    assert done in job.notes[0]
    assert job.given().size == job.show(job.measurement.y.new_zeros(60, 106)).size == (2560, 320)
    out = tmp_path / "out"
    out.mkdir()
    summary = job.write(out, prepare(RECIPE, job.measurement, Prior.of(RECIPE)).run())
    assert done in summary["title"]
    assert summary["words"][0].startswith("The answer is the one of 2 motions that is nearest")
    given, answer = read_motion(clip), read_motion(out / "000.npz")
    assert len(answer) == len(given)
    assert (answer.qpos[0, :2] - given.qpos[0, :2]).norm() < 0.5
    if "keep" in said:
        assert root_relative_distance(answer[:10], given[:10]) < 1e-6
    assert {path.name for path in out.iterdir()} >= {"000.bvh", "001.gif", "report.html"}


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"slice": 1}, "Wanted a clip told by keep, trackers, noise, sigma_y, joints, but got"),
        ({"keep": "0:10", "trackers": "head"}, "Wanted keep or trackers, but got both"),
        ({"keep": "0:99"}, "Wanted frames from 0 to 30"),
        ({"sigma_y": "much"}, "Wanted a number for sigma_y, but got 'much'"),
        ({"sigma_y": 11}, r"Wanted noise of 0.001 to 10, but got 11"),
        ({"trackers": "head", "noise": -1}, "Wanted noise of 0 to 10 metres, but got -1"),
        ({"trackers": "wings"}, "wings"),
    ],
)
def test_what_does_not_fit_a_clip_is_refused(clip, said, line):
    with pytest.raises(SettingError, match=line):
        DOMAINS["motion"].job(clip, said)


def test_a_clip_that_is_too_long_is_told_before_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(Motion, "resampled", lambda *_: pytest.fail("it is made longer still"))
    write_motion(tmp_path / "long.npz", stepping(100, fps=1.0))
    job, wanted = DOMAINS["motion"].look(tmp_path / "long.npz")
    assert job is None
    assert "but got 2971. Cut it to two seconds" in wanted
    with pytest.raises(FileError, match="does not exist"):
        DOMAINS["motion"].job(tmp_path / "long.npz", {"joints": str(tmp_path / "none.toml")})


def test_a_batch_of_clips(clip, tmp_path, run):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.to_toml())
    (tmp_path / "list.csv").write_text('file,keep,sigma_y\nwalk.npz,"0:10,20:30",\nno.npz,,\n')
    code, out, error = run(
        "batch", tmp_path / "list.csv", "--domain", "motion", "--recipe", recipe, "-o", "out"
    )
    assert (code, out) == (1, "1 of 2 restored, 1 failed: out\n"), error
    assert Path("out/walk.npz/000.bvh").is_file()
    assert "no.npz does not exist" in Path("out/failures.csv").read_text()
