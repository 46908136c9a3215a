"""``hdagger motion``: human motion made plausible, drawn, completed and measured."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ...errors import SettingError
from ...progress import progress
from .reading import (
    check_count,
    check_suffix,
    known_frames,
    physics_with,
    print_rows,
    prior_named,
    read_clip,
    window,
    write_folder,
    write_page,
)

if TYPE_CHECKING:
    from ...samplers.base import Problem
    from .clips import Motion
    from .prior import MotionPrior

motion = typer.Typer(
    help="Human motion: made physically plausible, drawn from a prior, completed, measured."
)

Clip = Annotated[Path, typer.Argument(help="A .bvh, a .npz of hdagger, or a DeepMimic .txt.")]
Joints = Annotated[
    Path | None,
    typer.Option(help="TOML: our names of joints = the names in the BVH file."),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--physics", help="Physics in the loop: end:K, start:K, uniform:K, all, below:S."
    ),
]
Prior = Annotated[str, typer.Option(help="motion (bundled), or a .safetensors file.")]
Seed = Annotated[int, typer.Option(help="Of the noise.")]
Steps = Annotated[int, typer.Option(help="Noise levels to walk down.")]


@motion.command()
def project(
    clip: Clip,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .bvh or .npz file.")] = Path(
        "clean.bvh"
    ),
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page with strips, curves and numbers.")
    ] = None,
    joints: Joints = None,
) -> None:
    """Make a clip plausible: feet on the ground that do not slide, forces that can be.

    A simulated body follows the clip; what it does is the result. What help it needed is printed.

    Examples:

        hdagger motion project clip.bvh -o clean.bvh --report out/
    """
    from ...files import whole_file
    from .clips import write_motion
    from .metrics import plausibility

    before = read_clip(clip, joints)
    check_suffix(out)
    with progress("physics") as watch:
        ((after, found),) = physics_with(watch)([before])
    with whole_file(out) as path:
        write_motion(path, after)
    rows = [
        {"": "given", **plausibility(before).row()},
        {"": "projected", **plausibility(after).row()},
    ]
    print_rows(rows)
    segments = Counter(
        "clean-up only" if budget is None else f"{budget[0]:g} N {budget[1]:g} N m"
        for budget in found.budgets
    )
    granted = ", ".join(f"{budget} ({count})" for budget, count in segments.items())
    print(f"residual wrench granted to {len(found.budgets)} segments: {granted}")
    print(
        f"used at most {found.force:.0f} N horizontally, {found.vertical:.0f} N vertically, "
        f"{found.torque:.0f} N m"
    )
    print(f"moved by {found.moved:.0f} mm, relative to the root by {found.error:.0f} mm: {out}")
    if report is not None:
        write_page(
            report, f"{clip.name}, made plausible", [("given", before), ("projected", after)],
            rows, found.row(),
        )  # fmt: skip


@motion.command()
def sample(
    kind: Annotated[
        str | None, typer.Option("--class", help="Kind of motion; by default any.")
    ] = None,
    physics: Schedule = None,
    samples: Annotated[int, typer.Option(help="How many.")] = 4,
    seed: Seed = 0,
    steps: Steps = 30,
    prior: Prior = "motion",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the motions.")] = Path(
        "motions"
    ),
) -> None:
    """Draw motions of two seconds from the prior: PhysDiff, with physics in the loop.

    The folder gets *000.bvh*, *000.npz* and *000.gif* and so on, and *report.html*.

    Examples:

        hdagger motion sample --class walk --physics end:4 -o out/
    """
    from .metrics import plausibility
    from .sampling import nothing_known

    check_count(samples, seed, steps)
    denoiser = prior_named(prior).of(kind)
    motions = _draw(denoiser, nothing_known(), "ddim", physics, samples, seed, steps)
    rows = [{"": f"{k:03}", **plausibility(m).row()} for k, m in enumerate(motions)]
    write_folder(out, motions)
    about = f"{kind or 'any motion'}, physics {physics or 'none'}"
    write_page(out, about, [(f"{k:03}", m) for k, m in enumerate(motions)], rows)
    print_rows(rows)
    print(f"{out / 'report.html'}")


@motion.command()
def inbetween(
    clip: Clip,
    keep: Annotated[
        str | None, typer.Option(help="Frames that are known, as 0:10,50:60; the last excluded.")
    ] = None,
    trackers: Annotated[
        str | None, typer.Option(help="Known instead: head,hands,feet, or names of joints.")
    ] = None,
    noise: Annotated[float, typer.Option(help="Of the trackers, metres.")] = 0.01,
    kind: Annotated[str | None, typer.Option("--class", help="Kind of motion, if known.")] = None,
    method: Annotated[str, typer.Option(help="pigdm or ddrm.")] = "pigdm",
    physics: Schedule = None,
    samples: Annotated[
        int, typer.Option(help="How many; 000 is the one nearest to the others.")
    ] = 4,
    seed: Seed = 0,
    steps: Steps = 50,
    prior: Prior = "motion",
    joints: Joints = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the motions.")] = Path(
        "completed"
    ),
) -> None:
    """Complete a clip of up to two seconds from some of its frames, or from trackers.

    Frames are counted at 30 a second, the rate of the prior, and frame 0 has to be known.
    What the clip holds beyond what is kept is used for nothing but the figures printed.

    Examples:

        hdagger motion inbetween clip.bvh --keep 0:10,50:60

        hdagger motion inbetween clip.bvh --trackers head,hands --class walk
    """
    import torch

    from . import sampling
    from .features import WINDOW

    check_count(samples, seed, steps)
    if (keep is None) == (trackers is None):
        raise SettingError(
            "Wanted what is known of the clip: either --keep 0:10,50:60 or --trackers head,hands."
        )
    denoiser = prior_named(prior).of(kind)
    given, undo = window(read_clip(clip, joints))
    count = len(given)
    padded = sampling.padded(given)
    known = torch.zeros(WINDOW, dtype=torch.bool)
    if keep is not None:
        known[:count] = known_frames(keep, count)
        problem = sampling.frames_known(denoiser, padded, known)
    else:
        assert trackers is not None
        points = sampling.points_named(trackers.split(","))
        columns = [given.skeleton.points.index(point) for point in points]
        generator = torch.Generator().manual_seed(seed)
        positions = padded.points[:, columns]
        positions = positions + noise * torch.randn(
            positions.shape, generator=generator, dtype=positions.dtype
        )
        problem = sampling.tracked(denoiser, positions, points, noise)
    motions = _draw(denoiser, problem, method, physics, samples, seed, steps)
    motions = [completed[:count] for completed in motions]
    if keep is not None:
        motions = [sampling.with_known(m, given, known[:count]) for m in motions]
    _leave(
        out, f"{clip.name}, completed by {method}", given, sampling.central_first(motions), undo
    )


@motion.command()
def denoise(
    clip: Clip,
    sigma_y: Annotated[
        float, typer.Option(help="Noise, 1 being the spread of the training motions.")
    ] = 0.1,
    kind: Annotated[str | None, typer.Option("--class", help="Kind of motion, if known.")] = None,
    method: Annotated[str, typer.Option(help="ddrm or pigdm.")] = "ddrm",
    samples: Annotated[int, typer.Option(help="How many.")] = 4,
    seed: Seed = 0,
    steps: Steps = 50,
    prior: Prior = "motion",
    joints: Joints = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the motions.")] = Path(
        "denoised"
    ),
) -> None:
    """Remove noise from a clip of up to two seconds, by the prior alone.

    `hdagger motion project` makes it plausible, too, and takes any length.

    Examples:

        hdagger motion denoise clip.bvh --sigma-y 0.2 --class walk
    """
    from . import sampling

    check_count(samples, seed, steps)
    if not 0.001 <= sigma_y <= 10:
        raise SettingError(f"Wanted noise of 0.001 to 10, but got {sigma_y}. Try --sigma-y 0.1.")
    denoiser = prior_named(prior).of(kind)
    given, undo = window(read_clip(clip, joints))
    problem = sampling.noisy(denoiser, sampling.padded(given), sigma_y)
    motions = _draw(denoiser, problem, method, None, samples, seed, steps)
    motions = sampling.central_first([calm[: len(given)] for calm in motions])
    _leave(out, f"{clip.name}, denoised by {method}", given, motions, undo)


def _draw(
    prior: "MotionPrior",
    problem: "Problem",
    method: str,
    physics: str | None,
    samples: int,
    seed: int,
    steps: int,
) -> "list[Motion]":
    from . import sampling

    projector = physics_with() if physics else None
    sampler = sampling.sampler_for(method, prior, physics, projector)
    with progress(f"{samples} motions") as watch:
        count = lambda step: watch(step.index + 1, steps)
        return sampling.to_motions(
            prior, sampling.draw(sampler, problem, samples, seed, steps, count)
        )


def _leave(
    out: Path,
    title: str,
    given: "Motion",
    motions: "list[Motion]",
    undo: "Callable[[Motion], Motion]",
) -> None:
    """Writes the motions where the clip was, and a page that compares them with it."""
    from .metrics import plausibility, root_relative_distance

    named = [("given", given), *((f"{k:03}", m) for k, m in enumerate(motions))]
    rows = [
        {
            "": name,
            "root_relative_distance": round(root_relative_distance(m, given), 1),
            **plausibility(m).row(),
        }
        for name, m in named
    ]
    write_folder(out, [undo(m) for m in motions])
    write_page(out, title, named, rows)
    print_rows(rows)
    print(f"{out / 'report.html'}")


@motion.command()
def metrics(
    clips: Annotated[list[Path], typer.Argument(help="Clips: .bvh, .npz or DeepMimic .txt.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    joints: Joints = None,
) -> None:
    """Measure clips: penetrate, float, skate and their sum phys_err, in mm a frame.

    The margin under which a sole touches the ground, and the rate, are part of the numbers.

    Examples:

        hdagger motion metrics clip.bvh --json
    """
    from .metrics import plausibility

    rows = [{"": str(clip), **plausibility(read_clip(clip, joints)).row()} for clip in clips]
    if as_json:
        named = [{"clip": row.pop(""), **row} for row in rows]
        print(json.dumps(named[0] if len(named) == 1 else named))
    else:
        print_rows(rows)


@motion.command()
def train(
    plan: Annotated[Path, typer.Argument(help="Training plan; see training/motion.toml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the training.")] = Path(
        "runs/motion"
    ),
) -> None:
    """Train a motion prior, or go on with a training that was stopped.

    Example:

        hdagger motion train training/motion.toml -o runs/motion
    """
    from .learning import MotionPlan, MotionTraining

    training = MotionTraining(MotionPlan.read(plan), out)
    console, total = Console(highlight=False), 3600 * training.plan.hours
    training.run(
        lambda now: console.print(
            f"step {now.step}  loss {now.loss:.4f}  held out "
            f"{' / '.join(f'{error:.3f}' for error in now.held_out)}  "
            f"left {time.strftime('%H:%M:%S', time.gmtime(max(0, total - now.seconds)))}"
        ),
        report_every=30.0,
    )
    console.print(f"{out / 'prior.safetensors'}")
