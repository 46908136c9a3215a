"""One generic prior against specialists: tables of a run of `hdagger bench talk`, and a picture.

    hdagger bench talk --prior digits --pictures data/digits/test ... -o runs/digits-talk
    python benchmarks/specialists.py runs/digits-talk [--sheet sheet.png]

A table for each score, methods down and tasks across; a specialist's own task is in bold. The
picture has a column for each task and picture, and a row for each method.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import torch
from PIL import Image, ImageDraw

from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.writing import to_image
from hdagger.priors import checkpoint
from hdagger.specialists.base import Specialist
from hdagger.specialists.training import SpecialistPlan

SCORES = {
    "psnr": ("PSNR of one sample, dB", 1, ".2f"),
    "psnr_mean": ("PSNR of the mean of the samples, dB", 1, ".2f"),
    "kid": ("KID x 1000", 1000, ".1f"),
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


def sheet(run: Path, methods: Sequence[str], tasks: Sequence[str], count: int) -> Image.Image:
    """Restored pictures, a row for each method."""
    named = 0
    rows = []
    for method in methods:
        of = specialist(method)
        files = [
            sorted((run / "rows" / task / quote(method, safe=" =.,")).glob("*.png"))[:count]
            for task in tasks
        ]
        pixels = [read_picture(file).pixels for task in files for file in task]
        rows.append((method if of is None else of.name, torch.cat(pixels, dim=2)))
        named = max(named, len(rows[-1][0]))
    height, width, left, scale = rows[0][1].shape[1], rows[0][1].shape[2], 7 * named, 2
    page = Image.new("RGB", (left + scale * width, scale * height * len(rows)), "white")
    draw = ImageDraw.Draw(page)
    for number, (name, pixels) in enumerate(rows):
        picture = to_image(pixels).convert("RGB")
        page.paste(
            picture.resize((scale * width, scale * height), Image.Resampling.NEAREST),
            (left, scale * height * number),
        )
        draw.text((4, scale * height * number + scale * height // 2 - 6), name, fill="black")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of hdagger bench talk")
    parser.add_argument("--sheet", type=Path, help="draw restored pictures here")
    parser.add_argument("--count", type=int, default=3, help="pictures of each task on it")
    arguments = parser.parse_args()
    cells = cells_of(arguments.run)
    present = [s for s in SCORES if any(s in row and row[s] for row in cells.values())]
    print("\n\n".join([*(table(cells, score) for score in present), costs(cells)]))
    if arguments.sheet:
        methods, tasks = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (1, 0))
        sheet(arguments.run, methods, tasks, arguments.count).save(arguments.sheet)
        print(arguments.sheet, file=sys.stderr)


if __name__ == "__main__":
    main()
