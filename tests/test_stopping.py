"""Long work that is stopped ends in one line, keeps what is done, and goes on by the same command.

Real processes in a group of their own, as a terminal has them: Ctrl-C goes to all of the group.
"""

import json
import os
import signal
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger.domains.pictures.training import Training, TrainingPlan
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.stopping import held_back
from hdagger.trials import pool

PROGRAM = "from hdagger.cli.main import main; main()"
PLAN = """
photographs = "photos"
updates = 5000
batch = 2
crops = [16]
flat = 0.002
[unet]
widths = [8]
embedding = 8
heads = 2
"""
LONG = 240
"""Seconds that a busy machine may take for anything."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two pictures of noise to learn from."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for k in range(2):
        Path("photos").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{k}.png")
    return tmp_path


@pytest.fixture
def interrupted():
    """Both stops raise KeyboardInterrupt here, as they do in a command."""
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in stops}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def heard():
    """Ctrl-C, which a program behind a shell's & would ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stopped(arguments, begun, how, to_all=False):
    """Runs a command until something has begun, and stops it; (exit code, output, errors)."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=-1, stderr=-1, text=True, preexec_fn=heard, start_new_session=True,
    ) as program:  # fmt: skip
        until = time.monotonic() + LONG
        while not begun() and program.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        (os.killpg if to_all else os.kill)(program.pid, how)
        out, err = program.communicate(timeout=LONG)
    while is_alive(program.pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_alive(program.pid), "nothing that it has started is left"
    return program.returncode, out, err


def is_alive(group):
    """Whether a process of this group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


LINE = "hdagger: Stopped; nothing is half-written.\n"


def test_a_training_that_is_stopped_goes_on(place):
    Path("plan.toml").write_text(PLAN)
    words = ("train", "plan.toml", "-o", "run")
    flat = Path("run/flat.pt")
    status, out, err = stopped(words, flat.is_file, signal.SIGTERM)
    assert (status, err) == (143, LINE)
    assert "M parameters" in out
    step = torch.load("run/state.pt", weights_only=True)["step"]
    assert 10 < step < 5000
    assert UNetDenoiser.load(Path("run/prior.safetensors"))
    assert not list(Path("run").glob(".partial*"))
    before = time.monotonic()
    status, out, err = stopped(words, lambda: time.monotonic() > before + 15, signal.SIGINT)
    assert (status, err) == (130, LINE)
    assert f"going on at step {step}" in out
    assert torch.load("run/state.pt", weights_only=True)["step"] > step


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("interrupted")
def test_a_training_stops_between_updates(place, monkeypatch, how):
    """So it ends with the weights, to the bit, of one that was never stopped."""
    shape = UNetShape(widths=(8,), embedding=8, heads=2)
    plan = TrainingPlan(Path("photos"), updates=6, batch=2, crops=(16,), unet=shape)
    whole, parts = (Training(plan, Path(name), "cpu") for name in ("whole", "parts"))
    whole.run(lambda progress: None)
    step, taken = parts.adam.step, 0

    def stopped_step(*args):
        nonlocal taken
        taken += 1
        if taken == 3:
            signal.raise_signal(how)
        return step(*args)

    monkeypatch.setattr(parts.adam, "step", stopped_step)
    with pytest.raises(KeyboardInterrupt):
        parts.run(lambda progress: None)
    again = Training(plan, Path("parts"), "cpu")
    assert again.step == 3
    again.run(lambda progress: None)
    ours, theirs = (Path(name, "prior.safetensors").read_bytes() for name in ("parts", "whole"))
    assert ours == theirs


@pytest.mark.usefixtures("interrupted")
def test_a_stop_is_held_back_and_then_heard():
    done = []

    def work():
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def is_deaf(number):
    """Whether this process never hears Ctrl-C."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_processes_of_a_benchmark_never_hear_ctrl_c():
    """Not while they start either, when they would tell of it in many lines."""
    with pool(2) as each:
        assert dict(each(is_deaf, [(0,), (1,)])) == {0: True, 1: True}
    assert not is_deaf(0)


def rows():
    """What a benchmark has done."""
    path = Path("rows.json")
    return json.loads(path.read_text()) if path.is_file() else []


@pytest.mark.parametrize(
    ("words", "how", "code", "to_all"),
    [
        (("mixture", "--dim", 8, "--observed", 1, "--problems", 2), signal.SIGTERM, 143, False),
        (("field", "--task", "sr4", "--samples", 19), signal.SIGINT, 130, True),
    ],
)
def test_a_benchmark_that_is_stopped_keeps_its_rows(
    tmp_path, monkeypatch, words, how, code, to_all
):
    monkeypatch.chdir(tmp_path)
    command = ("bench", *words, "--workers", 2, "--rows", "rows.json")
    assert stopped(command, rows, how, to_all) == (code, "", LINE)
    assert rows()
    assert not list(Path().glob(".partial*"))


def test_a_table_that_is_stopped_keeps_its_rows(place):
    """Their pictures, too, though processes of their own write them."""
    torch.manual_seed(0)
    UNetDenoiser(UNetShape(widths=(8,), embedding=8, heads=2)).save(Path("tiny.safetensors"))
    command = (
        "bench", "talk", "--prior", "tiny.safetensors", "--pictures", "photos", "--side", 16,
        "--methods", "ddrm,ddrm steps=100", "--samples", 2, "--workers", 2, "-o", "table",
    )  # fmt: skip
    done = lambda: [Path(found) for found in glob("table/**/*.json", recursive=True)]
    assert stopped(command, done, signal.SIGTERM) == (143, "", LINE)
    assert all(path.with_suffix(".png").is_file() for path in done())
    assert not Path("table/table.md").exists()
    assert not list(Path("table").rglob(".partial*"))
