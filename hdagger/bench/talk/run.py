"""One row for each picture, task and contender, in a file of its own: a run can stop at any time.

A row is done if its file is there and was made as it would be made now: from the same pixels, the
same task, by the same settings and weights. Rows of anything else stay where they are and are
done again.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import torch
from torch import Tensor

from ...domains.pictures.writing import to_image
from ...errors import HDaggerError, OperatorAbilityError, SettingError
from ...files import whole_file
from ...recipe import Recipe
from ...restoration import Prior
from ...samples import PosteriorSamples
from ...stopping import held_back
from ...trials import Row, pool
from . import models
from .contenders import Case, Contender, contender
from .pictures import Source, sha256_of
from .scores import of_picture
from .shares import Queue, Shares
from .tasks import TASKS

PROTOCOL = "talk 3"
"""Changes when rows are no longer to be compared with those of before."""

Job: TypeAlias = tuple[Source, str, str]
"""Picture, task and contender of a row."""

PEAK = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Plan:
    """What a table is of.

    Attributes:
        prior: Name or file of the prior.
        tasks: Names in ``TASKS``.
        methods: Contenders in their text form.
        pictures: What is measured.
        side: Of a picture.
        samples: Of each measurement.
        seed: Of masks and all noise.
        classifier: What reads the restored pictures; empty for nothing.
        distance: TorchScript of a perceptual distance; empty for none.
        trusted: Whether files of code may run.
        out: Where the rows go.
    """

    prior: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    pictures: tuple[Source, ...]
    side: int
    samples: int
    seed: int
    classifier: str
    distance: str
    trusted: bool
    out: Path

    def contender(self, method: str) -> Contender:
        """The contender of a text form, loaded once a process."""
        return _contender(method, self.prior)

    def pixels(self, source: Source) -> Tensor:
        """A clean picture, ``(channels, side, side)`` in [-1, 1]."""
        return source.read(_prior(self.prior).card.channels, self.side)

    def place(self, source: Source, task: str, method: str) -> Path:
        """The row's file, and its picture beside it, but for the suffix."""
        return self.out / "rows" / task / quote(method, safe=" =.,") / source.name

    def picture(self, source: Source, task: str, method: str) -> Path:
        """Where the first of a row's samples is."""
        return _with(self.place(source, task, method), ".png")

    def how(self, source: Source, task: str, method: str) -> str:
        """SHA-256 of all that makes a row what it is."""
        said = {
            "protocol": PROTOCOL,
            "label": source.label,
            "item": source.item,
            "task": _measured(self, source, task, source.stamp),
            "contender": dict(self.contender(method).made_of),
            "samples": self.samples,
            "seed": self.seed,
            "models": [models.sha256_of(name) for name in (self.classifier, self.distance)],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def check(plan: Plan, features: str = "") -> None:
    """Refuses before any work what cannot be done.

    Args:
        plan: What to do.
        features: What is to compare sets of pictures.

    Raises:
        HDaggerError: A task does not fit the pictures, a contender or a model is not there, or a
            contender is to be told labels that nobody knows.
    """
    shape = (_prior(plan.prior).card.channels, plan.side, plan.side)
    for task in plan.tasks:
        TASKS[task].check(shape)
    for method in plan.methods:
        plan.contender(method)
    for name, load in (
        (plan.classifier, models.classifier),
        (plan.distance, models.distance),
        (features, models.features),
    ):
        if name:
            load(name, plan.trusted)
    unlabelled = any(source.label is None for source in plan.pictures)
    told = [method for method in plan.methods if "cc" in method.split()]
    if unlabelled and (told or plan.classifier):
        raise SettingError(
            f"Wanted a label for each picture, for {told[0] if told else '--classifier'}, but "
            "got none. Put pictures in one folder for each label, or name labels in --list."
        )


def fitting(tasks: Sequence[str], channels: int, side: int) -> tuple[str, ...]:
    """Those tasks that pictures of this shape can be measured by."""
    return tuple(task for task in tasks if TASKS[task].fits((channels, side, side)))


def run(
    plan: Plan,
    workers: int = 1,
    watch: Callable[[int, int], None] = lambda done, total: None,
    hours: float | None = None,
) -> list[Row]:
    """The rows of a plan, those that are done already as they are.

    Args:
        plan: What to do.
        workers: Processes; each does a picture, a task and a contender at a time.
        watch: Called as (rows done now, rows to do now), or as (seconds gone, seconds in all)
            where there are hours.
        hours: How long it may take, with what the rows took that are done; None for all rows.
            Every contender has an equal share of it for every task, and does the first pictures
            that fit in; it does one in any case, and no more of what it cannot do.
    """
    cells = [
        (source, task, method)
        for source in plan.pictures
        for task in plan.tasks
        for method in plan.methods
    ]
    done = {cell: row for cell in cells if (row := _done(plan, *cell)) is not None}
    todo = [cell for cell in cells if cell not in done]
    with pool(workers) as each:
        made = lambda turns: each(make, ((plan, *cell) for cell in turns))
        if hours is None:
            for count, _ in enumerate(made(todo), 1):
                watch(count, len(todo))
        else:
            seconds = 3600 * hours
            gone = sum(row.get("took", 0.0) for row in done.values()) / workers
            shares = Shares(_queues(done, todo), seconds - gone)
            for number, row in made(shares):
                shares.ended(number, row["took"], closed="unable" in row)
                watch(round(seconds - shares.remaining), round(seconds))
    rows = [_done(plan, *cell) for cell in cells]
    return [row for row in rows if row is not None]


def _queues(done: Mapping[Job, Row], todo: Sequence[Job]) -> list[Queue[Job]]:
    """The pictures of each contender and task, with what its rows took so far."""
    queues: Mapping[tuple[str, str], Queue[Job]] = defaultdict(Queue[Job])
    for job in todo:
        queues[job[1:]].left.append(job)
    for job, row in done.items():
        queues[job[1:]].book(row.get("took", 0.0), "unable" in row)
    return list(queues.values())


def _done(plan: Plan, source: Source, task: str, method: str) -> Row | None:
    """A row that is done, and was made as it would be made now."""
    place = plan.place(source, task, method)
    try:
        row = json.loads(_with(place, ".json").read_text())
        right = row["how_sha256"] == plan.how(source, task, method)
        whole = "refused" in row or plan.picture(source, task, method).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return row if right and whole else None


def _with(place: Path, suffix: str) -> Path:
    """The file of this suffix; the name before it may have dots."""
    return place.with_name(place.name + suffix)


def make(plan: Plan, source: Source, task: str, method: str) -> Row:
    """Restores a picture, and writes its row and the first of its samples.

    What a contender cannot do, and where it diverges, is a row that says so. The row is written
    last, so that a row that is there has its picture.

    Returns:
        The row: ``took`` is its seconds by the clock, ``seconds`` what a sample costs, and
        ``unable`` says that the contender cannot do the task at all.
    """
    started = time.perf_counter()
    its, contestant, x = TASKS[task], plan.contender(method), _read(plan, source)
    measurement = its.measured(x, source.item, plan.seed)
    row: Row = {
        "picture": source.name,
        "label": source.label,
        "task": task,
        "method": method,
        "how_sha256": plan.how(source, task, method),
    }
    place = plan.place(source, task, method)
    try:
        with measured_cost() as cost:
            drawn = contestant.restore(
                Case(measurement, source.item, source.label), plan.samples, plan.seed
            )
        scores = _scores(plan, drawn, x, source.label)
    except HDaggerError as error:
        row["refused"] = str(error)
        if isinstance(error, OperatorAbilityError):
            row["unable"] = True
    else:
        row |= {"scores": scores, "calls": drawn.provenance["nfe"]}
        row |= {"seconds": cost["seconds"] / len(drawn.draws), "peak_mb": cost["peak_mb"]}
        with held_back(), whole_file(plan.picture(source, task, method)) as partial:
            to_image(drawn.draws[0]).save(partial)
    row["took"] = time.perf_counter() - started
    with held_back(), whole_file(_with(place, ".json")) as partial:
        partial.write_text(json.dumps(row, indent=1) + "\n")
    return row


@torch.no_grad()
def _scores(plan: Plan, drawn: PosteriorSamples, x: Tensor, label: int | None) -> dict[str, float]:
    scores, draws = of_picture(drawn, x), drawn.draws
    if plan.classifier:
        read = models.classifier(plan.classifier, plan.trusted)(draws).argmax(1)
        scores["read"] = float((read == label).double().mean())
    if plan.distance:
        far = models.distance(plan.distance, plan.trusted)
        scores["lpips"] = float(far(draws, x[None].expand_as(draws)).double().mean())
    return scores


@contextmanager
def measured_cost() -> Iterator[dict[str, float]]:
    """Seconds of the processor, or of the clock where a GPU works, and megabytes at most.

    The peak of this process' memory is 0 where the system does not tell it.
    """
    cost: dict[str, float] = {}
    gpu = torch.cuda.is_available()
    clock = time.perf_counter if gpu else time.process_time
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        _forget_peak()
    started = clock()
    yield cost
    cost["seconds"] = clock() - started
    cost["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20 if gpu else _peak()


def _forget_peak() -> None:
    try:
        FORGET.write_text("5")
    except OSError:
        return


def _peak() -> float:
    try:
        lines = PEAK.read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


@cache
def _prior(name: str) -> Prior:
    return Prior.of(Recipe(prior=name))


@cache
def _contender(method: str, prior: str) -> Contender:
    return contender(method, _prior(prior))


@lru_cache(maxsize=64)
def _measured(plan: Plan, source: Source, task: str, stamp: tuple[int, int]) -> tuple[object, ...]:
    """What is measured, and how: of picture and arrays their SHA-256."""
    x, its = _read(plan, source), TASKS[task]
    arrays = its.arrays(tuple(x.shape), source.item, plan.seed)
    hashed = sorted((name, sha256_of(value)) for name, value in arrays.items())
    return sha256_of(x), its.text, its.sigma_y, hashed


_latest: dict[tuple[object, ...], Tensor] = {}


def _read(plan: Plan, source: Source) -> Tensor:
    """The pixels of a picture; the latest one is kept."""
    key = source.path, source.stamp, _prior(plan.prior).card.channels, plan.side
    if key not in _latest:
        _latest.clear()
        _latest[key] = plan.pixels(source)
    return _latest[key]
