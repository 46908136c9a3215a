"""One generic prior against specialists: tables of a run of `hdagger bench talk`, and a picture.

    hdagger bench talk --prior digits --pictures data/digits/test ... -o runs/digits-talk
    python benchmarks/specialists.py runs/digits-talk [--sheet sheet.png]

A table for each score, methods down and tasks across; a specialist's own task is in bold. The
sheet has columns for the first digits of each specialist's task, and rows for the data, what was
made of them by those that were trained for it, or for no task, and the truth.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from urllib.parse import quote

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from hdagger.bench.talk import models
from hdagger.bench.talk.pictures import sources
from hdagger.bench.talk.scores import kid
from hdagger.bench.talk.tasks import TASKS
from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.words import operator_of
from hdagger.domains.pictures.writing import to_image
from hdagger.priors import checkpoint
from hdagger.problem import Problem
from hdagger.specialists.base import Specialist, in_frame
from hdagger.specialists.training import SpecialistPlan

SCORES = {
    "psnr": ("PSNR of one sample, dB", 1, ".2f"),
    "psnr_mean": ("PSNR of the mean of the samples, dB", 1, ".2f"),
    "read": ("read as the truth's label, %", 100, ".0f"),
}
"""Column of the run's table -> title, unit, digits."""

Cells = Mapping[tuple[str, str], Mapping[str, str]]


def specialist(method: str) -> Specialist | None:
    """The network of a row's file; None for a prior with a sampler."""
    if not method.endswith(".safetensors"):
        return None
    kind, _ = checkpoint.read_kind(Path(method))
    found = SpecialistPlan.networks[kind].load(Path(method))
    assert isinstance(found, Specialist)
    return found


def cells_of(run: Path) -> Cells:
    with (run / "table.csv").open() as file:
        return {(row["task"], row["method"]): row for row in csv.DictReader(file)}


def table(cells: Cells, score: str) -> str:
    title, unit, digits = SCORES[score]
    tasks, methods = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    lines = [f"{title}:", "", f"| method | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    for method in methods:
        of = specialist(method)
        name, own = (method, None) if of is None else (of.name, of.notes.get("task"))
        shown = []
        for task in tasks:
            cell = cells.get((task, method), {})
            text = ""
            if cell.get(score):
                half = f" ± {unit * float(cell[score + '_half']):{digits}}"
                text = f"{unit * float(cell[score]):{digits}}{half}"
            shown.append(f"**{text}**" if task == own else text)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


@torch.no_grad()
def kids(runs: Sequence[Path], pictures: Path, features: str) -> str:
    """KID x 1000 of each cell's samples from other held-out digits, 12 sets of as many.

    Few samples would be too close to the digits that they are of: each has its truth among them.
    """
    see = models.features(features, False)
    cells = {key: run for run in runs for key in cells_of(run)}
    most = max(int(row["pictures"]) for run in runs for row in cells_of(run).values())
    every = torch.cat([see(s.read(1, 28)[None]) for s in sources(pictures, 13 * most)]).double()
    others = every[most:].split(most)

    def distance(x: Tensor) -> str:
        found = [kid(x, other[: len(x)]) for other in others]
        value, half = fmean(e.value for e in found), fmean(e.half or 0 for e in found)
        return f"{1000 * value:.0f} ± {1000 * half:.0f}"

    tasks, methods = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    lines = [f"KID x 1000 by {features}; of the digits: {distance(every[:most])}.", ""]
    lines += [f"| method | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    for method in methods:
        of = specialist(method)
        name, own = (method, None) if of is None else (of.name, of.notes["task"])
        shown = []
        for task in tasks:
            text = ""
            if (task, method) in cells:
                place = cells[task, method] / "rows" / task / quote(method, safe=" =.,")
                files = sorted(place.glob("*.png"))[:most]
                text = distance(
                    torch.cat([see(read_picture(f).pixels[None]) for f in files]).double()
                )
            shown.append(f"**{text}**" if task == own else text)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def costs(cells: Cells) -> str:
    lines = ["| method | calls | s a sample | training |", "|---|---|---|---|"]
    for method in dict.fromkeys(method for _, method in cells):
        of = specialist(method)
        row = next(row for (_, name), row in cells.items() if name == method)
        name, cost = (method, "the prior's") if of is None else (of.name, of.cost)
        lines.append(
            f"| {name} | {float(row['calls']):.0f} | {float(row['seconds']):.2g} | {cost} |"
        )
    return "\n".join(lines)


def drawn(runs: Sequence[Path], task: str, count: int) -> Mapping[str, list[Tensor]]:
    """What each method made of the first pictures of a task; of specialists, those for it."""
    found: dict[str, list[Tensor]] = {}
    for run in runs:
        for task_, method in cells_of(run):
            of = specialist(method)
            if task_ == task and (of is None or of.notes["task"] in (task, "none")):
                place = run / "rows" / task / quote(method, safe=" =.,")
                files = sorted(place.glob("*.png"))[:count]
                name = method if of is None else of.title
                found[name] = [read_picture(file).pixels for file in files]
    return found


def sheet(runs: Sequence[Path], pictures: Path, tasks: Sequence[str], count: int) -> Image.Image:
    """Rows: the data as a network sees them, each method, the truth; columns: pictures."""
    rows: dict[str, list[Tensor]] = {}
    for task in tasks:
        made = drawn(runs, task, count)
        seen, truths = [], []
        for source in sources(pictures, count):
            x = source.read(1, 28)
            measurement = TASKS[task].measured(x, source.item, 0)
            problem = Problem.of(measurement.y, operator_of(measurement), measurement.sigma_y)
            truths.append(x)
            seen.append(in_frame(problem)[0])
        blank = [torch.ones_like(x) for x in truths]
        names = dict.fromkeys([*rows, "measured", *made])
        names.pop("truth", None)
        for name in [*names, "truth"]:
            row = rows.setdefault(name, [])
            row += {"measured": seen, "truth": truths, **made}.get(name, blank)
    return labelled({name: rows[name] for name in [*(n for n in rows if n != "truth"), "truth"]})


def labelled(rows: Mapping[str, Sequence[Tensor]], scale: int = 3) -> Image.Image:
    """Pictures in rows, each row after its name."""
    left = 7 * max(map(len, rows)) + 8
    made = [to_image(torch.cat([x.float() for x in row], dim=2)) for row in rows.values()]
    height = scale * made[0].height
    page = Image.new("L", (left + scale * made[0].width, height * len(made)), "white")
    for number, (name, row) in enumerate(zip(rows, made, strict=True)):
        large = row.resize((scale * row.width, height), Image.Resampling.NEAREST)
        page.paste(large, (left, height * number))
        ImageDraw.Draw(page).text((4, height * number + height // 2 - 6), name, fill="black")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of hdagger bench talk")
    parser.add_argument("--sheet", type=Path, help="draw restored pictures here")
    parser.add_argument("--pictures", type=Path, default=Path("data/digits/test"))
    parser.add_argument("--features", default="digits-classifier", help="of KID")
    parser.add_argument("--count", type=int, default=4, help="pictures of each task on it")
    arguments = parser.parse_args()
    cells = {key: row for run in arguments.runs for key, row in cells_of(run).items()}
    present = [s for s in SCORES if any(s in row and row[s] for row in cells.values())]
    tables = [table(cells, score) for score in present]
    print(
        "\n\n".join(
            [*tables, kids(arguments.runs, arguments.pictures, arguments.features), costs(cells)]
        )
    )
    if arguments.sheet:
        own = [found.notes["task"] for _, method in cells if (found := specialist(method))]
        tasks = [task for task in dict.fromkeys(own) if task in TASKS]
        sheet(arguments.runs, arguments.pictures, tasks, arguments.count).save(arguments.sheet)
        print(arguments.sheet, file=sys.stderr)


if __name__ == "__main__":
    main()
