"""``hdagger bench``: the samplers side by side; here where the posterior is known exactly."""

import os
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SettingError
from ..options import AsJson, check_seed
from ..progress import progress
from ..samplers.ranges import Schedule
from ..telling import tell

bench = typer.Typer(
    help="Compare the samplers: where the posterior is known exactly, and on pictures."
)

Kept = Annotated[
    Path | None,
    typer.Option("--rows", help="Keep the rows here; a second run goes on from them."),
]
Plot = Annotated[
    Path | None, typer.Option(help="Draw the figure here: .png, .svg or .pdf (needs matplotlib).")
]
Workers = Annotated[int | None, typer.Option(help="Processes; by default one a core.")]
Samples = Annotated[int, typer.Option(help="Of each measurement.")]
Seed = Annotated[int, typer.Option(help="Of the measurements and of the noise.")]


@bench.command()
def mixture(
    dim: Annotated[int | None, typer.Option(help="8, 80 or 800; by default all.")] = None,
    observed: Annotated[int | None, typer.Option(help="1, 2 or 4 data; by default all.")] = None,
    steps: Annotated[int, typer.Option(help="Noise levels to walk down.")] = 100,
    method: Annotated[str | None, typer.Option(help="One sampler; by default all.")] = None,
    problems: Annotated[int, typer.Option(help="Problems of each cell.")] = 20,
    seed: Seed = 0,
    kept: Kept = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Mixtures of 25 Gaussians: do the modes get the right weight?

    Prints the table: sliced Wasserstein-1 distance with 1.96 standard errors, (x the floor),
    and the error of the modes' weights.

    Examples:

        hdagger bench mixture --dim 8 --observed 1 --steps 100 --rows rows.json

        hdagger bench mixture --steps 20 --method "smc tmpd, gaussian step" --seed 1
    """
    if dim is not None and (dim < 2 or dim % 2):
        raise SettingError(f"Wanted an even number of dimensions, but got {dim}. Try --dim 8.")
    if observed is not None and not 1 <= observed <= (dim or 8):
        raise SettingError(f"Wanted 1 to {dim or 8} data, but got {observed}. Try --observed 1.")
    if problems < 1:
        raise SettingError(f"Wanted 1 problem or more, but got {problems}. Try --problems 20.")
    check_seed(seed)

    from ..bench.mixture import CONTENDERS, markdown, run

    if method is not None and method not in CONTENDERS:
        raise SettingError(
            f"Wanted a sampler, one of {', '.join(CONTENDERS)}, but got {method!r}."
        )
    rows = run(
        dims=(8, 80, 800) if dim is None else (dim,),
        observed=(1, 2, 4) if observed is None else (observed,),
        steps=(steps,),
        methods=tuple(CONTENDERS) if method is None else (method,),
        file=kept,
        problems=problems,
        seed=seed,
        workers=workers or os.cpu_count() or 1,
    )
    _tell(rows, markdown, as_json)


@bench.command()
def field(
    task: Annotated[str | None, typer.Option(help="sr4 or inpaint30; by default both.")] = None,
    nfe: Annotated[
        int | None, typer.Option(help="Network evaluations; by default 10, 20, 50, 100 and 200.")
    ] = None,
    samples: Samples = 64,
    seed: Seed = 0,
    kept: Kept = None,
    plot: Plot = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """A Gaussian random field: are the error bars right, and after how many evaluations?

    Examples:

        hdagger bench field --task sr4 --nfe 100

        hdagger bench field --rows rows.json --plot budget.png
    """
    if nfe is not None and nfe < 2:
        raise SettingError(f"Wanted 2 evaluations or more, but got {nfe}. Try --nfe 100.")
    _check_samples(samples)
    check_seed(seed)

    from ..bench import field as protocol
    from ..bench.figures import budget

    tasks = list(protocol.operators())
    if task is not None and task not in tasks:
        raise SettingError(f"Wanted a task, one of {', '.join(tasks)}, but got {task!r}.")
    rows = protocol.run(
        tasks=tasks if task is None else [task],
        nfes=protocol.NFES if nfe is None else [nfe],
        file=kept,
        samples=samples,
        seed=seed,
        workers=workers or os.cpu_count() or 1,
    )
    if plot is not None:
        budget(rows, plot)
    _tell(rows, protocol.markdown, as_json)


@bench.command()
def conditioning(
    samples: Samples = 64,
    seed: Seed = 0,
    kept: Kept = None,
    plot: Plot = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Blurs of growing condition number: what a pseudoinverse is good for.

    Reconstruction guidance against PiGDM on the Gaussian field.

    Example:

        hdagger bench conditioning --plot conditioning.png
    """
    _sweep("conditioning", samples, seed, kept, plot, workers, as_json)


@bench.command()
def sparsity(
    samples: Samples = 64,
    seed: Seed = 0,
    kept: Kept = None,
    plot: Plot = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Fewer and fewer pixels: what a gradient is good for.

    DDRM against PiGDM on the Gaussian field.

    Example:

        hdagger bench sparsity --plot sparsity.png
    """
    _sweep("sparsity", samples, seed, kept, plot, workers, as_json)


def _sweep(
    name: str,
    samples: int,
    seed: int,
    kept: Path | None,
    plot: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    _check_samples(samples)
    check_seed(seed)

    from ..bench import figures
    from ..bench.sweeps import markdown, run

    draw = {"conditioning": figures.conditioning, "sparsity": figures.sparsity}[name]
    workers = workers or os.cpu_count() or 1
    rows = run(name, kept, samples=samples, seed=seed, workers=workers)
    if plot is not None:
        draw(rows, plot)
    _tell(rows, markdown, as_json)


def _tell(
    rows: list[dict[str, Any]], table: Callable[[list[dict[str, Any]]], str], as_json: bool
) -> None:
    """Rows as a table, or as JSON."""
    if not as_json:
        print(table(rows))
        return
    for row in rows:
        tell(row)


def _check_samples(samples: int) -> None:
    if not 19 <= samples <= 10_000:
        raise SettingError(f"Wanted 19 to 10000 samples, but got {samples}. Try --samples 64.")


@bench.command()
def motion(
    samples: Annotated[int, typer.Option(help="Motions of each schedule and seed.")] = 200,
    schedule: Annotated[
        str | None, typer.Option(help="none, end:1, end:4, ...; by default six of them.")
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="Held-out clips, DIR/CLASS/*.txt: completion instead of schedules."),
    ] = None,
    frechet: Annotated[
        Path | None,
        typer.Option(help="Training clips, DIR/CLASS/*: adds the Frechet distance from them."),
    ] = None,
    kept: Kept = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Motion: where physics belongs in the loop, and what the prior knows of held-out clips.

    Examples:

        hdagger bench motion --rows schedules.json

        hdagger bench motion --schedule end:4 --frechet data/motion/train

        hdagger bench motion --clips data/motion/held_out
    """
    if not 2 <= samples <= 1000:
        raise SettingError(f"Wanted 2 to 1000 samples, but got {samples}. Try --samples 200.")
    if clips is not None and frechet is not None:
        raise SettingError("Wanted schedules or completion, but got --frechet and --clips.")
    if schedule not in (None, "none"):
        Schedule(schedule)

    from ..domains.motion import benchmark as protocol
    from ..domains.motion.frechet import from_clips
    from ..domains.motion.simulator import require_mujoco
    from ..files import whole_file

    require_mujoco()

    if clips is not None:
        rows = protocol.complete(clips)
        if kept is not None:
            with whole_file(kept) as path:
                path.write_text(dumps(rows, indent=1))
        _tell(rows, protocol.completion_markdown, as_json)
        return
    schedules = protocol.SCHEDULES if schedule is None else (schedule,)
    distance = None
    if frechet is not None:
        with progress("autoencoder") as watch:
            distance = from_clips(frechet, watch)
    workers = workers or os.cpu_count() or 1
    rows = protocol.run(schedules, samples, file=kept, workers=workers, distance=distance)
    _tell(rows, protocol.markdown, as_json)
