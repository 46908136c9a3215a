"""One generic prior against specialists: tables of a run of `hdagger bench talk`, and a picture.

    hdagger bench talk --prior digits --pictures data/digits/test ... -o runs/digits-talk
    python benchmarks/specialists.py runs/digits-talk --pictures data/digits/test
        [--features digits-classifier] [--sheet sheet.png]

A table for each score, methods down and tasks across; a specialist's own task is in bold. With
--features KID is against pictures of the folder that come after the run's, in up to four sets of
as many, for what was trained for the task or for none; without, against the run's own, as the run
has it. The sheet has columns for the first pictures of each specialist's task, and rows for the
data, what was made of them by those that were trained for it, or for no task, and the truth.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from urllib.parse import unquote

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
from hdagger.trials import table_lines

SCORES = {
    "psnr": ("PSNR of one sample, dB", 1, ".2f"),
    "psnr_mean": ("PSNR of the mean of the samples, dB", 1, ".2f"),
    "read": ("read as the truth's label, %", 100, ".0f"),
    "crps": ("CRPS", 1, ".4f"),
    "kid": ("KID x 1000 of one sample, against the truths", 1000, ".0f"),
}
"""Column of the run's table -> title, unit, digits."""

Cells = Mapping[tuple[str, str], Mapping[str, str]]


@cache
def networks(run: Path) -> Mapping[str, Specialist]:
    """The specialists of a run, by the names of their files."""
    texts = {unquote(place.name) for place in run.glob("rows/*/*")}
    found = {}
    for text in sorted(text for text in texts if text.endswith(".safetensors")):
        kind, _ = checkpoint.read_kind(Path(text))
        network = SpecialistPlan.networks[kind].load(Path(text))
        assert isinstance(network, Specialist)
        found[text] = network
    return found


def specialists(run: Path) -> Mapping[str, Specialist]:
    """The specialists of a run, by what its tables call them."""
    return {network.name: network for network in networks(run).values()}


def places(run: Path, task: str) -> Mapping[str, Path]:
    """Where a run's pictures of a task are, by what its tables call the method."""
    known = networks(run)
    texts = {unquote(place.name): place for place in run.glob(f"rows/{task}/*")}
    return {known[text].name if text in known else text: texts[text] for text in texts}


def shape_of(run: Path) -> tuple[int, int]:
    """Channels and side of a run's pictures."""
    channels, side, _ = read_picture(next(run.rglob("rows/**/*.png"))).pixels.shape
    return channels, side


def cells_of(run: Path) -> Cells:
    with (run / "table.csv").open() as file:
        return {(row["task"], row["method"]): row for row in csv.DictReader(file)}


def grid(
    keys: Iterable[tuple[str, str]],
    known: Mapping[str, Specialist],
    text: Callable[[str, str], str],
) -> list[str]:
    """Methods down and tasks across; a specialist's own task is in bold."""
    tasks, methods = (dict.fromkeys(both) for both in zip(*keys, strict=True))
    rows = []
    for method in methods:
        own, texts = own_task(known, method), {task: text(task, method) for task in tasks}
        rows.append([method, *(f"**{texts[t]}**" if t == own else texts[t] for t in texts)])
    return table_lines(["method", *tasks], rows)


def table(cells: Cells, known: Mapping[str, Specialist], score: str) -> str:
    title, unit, digits = SCORES[score]

    def text(task: str, method: str) -> str:
        cell = cells.get((task, method), {})
        if not cell.get(score):
            return ""
        value, half = (unit * float(cell[name]) for name in (score, f"{score}_half"))
        return f"{value:{digits}} ± {half:{digits}}"

    return "\n".join([f"{title}:", "", *grid(cells, known, text)])


def own_task(known: Mapping[str, Specialist], method: str) -> str | None:
    """What a method was trained for; None for a prior with a sampler."""
    return known[method].notes.get("task") if method in known else None


@torch.no_grad()
def kids(
    known: Mapping[str, Specialist], runs: Sequence[Path], pictures: Path, features: str
) -> str:
    """KID x 1000 of each cell's samples from other pictures, in up to four sets of as many.

    From their own pictures few samples would be too close: each has its truth among them.
    """
    see = models.features(features, False)
    cells = {key: run for run in runs for key in cells_of(run)}
    most = max(int(row["pictures"]) for run in runs for row in cells_of(run).values())
    shape = shape_of(runs[0])
    every = [see(source.read(*shape)[None]) for source in sources(pictures, 5 * most)]
    every = torch.cat(every).double()
    others = [x for x in every[most:].split(most) if len(x) == most]

    def distance(x: Tensor) -> str:
        found = [kid(x, other[: len(x)]) for other in others]
        value, half = fmean(e.value for e in found), fmean(e.half or 0 for e in found)
        return f"{1000 * value:.0f} ± {1000 * half:.0f}"

    def text(task: str, method: str) -> str:
        if (task, method) not in cells or own_task(known, method) not in (None, task, "none"):
            return ""
        files = sorted(places(cells[task, method], task)[method].glob("*.png"))[:most]
        return distance(torch.cat([see(read_picture(f).pixels[None]) for f in files]).double())

    title = (
        f"KID x 1000 by {features} against {len(others)} sets of {most} other pictures; of the "
        f"pictures: {distance(every[:most])}."
    )
    return "\n".join([title, "", *grid(cells, known, text)])


def costs(cells: Cells, known: Mapping[str, Specialist]) -> str:
    table = []
    for method in dict.fromkeys(method for _, method in cells):
        row = next(row for (_, name), row in cells.items() if name == method)
        cost = known[method].cost if method in known else "the prior's"
        calls, seconds = float(row["calls"]), float(row["seconds"])
        table.append([method, f"{calls:.0f}", f"{seconds:.2g}", cost])
    return "\n".join(table_lines(["method", "calls", "s a sample", "training"], table))


def drawn(runs: Sequence[Path], task: str, count: int) -> Mapping[str, list[Tensor]]:
    """What each method made of the first pictures of a task; of specialists, those for it."""
    found: dict[str, list[Tensor]] = {}
    for run in runs:
        known = specialists(run)
        for method, place in places(run, task).items():
            files = sorted(place.rglob("*.png"))[:count]
            if files and own_task(known, method) in (None, task, "none"):
                name = known[method].title if method in known else method
                found[name] = [read_picture(file).pixels for file in files]
    return found


def sheet(runs: Sequence[Path], pictures: Path, tasks: Sequence[str], count: int) -> Image.Image:
    """Rows: the data as a network sees them, each method, the truth; columns: pictures."""
    rows: dict[str, list[Tensor]] = {}
    shape = shape_of(runs[0])
    for task in tasks:
        made = drawn(runs, task, count)
        seen, truths = [], []
        for source in sources(pictures, count):
            x = source.read(*shape)
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
    page = Image.new("RGB", (left + scale * made[0].width, height * len(made)), "white")
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
    parser.add_argument("--features", default="", help="of KID against other pictures")
    parser.add_argument("--count", type=int, default=4, help="pictures of each task on it")
    arguments = parser.parse_args()
    features = arguments.features
    cells = {key: row for run in arguments.runs for key, row in cells_of(run).items()}
    present = [s for s in SCORES if any(s in row and row[s] for row in cells.values())]
    known = {name: of for run in arguments.runs for name, of in specialists(run).items()}
    tables = [table(cells, known, score) for score in present if score != "kid" or not features]
    if features:
        tables.append(kids(known, arguments.runs, arguments.pictures, features))
    print("\n\n".join([*tables, costs(cells, known)]))
    if arguments.sheet:
        own = [network.notes["task"] for network in known.values()]
        tasks = [task for task in dict.fromkeys(own) if task in TASKS]
        sheet(arguments.runs, arguments.pictures, tasks, arguments.count).save(arguments.sheet)
        print(arguments.sheet, file=sys.stderr)


if __name__ == "__main__":
    main()
