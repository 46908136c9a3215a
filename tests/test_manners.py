"""What every command keeps to: streams, JSON, exit codes, colours, a stop, completion."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from hdagger import completion
from hdagger.cli.main import app, main
from hdagger.domain import DOMAINS
from hdagger.domains.pictures.options import WORDS, complete
from hdagger.domains.pictures.words import DAMAGES
from hdagger.priors.cards import known
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samplers import METHODS
from hdagger.telling import Exit, tell

ROOT = Path(__file__).parents[1]
QUICK = ("--samples", "2", "--steps", "2")
PROGRAM = "import sys; sys.argv[0] = 'hdagger'; from hdagger.cli.main import main; main()"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a picture and a tiny prior."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    UNetDenoiser(UNetShape(widths=(8,), embedding=8, heads=2)).save(Path("tiny.safetensors"))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save("x.png")
    return tmp_path


DETECT = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"
"""With it, the shell is the one that is named."""


def command(*arguments):
    return [sys.executable, "-c", PROGRAM, *map(str, arguments)]


def piped(monkeypatch, capfdbinary, content, *arguments):
    """(exit code, stdout, stderr) of a command that reads this."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    monkeypatch.setattr(sys, "argv", ["hdagger", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, *capfdbinary.readouterr()


def test_a_picture_goes_through_a_pipe(place, monkeypatch, capfdbinary):
    said = ("--denoise", 20, "--prior", "tiny.safetensors", *QUICK)
    named = piped(monkeypatch, capfdbinary, b"", "restore", "x.png", *said, "-o", "out")
    assert named[0] == 0
    content = Path("x.png").read_bytes()
    code, out, err = piped(monkeypatch, capfdbinary, content, "restore", "-", *said, "-o", "-")
    assert code == 0
    assert out == Path("out/mean.png").read_bytes()
    assert b"the mean, from 2 samples" in err
    assert {path.name for path in place.iterdir()} == {"x.png", "tiny.safetensors", "out"}
    code, out, err = piped(
        monkeypatch, capfdbinary, content, "degrade", "-", "--upscale", 2, "-o", "-"
    )
    assert code == 0
    assert Image.open(io.BytesIO(out)).size == (8, 8)


def test_a_measurement_and_a_jpeg_go_through_a_pipe(place, monkeypatch, capfdbinary):
    prior = ("--prior", "tiny.safetensors", *QUICK)
    damage = ("degrade", "x.png", "--upscale", 2, "--sigma-y", 0.1)
    assert piped(monkeypatch, capfdbinary, b"", *damage)[0] == 0
    content = Path("degraded/measurement.npz").read_bytes()
    code, out, _ = piped(monkeypatch, capfdbinary, content, "restore", "-", *prior, "-o", "-")
    assert code == 0
    assert Image.open(io.BytesIO(out)).size == (16, 16)
    Image.open("x.png").save("x.jpg", quality=10)
    content = Path("x.jpg").read_bytes()
    code, _, err = piped(monkeypatch, capfdbinary, content, "restore", "-", *prior)
    assert code == 0
    assert b"of quality 10" in err
    assert Path("restored/report.html").exists()


@pytest.mark.parametrize(
    ("content", "arguments", "says"),
    [
        (b"", ("-o", "-"), b"a picture on the input, but got nothing"),
        (b"no picture", ("-o", "-"), b"the input is not one that can be read"),
        (b"PK\3\4", ("-o", "-"), b"the input is not one that can be read"),
        (b"x", ("-o", "-", "--json"), b"but got -o - and --json"),
    ],
)
def test_what_cannot_go_through_a_pipe_is_said_beside_it(
    place, monkeypatch, capfdbinary, content, arguments, says
):
    code, out, err = piped(monkeypatch, capfdbinary, content, "restore", "-", *arguments)
    assert (code, out) == (2, b"")
    assert says in err
    assert len(err.splitlines()) == 1


def lines(out):
    found = [json.loads(line) for line in out.splitlines()]
    assert found
    assert all(isinstance(each, dict) for each in found)
    return found


def test_json_has_one_shape_everywhere(place, run):
    """An object a line, and nothing else on the output."""
    prior = ("--prior", "tiny.safetensors", *QUICK)
    noisy = ("--denoise", 20, *prior, "--json")
    clip = np.zeros((4, 35))
    clip[:, 2], clip[:, 3] = 0.9, 1
    for arguments, count, key in (
        (("degrade", "x.png", "--upscale", 2, "--json"), 1, "operator"),
        (("restore", "x.png", *noisy, "-o", "a"), 1, "chi2_dof"),
        (("restore", "x.png", *noisy, "--seed", 1, "-o", "b"), 1, "chi2_dof"),
        (("report", "a", "b", "--json"), 2, "report"),
        (("compare", "a", "b", "--truth", "x.png", "--json"), 2, "crps"),
        (("priors", "--json"), len(known()), "licence"),
        (("batch", "x.png", "-o", "many", "--recipe", "a/recipe.toml", "--json"), 1, "failed"),
    ):
        code, out, err = run(*arguments)
        assert code == 0, err
        found = lines(out)
        assert len(found) == count, arguments
        assert all(key in each for each in found)
    small = ("--size", 8, "--simulations", 2, "--draws", 2, "--steps", 2, "--json")
    both = ("--operator", "average:2", "--operator", "none")
    assert [each["operator"] for each in lines(run("check", *small, *both)[1])] == [
        "average:2", "none",
    ]  # fmt: skip
    assert lines(run("priors", "check", "tiny.safetensors", "--size", 8, "--json")[1])
    code, out, err = run(
        "bench", "mixture", "--dim", 2, "--observed", 1, "--steps", 2, "--problems", 1,
        "--method", "tmpd", "--workers", 1, "--rows", "rows.json", "--json",
    )  # fmt: skip
    assert (code, err) == (0, ""), err
    assert lines(out)[0].items() <= json.loads(Path("rows.json").read_text())[0].items()


def commands(command, path=()):
    """Every command that does something: its words, and the command."""
    inner = getattr(command, "commands", {})
    if not inner or (path and command.callback is not None):
        yield " ".join(path), command
    for name, one in inner.items():
        yield from commands(one, (*path, name))


def test_every_command_has_json():
    root = typer.main.get_command(app)
    said = {name: [o for p in one.params for o in p.opts] for name, one in commands(root)}
    assert len(said) > 30
    assert [name for name, options in said.items() if "--json" not in options] == []


def test_what_is_simulated_and_trained_is_told_as_json(place, run):
    for name, *words in (
        ("lens", "--pixels", 24),
        ("mri", "x.png", "--pixels", 32, "--coils", 2),
        ("ct", "--pixels", 16, "--views", 4),
    ):
        code, out, err = run(name, "simulate", *words, "-o", name, "--json")
        assert (code, err) == (0, "")
        (told,) = lines(out)
        assert Path(told["measurement"]).is_file()
        assert Path(told["truth"]).is_file()
    Path("photos").mkdir()
    Image.open("x.png").resize((24, 24)).save("photos/x.png")
    Path("plan.toml").write_text(
        'photographs = "photos"\nupdates = 2\nbatch = 1\ncrops = [16]\n'
        "[unet]\nwidths = [8]\nembedding = 8\nheads = 2\n"
    )
    code, out, err = run("train", "plan.toml", "-o", "run", "--json")
    assert (code, err) == (0, "")
    last, made = lines(out)
    assert (last["step"], last["left"]) == (2, 0)
    assert UNetDenoiser.load(Path(made["file"]))


def test_infinite_numbers_are_null(capsys):
    tell({"psnr": float("inf"), "each": [float("nan"), (1.5, {"x": -float("inf")})], "n": 3})
    told = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word))
    assert told == {"psnr": None, "each": [None, [1.5, {"x": None}]], "n": 3}


def test_a_name_tells_the_terminal_nothing(run):
    """An escape in the name of a file that somebody sent is not obeyed."""
    code, _, err = run("restore", "\x1b[31m\x07red\n.png")
    assert code == 2
    assert "but ?[31m?red .png does not exist" in err


def unsound(path):
    """A prior whose weights are noise."""
    network = UNetDenoiser(UNetShape(widths=(8,), embedding=8, heads=2))
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    network.save(path)
    return path


def test_the_exit_codes_are_those_of_the_docs():
    page = (ROOT / "docs/shell.md").read_text()
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == list(Exit)


def test_exit_codes_are_kept(place, run):
    assert run("priors")[0] == 0
    code, out, _ = run("priors", "check", unsound(Path("bad.safetensors")), "--size", 8)
    assert code == 1, out
    assert run("restore", "none.png")[0] == run("restore")[0] == run("nonsense")[0] == 2
    Path("many").mkdir()
    Path("many/broken.png").write_bytes(b"no picture")
    Path("recipe.toml").write_text("prior = 'tiny.safetensors'\nsteps = 2\nsamples = 1\n")
    assert run("batch", "many", "--recipe", "recipe.toml", "-o", "out")[0] == 1


def test_error_bars_that_do_not_hold_are_a_failure(run):
    small = ("--size", 16, "--simulations", 24, "--draws", 9, "--steps", 4, "--method", "ddrm")
    code, out, _ = run("check", *small, "--sigma-y", 0.5)
    assert "over-confident" in out
    assert code == 1


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_batch_that_is_stopped_goes_on(place, run, how, code):
    Path("many").mkdir()
    for k in range(40):
        Image.new("RGB", (16, 16), (k, 2 * k, 90)).save(f"many/{k}.png")
    Path("recipe.toml").write_text(
        "prior = 'tiny.safetensors'\nsteps = 3\nsamples = 2\n[damage]\nsigma_y = 0.1\n"
    )
    words = ("batch", "many", "--recipe", "recipe.toml", "-o", "out", "--json")
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored behind a shell's &
    with subprocess.Popen(
        command(*words), stdout=-1, stderr=-1, text=True, preexec_fn=heard
    ) as program:
        until = time.monotonic() + 240
        while not list(Path("out").glob("*/item.json")) and time.monotonic() < until:
            time.sleep(0.02)
        program.send_signal(how)
        out, err = program.communicate(timeout=240)
    assert (program.returncode, out) == (code, "")
    assert err == "hdagger: Stopped; nothing is half-written.\n"
    done = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/item.json")}
    assert 0 < len(done) < 40
    assert not list(Path("out").rglob(".partial*/*"))
    status, out, _ = run(*words)
    assert (status, json.loads(out)["done"], json.loads(out)["new"]) == (0, 40, 40 - len(done))
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


def in_a_terminal(arguments, **more):
    """What a command writes to a terminal: to both of its streams."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **more},
    ) as program:  # fmt: skip
        os.close(theirs)
        said = b""
        while select.select([ours], [], [], 240)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            said += part
        assert program.wait(timeout=240) == 0, said
    os.close(ours)
    return said.decode()


def test_colours_and_bars_are_for_terminals_that_want_them(place, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    words = ("restore", "x.png", "--denoise", 20, "--prior", "tiny.safetensors", *QUICK)
    seen = in_a_terminal(words)
    assert "━" in seen
    assert "\x1b[" in seen
    plain = in_a_terminal(words, NO_COLOR="1")
    assert "━" not in plain
    assert "\x1b[" not in plain
    done = subprocess.run(command(*words), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_names_that_a_shell_completes_are_those_there_are():
    assert set(completion.methods("")) == {"auto", "quick", *METHODS}
    assert set(completion.domains("")) == set(DOMAINS)
    assert {card.name for card in known()} <= set(completion.priors(""))
    assert set(WORDS) == set(DAMAGES)
    assert completion.methods("dd") == ["ddim", "ddrm"]
    assert complete("average:4 | j") == ["average:4 | jpeg"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("hdagger restore --method pi", ["pigdm"]),
        ("hdagger mri restore --prior bra", ["brain"]),
        ("hdagger batch --domain len", ["lensing"]),
        ("hdagger check --operator av", ["average"]),
        ("hdagger comp", ["compare"]),
    ],
)
def test_a_shell_completes_without_torch(typed, words):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([n for n in ('torch', 'numpy', 'PIL') "
        "if n in sys.modules], file=sys.stderr))\n" + PROGRAM
    )
    told = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env=os.environ | told | {"_HDAGGER_COMPLETE": "complete_bash"},
    )  # fmt: skip
    assert done.stdout.split() == words, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_completion_is_installed(tmp_path):
    done = subprocess.run(
        command("--install-completion", "bash"), capture_output=True, text=True,
        env=os.environ | {"HOME": str(tmp_path), DETECT: "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    script = (tmp_path / ".bash_completions/hdagger.sh").read_text()
    assert "_HDAGGER_COMPLETE=complete_bash" in script
