"""Pages that are made from the registries: commands, methods, operators, domains, names.

A Sphinx extension: it writes ``docs/reference`` before the site is read. Methods and operators
run, at tiny size, on the bee.
"""

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import typer
from PIL import Image

import hdagger
from hdagger.cli.main import app
from hdagger.domain import DOMAINS
from hdagger.domains.pictures.domain import PICTURES
from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.words import DAMAGES, picture_of
from hdagger.domains.pictures.writing import to_image
from hdagger.errors import HDaggerError
from hdagger.recipe import Recipe
from hdagger.restoration import restore
from hdagger.samplers import METHODS
from hdagger.settings import settings_of

HERE = Path(__file__).parent
OUT = HERE / "reference"
BEE = HERE.parent / "examples/bee.png"
SIDE, LARGE = 48, 192
"""Pixels of a side: what is restored, and how it is shown."""

MEASURED = HERE / "measured.json"
"""What methods cost and cover on photographs, as benchmarks/posteriors.py keeps it."""

DAMAGE, NOISE, SAMPLES, STEPS = "average:2", 0.05, 4, 12
"""What the methods are shown on, and how."""

OPERATORS = {
    "none": ("", "Noise alone."),
    "mask": ("", "Pixels are missing: those that are white in a picture, or were painted."),
    "average": (":4", "Made smaller: the mean of each 4 x 4 pixels."),
    "bicubic": (":4", "Made smaller as most programs do it."),
    "gauss": (":2", "Blurred by a Gaussian of 2 pixels. What lies around the picture is unknown."),
    "motion": (":9,30", "Shaken: 9 pixels along a line of 30 degrees."),
    "disk": (":3", "Out of focus by 3 pixels."),
    "kernel": ("", "Blurred by a kernel out of a file."),
    "gray": ("", "Without its colours."),
    "jpeg": (":10", "Stored as a JPEG of quality 10."),
    "bits": (":3", "Rounded to 3 bits."),
    "clip": ("", "Too bright and too dark parts are cut off."),
    "gamma": (":2.2", "Bent by a power: not linear."),
}
"""Word of an operator -> the argument with which it is shown, and what it is."""


WHICH = """# Which method when

Say nothing: `restore` takes `drawn` where the prior's covariances were measured, else the best
that can work on the data. `--quick` gives one soft picture at once. Choose yourself to compare, or
where you know better:

{asks}

Measured on photographs that nothing was trained or tuned on: {count} of Kodak's, {crop} x {crop}
of the middle of each, {draws} samples, prior {prior}; seconds on one core, one sample at a time.
Intervals should cover 90 %; less CRPS is better. The pictures are few: a coverage is right to some
per cent.

{measured}

The commands, from where a folder `kodak` is:

    python benchmarks/posteriors.py kodak --crop 48 --most 4 --draws 8 --json docs/measured.json \\
        --methods drawn ddrm pigdm tmpd ddim reconstruction diffpir --tasks average:4
    python benchmarks/posteriors.py kodak --crop 48 --most 4 --draws 8 --json docs/measured.json \\
        --methods drawn cells pigdm --tasks jpeg:10
    python benchmarks/posteriors.py kodak --crop 48 --most 4 --draws 8 --json docs/measured.json \\
        --methods drawn ddrm pigdm --tasks mask
    python benchmarks/posteriors.py kodak --crop 48 --most 4 --draws 8 --json docs/measured.json \\
        --methods drawn ddrm pigdm projection --tasks average:4 --sigma-y 0

A row of another method or task comes in by naming it there. Larger crops, more pictures and other
packages are in [Can I trust these samples?](../trust.md).
"""
"""The page that says which method to take."""


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("builder-inited", lambda app: write_all())
    return {"parallel_read_safe": True}


def write_all() -> None:
    """Writes all pages, and an index of each kind."""
    shutil.rmtree(OUT, ignore_errors=True)
    torch.set_num_threads(1)
    kinds = {
        "commands": ("Commands", dict(commands())),
        "methods": ("Methods", {name: method_page(name) for name in METHODS}),
        "operators": ("Operators on pictures", {name: operator_page(name) for name in DAMAGES}),
        "domains": ("Domains", {name: domain_page(name) for name in DOMAINS}),
    }
    for kind, (title, pages) in kinds.items():
        folder = OUT / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, page in pages.items():
            (folder / f"{name}.md").write_text(page)
        listed = "\n".join(pages)
        shown = gallery(folder, list(pages))
        (folder / "index.md").write_text(
            f"# {title}\n\n{shown}```{{toctree}}\n{':hidden:' if shown else ''}\n{listed}\n```\n"
        )
    (OUT / "names.md").write_text(names_page())
    (OUT / "which.md").write_text(which_page())


def gallery(folder: Path, names: list[str]) -> str:
    """The pictures of pages side by side, each leading to its page; nothing without pictures."""
    if not any((folder / f"{name}.png").is_file() for name in names):
        return ""
    cells = [
        f"[![{name}]({name}.png)]({name}.md)<br>[{name}]({name}.md)"
        if (folder / f"{name}.png").is_file()
        else f"[{name}]({name}.md)"
        for name in names
    ]
    lines = ["| | | |", "|---|---|---|"]
    cells += [""] * (-len(cells) % 3)
    lines += [f"| {' | '.join(cells[k : k + 3])} |" for k in range(0, len(cells), 3)]
    return "\n".join(lines) + "\n\n"


def known_biases() -> dict[str, str]:
    """Method -> what is known to be wrong with it, as the table of methods.md says."""
    rows = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", (HERE / "methods.md").read_text(), re.MULTILINE)
    return {name: cells.split(" | ")[3].strip() for name, cells in rows}


def which_page() -> str:
    """Which method when: what each asks, costs and covers, and what is known to be wrong."""
    measured = json.loads(MEASURED.read_text())
    kept = ("90 % covers", "CRPS", "PSNR of one, of the mean", "calls", "s a sample")
    about, parts = measured[0], []
    for task, noise in dict.fromkeys((row["task"], row["sigma_y"]) for row in measured):
        rows = {r["method"]: r for r in measured if (r["task"], r["sigma_y"]) == (task, noise)}
        said = f"with noise of {noise:g}" if noise else "exact, or rounded"
        lines = [f"## `{task}`, {said}", f"| method | {' | '.join(kept)} |", "|---" * 6 + "|"]
        lines += [
            f"| [{name}](methods/{name}.md) | {' | '.join(rows[name].get(k, '') for k in kept)} |"
            for name in METHODS
            if name in rows
        ]
        parts.append("\n".join([lines[0], "", *lines[1:]]))
    wrong = known_biases()
    asks = ["| method | asks of H | what is known to be wrong |", "|---|---|---|"]
    asks += [
        f"| [{name}](methods/{name}.md) | {_needs(name)} | {wrong.get(name, '')} |"
        for name in METHODS
    ]
    count = about["pictures"].rpartition(" ")[2]
    return WHICH.format(asks="\n".join(asks), measured="\n\n".join(parts), count=count, **about)


def _needs(name: str) -> str:
    needs = getattr(METHODS[name], "needs", None)
    return f"`{needs.__name__}`" if needs is not None else "what its inner method asks"


def commands() -> Iterator[tuple[str, str]]:
    """Name -> page, of every command."""
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        yield name, command_page(f"hdagger {name}", command)


def command_page(name: str, command: Any, level: int = 1) -> str:
    """What --help says; a group's commands follow it."""
    parts = [f"{'#' * level} {name}", inspect.cleandoc(command.help or "")]
    inner = getattr(command, "commands", None)
    if inner:
        parts += [command_page(f"{name} {word}", one, level + 1) for word, one in inner.items()]
    else:
        parts += ["| | |", "|---|---|"]
        shown = [one for one in command.params if one.name not in ("help",)]
        rows = [f"| `{_said(one)}` | {_cell(getattr(one, 'help', '') or '')} |" for one in shown]
        parts[-2:] = ["\n".join([*parts[-2:], *rows])] if rows else []
    return "\n\n".join(parts) + "\n"


def method_page(name: str) -> str:
    """The docstring of a method, its settings, and what it makes of a small picture."""
    method = METHODS[name]
    said = inspect.getdoc(type(method)) or ""
    module = inspect.getmodule(type(method))
    theory = inspect.getdoc(module) or ""
    rows = [f"| `{key}` | {value} |" for key, value in settings_of(method).items()]
    table = "\n".join(["| setting | default |", "|---|---|", *rows])
    wrong = known_biases().get(name, "nobody has said")
    parts = [
        f"# {name}",
        _preformatted(said),
        f"    hdagger restore small.png --upscale 4 --sigma-y 0.05 --method {name}",
        _method_picture(name),
        f"**What is known to be wrong**: {wrong}.",
        f"It asks for {_needs(name)}. [Which method when](../which.md).",
        table,
    ]
    return "\n\n".join([*parts, "## How it works", _preformatted(theory)]) + "\n"


def operator_page(name: str) -> str:
    """What a word of the text form does to the bee."""
    argument, said = OPERATORS[name]
    image = _shown(picture_of(_measured(name + argument, 0.0)).clamp(-1, 1))
    _save(image, f"operators/{name}.png")
    return (
        f"# {name}\n\n{said}\n\nText form: `{name}{argument}`\n\n"
        f"    hdagger degrade bee.png --operator {name}{argument} -o out\n"
        "    hdagger restore out/measurement.npz\n\n"
        f"![The bee behind {name}]({name}.png)\n"
    )


def domain_page(name: str) -> str:
    """What the signals of a domain are."""
    domain = DOMAINS[name]
    said = inspect.getdoc(type(domain)) or ""
    module = inspect.getdoc(inspect.getmodule(type(domain))) or ""
    return f"# {name}\n\n{_preformatted(module)}\n\n{_preformatted(said)}\n"


def names_page() -> str:
    """What ``import hdagger`` gives."""
    entries = []
    for name in sorted(hdagger.__all__):
        found = getattr(hdagger, name)
        kind = "class" if inspect.isclass(found) else "function" if callable(found) else "data"
        home = f"{found.__module__}.{found.__qualname__}" if kind != "data" else f"hdagger.{name}"
        entries.append(f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: {home}\n```")
    return "# Names\n\nWhat `import hdagger` gives.\n\n" + "\n\n".join(entries) + "\n"


@cache
def _bee() -> torch.Tensor:
    image = Image.open(BEE).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    path = OUT / "bee.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return read_picture(path).pixels


def _measured(text: str, sigma_y: float) -> Any:
    x = _bee()
    given = {}
    if text.startswith("kernel"):
        given["kernel"] = torch.eye(5) / 5
    arrays = PICTURES.arrays(text, tuple(x.shape), given, 0)
    return PICTURES.measure(x, text, arrays, sigma_y)


def _method_picture(name: str) -> str:
    text, noise = (DAMAGE, NOISE) if name not in ("cells", "projection") else ("jpeg:10", 0.0)
    text, noise = ("average:2", 0.0) if name == "projection" else (text, noise)
    measurement = _measured(text, noise)
    settings = {"particles": "4"} if name == "smc" else {}
    try:
        drawn = restore(Recipe(name, settings, steps=STEPS, samples=SAMPLES), measurement)
    except HDaggerError as error:
        return f"Not for pictures by itself: {error}"
    pictures = [_bee(), picture_of(measurement).clamp(-1, 1), drawn.mean]
    sheet = Image.new("RGB", (3 * LARGE + 16, LARGE), "white")
    for k, picture in enumerate(pictures):
        sheet.paste(_shown(picture), (k * (LARGE + 8), 0))
    _save(sheet, f"methods/{name}.png")
    about = f"`{text}`" + (f" with noise {noise:g}" if noise else "")
    mean = f"the mean of {SAMPLES} samples, {STEPS} steps each"
    return f"![{name}]({name}.png)\n\nThe truth, {about}, and {mean}."


def _shown(pixels: torch.Tensor) -> Image.Image:
    image = to_image(pixels).convert("RGB")
    scale = LARGE / max(image.size)
    size = round(image.width * scale), round(image.height * scale)
    return image.resize(size, Image.Resampling.NEAREST)


def _save(image: Image.Image, name: str) -> None:
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _preformatted(text: str) -> str:
    """A docstring as it stands: its mathematics are letters, not Markdown."""
    return f"```text\n{text}\n```"


def _said(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return parameter.name.upper()
    return " / ".join(parameter.opts)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("<", r"\<").replace("\n", " ")
