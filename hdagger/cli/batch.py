"""``hdagger batch``: thousands of files by one recipe, on one core or many."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SettingError
from ..items import check_input, items_of, shard_of
from ..options import AsJson, DomainName, check_domain, check_prior, check_workers
from ..progress import progress
from ..recipe import Recipe, read_toml
from ..telling import Exit, tell

if TYPE_CHECKING:
    from ..batch import Tally


def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, globs, a .csv or .parquet manifest with a column 'file', a "
            ".tar (WebDataset), or a .parquet with pictures."
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            help="Folder for what comes out, or an address that fsspec knows, as s3://bucket/new.",
        ),
    ],
    recipe: Annotated[
        Path | None,
        typer.Option(help="A recipe.toml: how to draw and, in [damage], what happened."),
    ] = None,
    domain: DomainName = "pictures",
    workers: Annotated[int, typer.Option(help="Processes; more than one by Ray.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster, or auto; else this machine.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="Only a part of the items, as 2/8 for the second of eight.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try what failed, again, and nothing else.")
    ] = False,
    samples: Annotated[
        Path | None,
        typer.Option("--samples-parquet", help="Write all samples into one file, to train on."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore many files. Stop it at any time; the same command goes on where it was.

    Each file gets a folder of its own in the output, with what *hdagger restore* leaves; it
    appears whole or not at all. *manifest.parquet* ties them to their inputs, and what failed is
    in *failures.csv*, one line each. With failures the exit code is 1.

    Examples:

        hdagger batch photos -o restored

        hdagger batch 'scans/*.jpg' --recipe restored/recipe.toml -o restored --workers 4

        hdagger batch list.csv -o restored --shard 2/8
    """
    plan = Recipe() if recipe is None else Recipe.from_toml(recipe)
    damage = {} if recipe is None else read_toml(recipe, "a recipe").get("damage", {})
    if not isinstance(damage, dict):
        raise SettingError(f"Wanted a table [damage] in {recipe}, but got {damage!r}. Mend it.")
    check_domain(domain)
    check_prior(plan.prior, plan.label)
    check_workers(workers)
    for text in inputs:
        check_input(text)
    if shard is not None:
        shard_of((), shard)

    from ..batch import Plan, run_batch
    from ..domain import DOMAINS
    from ..manifest import write_samples
    from ..outputs import output_of

    items = items_of(inputs, DOMAINS[domain].suffixes)
    if shard is not None:
        items = shard_of(items, shard)
    with progress("files") as show:

        def watch(tally: "Tally") -> None:
            rate = 60 * tally.fresh / (time.monotonic() - began)
            words = f"{len(tally.failed)} failed, {rate:.1f} a minute"
            show(len(tally.done) + len(tally.failed), tally.total, words)

        part = "" if shard is None else shard.replace("/", "-of-")
        job, began = Plan(output_of(out), plan, damage, domain, part), time.monotonic()
        tally = run_batch(items, job, workers, ray, retry, watch)
    if samples is not None:
        write_samples(samples, job.out, tally.done)
    told = {"done": len(tally.done), "failed": len(tally.failed), "new": tally.fresh}
    if as_json:
        tell(told)
    else:
        print(f"{told['done']} of {tally.total} restored, {told['failed']} failed: {out}")
    if tally.failed:
        raise typer.Exit(Exit.FAILED)
