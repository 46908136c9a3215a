"""``hdagger bench talk``: the talk's tables, with one's own prior and pictures."""

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingError
from ..files import check_folder, whole_folder
from ..options import AsJson, check_prior, check_seed
from ..progress import progress
from ..telling import tell
from .bench import Seed, Workers

TOLD = ("ddrm cc", "pigdm cc")
"""Contenders beside all, where there are labels and the prior knows them."""


def talk(
    pictures: Annotated[
        Path,
        typer.Option(help="Folder of pictures that nothing was trained on, or of one per label."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of rows and tables; resumed if it is there."),
    ],
    prior: Annotated[str, typer.Option(help="One of hdagger priors, or a file.")] = "photo",
    tasks: Annotated[
        str | None, typer.Option(help="Names with commas; by default all that fit the prior.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Names with commas, each perhaps with cc (told the label) and settings, as "
            "'ours,ddrm cc,snips steps=100'; or .safetensors files. By default all."
        ),
    ] = None,
    specialists: Annotated[
        Path | None,
        typer.Option(help="Folder of what hdagger train made of plans with a task; all join."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Of each measurement, 2 or more.")] = 4,
    most: Annotated[int | None, typer.Option(help="The first so many pictures.")] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="How long it may take, runs before included; by default all rows."),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option("--list", help="Text file of pictures: a path a line, and its label."),
    ] = None,
    side: Annotated[
        int | None, typer.Option(help="Pixels; by default the prior's, or the first picture's.")
    ] = None,
    classifier: Annotated[
        str, typer.Option(help="Reads what was restored: its name, or a TorchScript file.")
    ] = "",
    features: Annotated[
        str, typer.Option(help="Compares sets of pictures (KID, FID): likewise.")
    ] = "",
    lpips: Annotated[
        str, typer.Option(help="TorchScript file of a perceptual distance of two pictures.")
    ] = "",
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the TorchScript files, which are code.")
    ] = False,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """The talk's tables: many methods on many tasks, with your prior and your pictures.

    Writes table.md, table.csv and table.png, and a row and a picture for each picture, task and
    method. It can be stopped at any time: the same command goes on where it was. With --hours
    each method has as much time for each task: a quick one does more pictures than a slow one.

    Examples:

        hdagger bench talk --prior digits --pictures data/digits/test --most 50
        --classifier digits-classifier --features digits-classifier -o digits-table

        hdagger bench talk --prior photo --pictures kodak --side 64 --methods ours,ddrm
        --tasks average4,jpeg10 -o photo-table

        hdagger bench talk --prior digits --pictures data/digits/test --most 500 --hours 3
        -o long-table
    """
    for name, value, least, mend in (("--samples", samples, 2, 4), ("--most", most, 1, 50)):
        if value is not None and value < least:
            raise SettingError(f"Wanted {name} of {least} or more, but got {value}. Try {mend}.")
    if hours is not None and not 0 < hours < math.inf:
        raise SettingError(f"Wanted --hours of more than 0, but got {hours:g}. Try 3.")
    check_seed(seed)
    check_prior(prior)
    check_folder(pictures, "pictures")

    import torch

    from ..bench.talk.contenders import PUBLISHED, specialists_in
    from ..bench.talk.pictures import own_side, sources
    from ..bench.talk.run import Plan, check, fitting, run
    from ..bench.talk.table import write
    from ..bench.talk.tasks import TASKS
    from ..priors import zoo

    card = zoo.card(prior)
    found = sources(pictures, most, names)
    square = side or card.size or own_side(found)
    if not 8 <= square <= 1024:
        raise SettingError(
            f"Wanted pictures of 8 to 1024 pixels, but got {square}. Try --side 64."
        )
    told = all(source.label is not None for source in found) and (card.classes or card.classifier)
    plan = Plan(
        prior=prior,
        tasks=split(tasks, TASKS) or fitting(tuple(TASKS), card.channels, square),
        methods=(
            *(split(methods) or (*PUBLISHED, *(TOLD if told else ()))),
            *(specialists_in(specialists) if specialists else ()),
        ),
        pictures=tuple(found),
        side=square,
        samples=samples,
        seed=seed,
        classifier=classifier,
        distance=lpips,
        trusted=trust_code,
        out=out,
    )
    check(plan, features)
    with whole_folder(out):
        pass  # refused before any work if it cannot be written
    alone = torch.cuda.is_available()  # one process uses a GPU
    with progress("rows" if hours is None else "seconds") as watch:
        rows = run(plan, workers or (1 if alone else os.cpu_count() or 1), watch, hours)
    table = write(plan, rows, features)
    if not as_json:
        print(table)
        return
    for row in rows:
        tell(row)


def split(text: str | None, known: Collection[str] | None = None) -> tuple[str, ...]:
    """The parts of a text with commas, each one of those that are known."""
    parts = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    for part in parts:
        if known is not None and part not in known:
            raise SettingError(
                f"Wanted tasks of {', '.join(map(str, known))}, but got {part!r}. "
                "Choose some of these."
            )
    return parts
