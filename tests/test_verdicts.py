"""Verdicts on a prior: kept beside its weights, told by its reports, gone with its weights."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from hdagger.errors import FileError
from hdagger.priors import zoo
from hdagger.verdicts import Verdict, fingerprint, store, stored, verdict_file

VERDICT = Verdict(
    method="ddrm",
    steps=20,
    prior_sha256="ab",
    operator="average:4",
    sigma_y=0.1,
    truths="3 crops of pictures",
    side=32,
    draws=19,
    coverage_90=0.71,
    chi2_dof=0.8,
    words="the 90 % intervals cover 71 %: over-confident",
)


def test_a_verdict_survives_its_file_and_replaces_its_like(tmp_path):
    weights = tmp_path / "prior.safetensors"
    assert stored(weights, "ab") == []
    blur = replace(VERDICT, operator="gauss:2", chi2_dof=None)
    again = replace(VERDICT, coverage_90=0.9)
    for verdict in (VERDICT, blur, again):
        store(weights, verdict)
    assert stored(weights, "ab") == [blur, again]
    assert "71 %" in str(VERDICT)


def test_verdicts_go_with_their_weights(tmp_path):
    weights = tmp_path / "prior.safetensors"
    store(weights, VERDICT)
    assert stored(weights, "cd") == []
    trained = replace(VERDICT, prior_sha256="cd")
    store(weights, trained)
    assert stored(weights, "ab") == []
    assert stored(weights, "cd") == [trained]


@pytest.mark.parametrize("text", ["nonsense", "[1]", '[{"method": "ddrm"}]', "5", " " * 2_000_000])
def test_a_file_that_holds_something_else_is_named(tmp_path, text):
    weights = tmp_path / "prior.safetensors"
    verdict_file(weights).write_text(text)
    with pytest.raises(FileError, match="Move it away"):
        stored(weights, "ab")


def test_a_check_is_stored_and_the_report_tells_it(run):
    Path("pictures").mkdir()
    picture = Image.effect_noise((24, 24), 60).resize((64, 64)).convert("RGB")
    picture.save("pictures/one.png")
    shutil.copy(zoo.card("photo").weights, "own.safetensors")

    def told(*arguments):
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    picture.save("old.jpg", quality=10)
    told("restore", "old.jpg", "--prior", "own.safetensors", "--steps", "2", "--samples", "1")
    advice = "--method cells --prior own.safetensors --operator jpeg:10 --sigma-y 0 --store"
    assert advice in Path("restored/report.html").read_text()
    quick = ("--prior", "own.safetensors", "--steps", "2", "--method", "ddrm")
    restore = ("restore", "pictures/one.png", "--upscale", "2", *quick, "--samples", "1")
    assert "have not been checked" in told(*restore)
    small = ("--size", "8", "--simulations", "2", "--draws", "19", "--operator", "average:2")
    told("check", *quick, *small, "--pictures", "pictures", "--store")
    (found,) = stored(Path("own.safetensors"), fingerprint(Path("own.safetensors")))
    assert found.truths == "2 crops of pictures"
    assert str(found) in told(*restore)
    assert found.words in Path("restored/report.html").read_text()
    assert json.loads(Path("restored/summary.json").read_text())["checks"][0]["steps"] == 2
    assert "draws of the prior" not in told("check", *quick, *small)


def test_the_verdicts_on_a_bundled_prior_are_of_its_weights():
    for card in zoo.cards():
        if verdict_file(card.weights).exists():
            assert stored(card.weights, card.sha256), card.name
