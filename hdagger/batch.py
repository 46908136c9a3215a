"""Thousands of files by one recipe: each has a folder of its own, whole or not there at all.

An item's folder is what the domain's command would have left, and ``item.json``, which says of
what input and how it was made; it appears by one rename. So a run that was killed at any moment
goes on where it was, and any number of runs may share an output if each has its own part of the
items. What failed is kept beside, and is not tried again until that is asked for.

In one process, or in many by Ray Data, which may be on many machines: the same function.

References:
    Ray Data. https://docs.ray.io/en/latest/data/data.html
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .domain import DOMAINS
from .errors import FileError
from .files import fingerprint, line_of
from .items import Item
from .manifest import Row, write_tables
from .options import check_workers
from .outputs import Output
from .priors import zoo
from .recipe import Recipe
from .restoration import Prior, prepare

ITEM, FAILURES = "item.json", ".failed"
"""The file that says that an item is done, and the folder of what failed."""

EVERY = 30.0
"""Seconds, at least, between two writings of the manifest."""


@dataclass(frozen=True)
class Plan:
    """What is done with every item.

    Attributes:
        out: Where the output goes.
        recipe: How to draw.
        damage: What happened to all of them, as a recipe's table ``[damage]`` says.
        domain: Their kind.
        part: Which of several parts of the items these are, such as ``"2-of-8"``; the tables of a
            part have it in their names.
    """

    out: Output
    recipe: Recipe
    damage: Mapping[str, Any] = field(default_factory=dict)
    domain: str = "pictures"
    part: str = ""

    def recipe_of(self, item: Item) -> Recipe:
        return self.recipe if item.seed is None else replace(self.recipe, seed=item.seed)

    def damage_of(self, item: Item) -> dict[str, Any]:
        """The item's own words go before those for all."""
        return {**self.damage, **item.damage}

    def how(self, item: Item, about: str) -> str:
        """The SHA-256 of all but the input that an item's output depends on.

        Args:
            item: The item.
            about: What the prior is.
        """
        damage = self.damage_of(item)
        files = {
            name: fingerprint(Path(value))
            for name, value in damage.items()
            if isinstance(value, str) and _is_file(value)
        }
        told = [asdict(self.recipe_of(item)), damage, files, self.domain, about]
        return hashlib.sha256(json.dumps([*told, version("hdagger")]).encode()).hexdigest()


class Restorer:
    """Restores items, one after the other, with one prior in memory.

    Args:
        plan: What to do.
        threads: To compute with; None for as many as there are.
    """

    def __init__(self, plan: Plan, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.plan, self.prior = plan, Prior.of(plan.recipe)
        self.about = about_prior(plan.recipe)

    def __call__(self, item: Item) -> Row:
        """Its row; ``"error"`` in it is what went wrong, in one line."""
        plan = self.plan
        how = plan.how(item, self.about)
        row: Row = {"item": item.name, "source": str(item.source), "how_sha256": how}
        with plan.out.begun(item.name) as partial:
            try:
                with closing(_Source(item, partial)) as source:
                    row |= source.stamp()
                    made = self._restored(item, source.path, partial / "made")
                (partial / "made" / ITEM).write_text(json.dumps(row | made, indent=1) + "\n")
                plan.out.put(partial / "made", item.name, last=ITEM)
                plan.out.remove(_failure(item))
                return row | made
            except Exception as error:  # a batch goes on, whatever a file does
                row["error"] = line_of(error).replace(str(partial), "").strip()
                with plan.out.written(_failure(item)) as path:
                    path.write_text(json.dumps(row, indent=1) + "\n")
                return row

    def _restored(self, item: Item, source: Path, folder: Path) -> Row:
        plan, began = self.plan, time.perf_counter()
        recipe, damage = plan.recipe_of(item), plan.damage_of(item)
        job = DOMAINS[plan.domain].job(source, damage)
        samples = prepare(recipe, job.measurement, self.prior).run()
        folder.mkdir()
        summary = job.write(folder, samples)
        return {
            "recipe": (folder / "recipe.toml").read_text(),
            "damage": json.dumps(damage),
            "prior": summary["prior"],
            "prior_sha256": summary["prior_sha256"],
            "seed": recipe.seed,
            "version": version("hdagger"),
            "seconds": round(time.perf_counter() - began, 3),
            "nfe": summary["nfe"],
            "chi2_dof": summary.get("chi2_dof"),
        }


@dataclass
class Tally:
    """How far a batch is.

    Attributes:
        done: Rows of the items that are restored.
        failed: Rows of those that failed.
        total: How many items there are.
        fresh: How many of them this run has seen to.
    """

    done: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    total: int = 0
    fresh: int = 0


def run_batch(
    items: Sequence[Item],
    plan: Plan,
    workers: int = 1,
    ray: str | None = None,
    retry: bool = False,
    watch: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Restores all items that are not done, and leaves ``manifest.parquet`` and ``failures.csv``.

    Args:
        items: The items; their names differ.
        plan: What to do with each.
        workers: Processes; 1 stays in this one. More than one are those of Ray.
        ray: Address of a Ray cluster, or ``"auto"``; None for one of this machine.
        retry: Whether only what failed is tried, again.
        watch: Called at the beginning and after every item.

    Raises:
        SettingError: The recipe, the domain or the number of workers is not possible.
        FileError: The output cannot be written, or what is needed is not installed.
    """
    DOMAINS.check(plan.domain)
    check_workers(workers)
    plan = replace(plan, out=plan.out.absolute())  # a worker may be elsewhere
    items = [replace(item, source=item.source.absolute()) for item in items]
    about, todo, tally = about_prior(plan.recipe), [], Tally(total=len(items))
    there = plan.out.texts([name for item in items for name in (_done(item), _failure(item))])
    for item in items:
        how = plan.how(item, about)
        done, failed = (_row(there.get(name), item) for name in (_done(item), _failure(item)))
        if _is_of(done, item, how):
            tally.done.append(done)
        elif not retry and _is_of(failed, item, how):
            tally.failed.append(failed)
        elif failed or not retry:
            todo.append(item)
    write_tables(plan.out, plan.part, tally.done, tally.failed)
    watch(tally)
    each = _by_ray if workers > 1 or ray is not None else _here
    written = time.monotonic()
    try:
        for row in each(todo, plan, workers, ray):
            (tally.failed if "error" in row else tally.done).append(row)
            tally.fresh += 1
            watch(tally)
            if time.monotonic() > written + EVERY:
                write_tables(plan.out, plan.part, tally.done, tally.failed)
                written = time.monotonic()
    finally:
        write_tables(plan.out, plan.part, tally.done, tally.failed)
        plan.out.tidy()
    return tally


def about_prior(recipe: Recipe) -> str:
    """The hashes of a prior and of its covariances."""
    card = zoo.card(recipe.prior)
    measured = zoo.covariances(card)
    return f"{zoo.sha256_of(card)} {fingerprint(measured) if measured.is_file() else ''}"


class _Source:
    """The file of an item, taken out of its archive if it lies in one."""

    def __init__(self, item: Item, partial: Path) -> None:
        self.item, self.path = item, item.source
        if item.inside is not None:
            self.path = partial / f"picture{Path(item.name).suffix[:8]}"
            self.path.write_bytes(item.content())

    def stamp(self) -> Row:
        """What tells it from another input."""
        stamp = _stamp(self.item)
        return (
            {"stamp": stamp}
            if stamp is None
            else {
                "stamp": stamp,
                "input_sha256": fingerprint(self.path),
            }
        )

    def close(self) -> None:
        if self.item.inside is not None:
            self.path.unlink(missing_ok=True)


def _stamp(item: Item) -> list[int] | None:
    """Size and time of the input's file, None without one: the same stamp, the same input."""
    if not _is_file(str(item.source)):
        return None
    about = item.source.stat()
    return [about.st_size, about.st_mtime_ns]


def _row(text: str | None, item: Item) -> Row:
    """What is known of an item; nothing where nothing is there, or no row of it."""
    try:
        row = json.loads(text or "")
        return row if row["item"] == item.name else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _is_of(row: Row, item: Item, how: str) -> bool:
    """Whether a row is of just this input, treated in just this way."""
    return bool(row) and row.get("how_sha256") == how and row.get("stamp") == _stamp(item)


def _here(items: Sequence[Item], plan: Plan, workers: int, address: str | None) -> Iterator[Row]:
    if items:
        yield from map(Restorer(plan), items)


class _RayRestorer:
    """The same in a process of Ray: a batch of one item in, one of its row out."""

    def __init__(self, plan: Plan) -> None:
        self.restorer = Restorer(plan, threads=1)

    def __call__(self, row: Row) -> Row:
        return {"row": json.dumps(self.restorer(row["item"]))}


def _by_ray(items: Sequence[Item], plan: Plan, workers: int, address: str | None) -> Iterator[Row]:
    if not items:
        return
    try:
        import ray
        import ray.data as data
    except ImportError as error:
        raise FileError(
            "Wanted Ray for more than one worker, but it is not installed. "
            "pip install 'hdagger[ray]'"
        ) from error
    here: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    here["_node_ip_address"] = "127.0.0.1"
    where: dict[str, Any] = here if address is None else {"address": address}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        data.DataContext.get_current().enable_progress_bars = False
        rows = data.from_items([{"item": item} for item in items], override_num_blocks=len(items))
        restorer: Any = _RayRestorer
        made = rows.map(
            restorer,
            fn_constructor_args=(plan,),
            compute=data.ActorPoolStrategy(size=min(workers, len(items))),
            num_cpus=1,
        )
        for row in made.iter_rows():
            yield json.loads(row["row"])
    finally:
        ray.shutdown()


def _done(item: Item) -> str:
    """The file that says that an item is done."""
    return f"{item.name}/{ITEM}"


def _failure(item: Item) -> str:
    """The file that says how it failed."""
    return f"{FAILURES}/{item.name.replace('/', '%2F')}.json"


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):
        return False
