"""``hdagger doctor`` tells what is there, and finds what is wrong."""

import json

import pytest
import torch

from hdagger import selftest
from hdagger.cli.doctor import _missing


def test_all_is_well_here(run):
    code, out, error = run("doctor")
    assert code == 0, out + error
    assert out.splitlines()[-1] == "All is well."
    assert out.count("\nwell") == 3
    code, out, _ = run("doctor", "--json")
    told = json.loads(out)
    assert told["well"]
    assert told["torch"] == torch.__version__
    assert told["missing"]["jpeg"] == []


def test_samples_of_another_law_are_wrong(run, monkeypatch):
    solve = selftest.solve

    def too_narrow(*arguments, **more):
        drawn = solve(*arguments, **more)
        mean = drawn.draws.mean(0)
        object.__setattr__(drawn, "draws", mean + 0.9 * (drawn.draws - mean))
        return drawn

    monkeypatch.setattr("hdagger.selftest.solve", too_narrow)
    code, out, _ = run("doctor")
    assert code == 1
    assert "WRONG        samples of a Gaussian" in out
    assert out.splitlines()[-1].startswith("Something is wrong")


def test_broken_weights_are_wrong(monkeypatch):
    monkeypatch.setattr("hdagger.selftest.fingerprint", lambda path: path.name)
    finding = selftest._whole_weights()
    assert not finding.well
    assert "photo" in finding.answer


@pytest.mark.parametrize("extra", ["jpeg", "motion"])
def test_what_is_missing_is_named(monkeypatch, extra):
    assert _missing(extra) == []
    monkeypatch.setattr("hdagger.cli.doctor._version", lambda name: "missing")
    assert _missing(extra)
