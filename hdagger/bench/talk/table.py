"""The tables: for each task, contenders down and scores across; in Markdown, CSV and a figure."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle, zip_longest
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from ...domains.pictures.files import read_picture
from ...files import whole_folder
from ...trials import Row, table_lines
from ..figures import axes_in
from . import models
from .published import PUBLISHED_FIGURES
from .run import Plan
from .scores import FEWEST_FOR_FID, Estimate, fid, kid
from .tasks import TASKS

Cell: TypeAlias = dict[str, Estimate]
Cells: TypeAlias = dict[tuple[str, str], Cell]
"""(task, method) -> score -> its mean; no cell for what a contender cannot do."""

COLUMNS: Mapping[str, tuple[str, float, str]] = {
    "pictures": ("pictures", 1, ".0f"),
    "psnr": ("PSNR of one", 1, ".2f"),
    "psnr_mean": ("PSNR of the mean", 1, ".2f"),
    "ssim": ("SSIM of one", 1, ".3f"),
    "ssim_mean": ("SSIM of the mean", 1, ".3f"),
    "kid": ("KID x 1000", 1000, ".2f"),
    "fid": ("FID", 1, ".2f"),
    "read": ("read right, %", 100, ".1f"),
    "lpips": ("LPIPS", 1, ".3f"),
    "crps": ("CRPS", 1, ".4f"),
    "covered": ("90 % holds, %", 100, ".1f"),
    "calls": ("calls", 1, ".0f"),
    "seconds": ("s a sample", 1, ".3g"),
    "peak_mb": ("MB at most", 1, ".0f"),
}
"""Score -> what a table calls it, in what unit, with how many digits."""

FEWEST_FOR_KID = 100
"""Pictures of every row for which a figure shows KID: of fewer it says little, and is below 0,
since each restored picture is near its own original."""

FEWEST_DRAWN = 5
"""Pictures of a row that a figure draws: a bar of fewer is wider than all that it is beside."""

FAR = 30.0
"""A score over another, beyond which a panel has a logarithmic scale."""

APART = 1.04
"""The factor by which a figure moves contenders of as many calls apart."""

COSTS = ("calls", "seconds", "peak_mb")

PALETTE = (
    "#2a8c5a",
    "#c8553d",
    "#e39a8b",
    "#2b6f97",
    "#8fb8d0",
    "#8a8a8a",
    "#8d6a9f",
    "#e0a030",
    "#6b4f2a",
    "#444444",
    "#b3549b",
    "#5aa9a1",
    "#9aa33a",
)


def cells_of(plan: Plan, rows: Sequence[Row], features: str = "") -> Cells:
    """The means of a run's rows, and the scores of its sets of pictures.

    Args:
        plan: What was run.
        rows: What it gave.
        features: What compares sets of pictures; empty for nothing.
    """
    together: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if "scores" in row:
            together[row["task"], row["method"]].append(row)
    cells = {key: means(of) for key, of in together.items()}
    if features:
        sets, fewest = Sets(plan, features), fewest_for_kid(cells)
        for key, of in together.items():
            if len(of) >= fewest:
                cells[key] |= sets.scores(*key, of)
    return cells


def counts(cells: Cells) -> list[int]:
    """Of how many pictures the cells are: each number once, in order."""
    return sorted({int(cell["pictures"].value) for cell in cells.values()})


def fewest_for_kid(cells: Cells) -> int:
    """Pictures for which a table shows KID: a hundred, or as many as any cell has."""
    return max(3, min([FEWEST_FOR_KID, *counts(cells)[-1:]]))


def means(rows: Sequence[Row]) -> Cell:
    """Of every score of a picture, over the pictures."""
    scores = [row["scores"] | {name: row[name] for name in COSTS} for row in rows]
    found = {name: Estimate.of([each[name] for each in scores]) for name in scores[0]}
    return found | {"pictures": Estimate(len(rows))}


class Sets:
    """Restored pictures beside the true ones, as sets; both in the 8 bits of their files.

    Args:
        plan: What was run.
        features: What compares them.
    """

    def __init__(self, plan: Plan, features: str) -> None:
        self.plan = plan
        self.see = models.features(features, plan.trusted)
        self.sources = {source.name: source for source in plan.pictures}
        self.real: dict[str, Tensor] = {}

    def scores(self, task: str, method: str, rows: Sequence[Row]) -> Cell:
        """KID of three pictures or more, and FID of enough."""
        sources = [self.sources[row["picture"]] for row in rows]
        for source in sources:
            if source.name not in self.real:
                self.real[source.name] = self._seen(self.plan.pixels(source))
        real = torch.stack([self.real[source.name] for source in sources])
        files = (self.plan.picture(source, task, method) for source in sources)
        drawn = torch.stack([self._seen(read_picture(file).pixels) for file in files])
        found = {"kid": kid(drawn, real)}
        if len(rows) >= FEWEST_FOR_FID:
            found["fid"] = Estimate(fid(drawn, real))
        return found

    @torch.no_grad()
    def _seen(self, x: Tensor) -> Tensor:
        return self.see(x[None])[0].double()


def columns_of(cells: Cells) -> list[str]:
    """Those scores that some cell has, and how many pictures where that differs."""
    found = [name for name in COLUMNS if any(name in cell for cell in cells.values())]
    return found if len(counts(cells)) > 1 else [name for name in found if name != "pictures"]


def shown(name: str, cell: Cell) -> str:
    """A score with its interval, in the table's unit."""
    if name not in cell:
        return ""
    _, unit, digits = COLUMNS[name]
    estimate = cell[name]
    text = f"{unit * estimate.value:{digits}}"
    if name in COSTS or estimate.half is None:
        return text
    return f"{text} ± {unit * estimate.half:{digits}}"


def write(plan: Plan, rows: Sequence[Row], features: str = "") -> str:
    """Writes ``table.md``, ``table.csv`` and ``table.png`` beside the rows, and returns the first.

    Args:
        plan: What was run.
        rows: What it gave.
        features: What compares sets of pictures; empty for nothing.
    """
    cells = cells_of(plan, rows, features)
    text = markdown(plan, rows, cells, features)
    with whole_folder(plan.out) as partial:
        (partial / "table.md").write_text(text)
        (partial / "table.csv").write_text(table_csv(plan, cells))
        if cells:
            figure(plan, cells, partial / "table.png")
    return text


def markdown(plan: Plan, rows: Sequence[Row], cells: Cells, features: str = "") -> str:
    """A table for each task, the published figures below it, and what every training cost."""
    names, of = columns_of(cells), counts(cells) or [len(plan.pictures)]
    uneven = len(of) > 1
    many = f"{of[0]} to {of[-1]}" if uneven else of[0]
    lines = [
        f"# {many} picture{'s' * (of[-1] > 1)} of {plan.side} x {plan.side}, "
        f"{plan.samples} samples each",
        "",
        f"Prior {plan.prior}, seed {plan.seed}. ± is half of a 95 % interval over pictures.",
    ]
    if uneven:
        lines.append("All rows are of the first pictures; the column pictures says how many.")
    if features:
        lines.append(f"KID by the features of {features}, of one sample a picture.")
        if uneven:
            lines.append(
                f"Fewer pictures have a lower KID, and fewer than {fewest_for_kid(cells)} none: "
                "compare rows of as many."
            )
        if any("fid" not in cell for cell in cells.values()):
            lines.append(f"FID wants {FEWEST_FOR_FID} pictures; look at KID.")
    for task in plan.tasks:
        lines += ["", f"## {TASKS[task].title}", "", f"`{task}`: {said(task)}", ""]
        table = []
        for method in plan.methods:
            cell = cells.get((task, method))
            inner = ["cannot"] if cell is None else [shown(name, cell) for name in names]
            inner += [""] * (len(names) - len(inner))
            table.append([plan.contender(method).name, *inner])
        lines += table_lines(["method", *(COLUMNS[name][0] for name in names)], table)
        lines += _refusals(plan, [r for r in rows if r["task"] == task and "refused" in r])
        lines += _published(task)
    lines += ["", "## What the training cost", ""]
    costs = {each.name: each.cost for each in map(plan.contender, plan.methods)}
    for cost in dict.fromkeys(costs.values()):
        who = ", ".join(name for name in costs if costs[name] == cost)
        lines.append(f"- {who}: {cost}")
    return "\n".join(lines) + "\n"


def said(task: str) -> str:
    """The operator of a task and its noise, in words."""
    its = TASKS[task]
    return f"{its.text}, " + (f"noise {its.sigma_y:g} in [-1, 1]" if its.sigma_y else "no noise")


def _refusals(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """Why cells are empty, or are of fewer pictures."""
    counted = Counter((plan.contender(row["method"]).name, row["refused"]) for row in rows)
    lines = [
        f"- {name}, {count} picture{'s' * (count > 1)}: {why}"
        for (name, why), count in counted.items()
    ]
    return ["", *lines] if lines else []


def _published(task: str) -> list[str]:
    if task not in PUBLISHED_FIGURES:
        return []
    source, figures = PUBLISHED_FIGURES[task]
    lines = [
        "",
        f"Published, not ours, on ImageNet 256 x 256 by the papers' networks ({source}):",
        "",
    ]
    for method, scores in figures.items():
        found = ", ".join(f"{name} {value:g}" for name, value in scores.items())
        lines.append(f"- {method}: {found}")
    return lines


def table_csv(plan: Plan, cells: Cells) -> str:
    """A line for each task and contender: each score, and half of its 95 % interval."""
    names = [name for name in columns_of(cells) if name != "pictures"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [head for name in names for head in (name, f"{name}_half")]
    writer.writerow(["task", "method", "pictures", *heads])
    for (task, method), cell in cells.items():
        found = [cell.get(name) for name in names]
        values = [v for e in found for v in (("", "") if e is None else (e.value, e.half))]
        count = int(cell["pictures"].value)
        writer.writerow([task, plan.contender(method).name, count, *values])
    return text.getvalue()


def figure(plan: Plan, cells: Cells, path: Path) -> None:
    """A panel for each task: what a contender costs, and how good it is. Left and low is good.

    How good is told by KID where there are features and a hundred pictures of every row, else by
    the ranked score, on a scale of its logarithm where one is far off. A row of fewer than five
    pictures is in the table alone. Bars are 95 %; contenders of as many calls stand beside each
    other.
    """
    many = counts(cells)[0] >= FEWEST_FOR_KID
    y = "kid" if many and all("kid" in cell for cell in cells.values()) else "crps"
    title, unit, _ = COLUMNS[y]
    fewest = min(FEWEST_DRAWN, counts(cells)[-1])
    tasks = [task for task in plan.tasks if any(key[0] == task for key in cells)]
    rows = -(-len(tasks) // 2)
    with axes_in(path, rows, min(2, len(tasks)), (7.6, 2.9 * rows)) as grid:
        panels = [axes for line in grid for axes in line]
        for axes, task in zip_longest(panels, tasks):
            if task is None:
                axes.set_axis_off()
                continue
            beside = len(plan.methods) // 2
            for place, (method, colour) in enumerate(zip(plan.methods, cycle(PALETTE))):
                cell, name = cells.get((task, method)), plan.contender(method).name
                if cell is None or cell["pictures"].value < fewest:
                    axes.plot([], [], "o", color=colour, label=name)
                    continue
                at = cell["calls"].value * APART ** (place - beside), unit * cell[y].value
                bar = unit * (cell[y].half or 0)
                axes.errorbar(*at, bar, fmt="o", color=colour, elinewidth=0.8, label=name)
            axes.set(title=f"{TASKS[task].title}: {title}", xlabel="network calls a sample")
            axes.set_xscale("log")
            drawn = [
                cell
                for (of, _), cell in cells.items()
                if of == task and cell["pictures"].value >= fewest
            ]
            if far_apart([cell[y].value for cell in drawn]):
                axes.set_yscale("log")
            axes.set_xticks(sorted({cell["calls"].value for cell in drawn}))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()


def far_apart(scores: Sequence[float]) -> bool:
    """Whether the best of them would be one point beside the worst, as where a method diverges."""
    return min(scores, default=0.0) > 0 and max(scores) > FAR * min(scores)
