"""``hdagger motion``: human motion made plausible, drawn, completed and measured."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SettingError
from ...files import check_file, whole_file, whole_folder
from ...options import AsJson, check_plan, check_prior
from ...progress import progress
from ...recipe import Plain, Recipe, settings_said
from ...samplers import METHODS, ranges
from ...telling import tell
from .noise import NOISY, TRACKED, check_noisy, check_tracked

if TYPE_CHECKING:
    from .clips import Motion

motion = typer.Typer(
    help="Human motion: made physically plausible, drawn from a prior, completed, measured."
)

Clip = Annotated[Path, typer.Argument(help="A .bvh, a .npz of hdagger, or a DeepMimic .txt.")]
Joints = Annotated[
    Path | None,
    typer.Option(help="TOML: our names of joints = the names in the BVH file."),
]
Kind = Annotated[
    str | None, typer.Option("--class", help="Kind of motion, as walk; by default any.")
]
Method = Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the method, as eta=0.5; may be repeated."),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--physics", help="Physics in the loop: end:K, start:K, uniform:K, all, below:S."
    ),
]
Samples = Annotated[int, typer.Option(help="How many.")]
Ranked = Annotated[int, typer.Option(help="How many; 000 is the one nearest to the others.")]
Prior = Annotated[str, typer.Option(help="motion (bundled), or a .safetensors file.")]
Seed = Annotated[int, typer.Option(help="Of the noise.")]
Steps = Annotated[int, typer.Option(help="Noise levels to walk down.")]
Folder = Annotated[Path, typer.Option("-o", "--out", help="Folder for the motions.")]


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
    as_json: AsJson = False,
) -> None:
    """Make a clip plausible: feet on the ground that do not slide, forces that can be.

    A simulated body follows the clip; what it does is the result. What help it needed is printed.

    Examples:

        hdagger motion project clip.bvh -o clean.bvh --report out/
    """
    if out.suffix.lower() not in (".bvh", ".npz"):
        raise SettingError(f"Wanted to write .bvh or .npz, but got {out}. Try -o clean.bvh.")

    from .files import write_motion
    from .pages import numbers_of, print_rows, write_report
    from .physics import Physics
    from .simulator import require_mujoco

    require_mujoco()
    before = _read(clip, joints)
    with progress("physics") as watch:
        ((after, found),) = Physics(watch=watch)([before])
    with whole_file(out) as path:
        write_motion(path, after)
    named = [("given", before), ("projected", after)]
    rows = numbers_of(named)
    if as_json:
        tell({"out": str(out), "rows": rows, "projection": found.row()})
    else:
        print_rows(rows)
        _print_projection(found)
        print(f"moved by {found.moved:.0f} mm, relative to the root by {found.error:.0f} mm:", out)
    if report is not None:
        with whole_folder(report, "motion") as folder:
            about = {"projection": found.row()}
            write_report(folder, f"{clip.name}, made plausible", named, rows, about)


def _print_projection(found: Any) -> None:
    """The help that a body needed to follow a clip."""
    segments = Counter(
        "clean-up only" if budget is None else f"{budget[0]:g} N {budget[1]:g} N m"
        for budget in found.budgets
    )
    granted = ", ".join(f"{budget} ({count})" for budget, count in segments.items())
    print(f"residual wrench granted to {len(found.budgets)} segments: {granted}")
    print(
        f"used at most {found.force:.0f} N horizontally and {found.torque:.0f} N m; vertically "
        f"{found.vertical:.2g} N, as measured"
    )


@motion.command()
def sample(
    kind: Kind = None,
    physics: Schedule = None,
    method: Annotated[
        str | None,
        typer.Option(help="By default ddim with eta=0, as PhysDiff; any that restore knows."),
    ] = None,
    setting: Setting = None,
    samples: Samples = 4,
    seed: Seed = 0,
    steps: Steps = 30,
    prior: Prior = "motion",
    out: Folder = Path("motions"),
    as_json: AsJson = False,
) -> None:
    """Draw motions of two seconds from the prior: PhysDiff, with physics in the loop.

    The folder gets *000.bvh*, *000.npz* and *000.gif* and so on, *samples.npz* (the draws as
    features), *recipe.toml*, *measurement.npz*, *summary.json* and *report.html*.

    Examples:

        hdagger motion sample --class walk --physics end:4 -o out/
    """
    _check_steps(steps)
    check_prior(prior, kind)
    said = settings_said(setting or [])
    if method is None:
        method, said = "ddim", {"eta": 0.0} | said

    method, settings = with_physics(method, said, physics)
    recipe = Recipe(method, settings, steps, samples, seed, prior, kind)

    from .drawing import draw_to
    from .reading import nothing_known

    about = f"{kind or 'any motion'}, physics {physics or 'none'}"
    draw_to(out, about, recipe, nothing_known(), as_json=as_json)


@motion.command()
def inbetween(
    clip: Clip,
    keep: Annotated[
        str | None, typer.Option(help="Frames that are known, as 0:10,50:60; the last excluded.")
    ] = None,
    trackers: Annotated[
        str | None, typer.Option(help="Known instead: head,hands,feet, or names of joints.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Of the trackers, metres; by default 0.01.")
    ] = None,
    kind: Kind = None,
    method: Method = "pigdm",
    setting: Setting = None,
    physics: Schedule = None,
    samples: Ranked = 4,
    seed: Seed = 0,
    steps: Steps = 50,
    prior: Prior = "motion",
    joints: Joints = None,
    out: Folder = Path("completed"),
    as_json: AsJson = False,
) -> None:
    """Complete a clip of up to two seconds from some of its frames, or from trackers.

    Frames are counted at 30 a second, the rate of the prior, and frame 0 has to be known.
    What the clip holds beyond what is kept is used for nothing but the figures printed.

    Examples:

        hdagger motion inbetween clip.bvh --keep 0:10,50:60

        hdagger motion inbetween clip.bvh --trackers head,hands --class walk
    """
    _check_steps(steps)
    check_prior(prior, kind)
    if (keep is None) == (trackers is None):
        raise SettingError(
            "Wanted what is known of the clip, but got both or nothing. "
            "Give --keep 0:10,50:60 or --trackers head,hands."
        )
    if keep is not None and noise is not None:
        raise SettingError(
            f"Wanted --noise beside --trackers, but got {noise} beside --keep. Leave it out."
        )
    noise = TRACKED if noise is None else noise
    check_tracked(noise)

    check_file(clip, "a clip")
    method, settings = with_physics(method, settings_said(setting or []), physics)
    recipe = Recipe(method, settings, steps, samples, seed, prior, kind)

    from .drawing import draw_to
    from .reading import some_frames, some_points

    motion = _read(clip, joints)
    if trackers is not None:
        reading = some_points(motion, trackers, noise, seed)
    else:
        reading = some_frames(motion, keep or "")
    title = f"{clip.name}, completed by {method}"
    draw_to(out, title, recipe, reading.measurement, reading, as_json)


@motion.command()
def denoise(
    clip: Clip,
    sigma_y: Annotated[
        float, typer.Option(help="Noise, 1 being the spread of the training motions.")
    ] = NOISY,
    kind: Kind = None,
    method: Method = "ddrm",
    setting: Setting = None,
    physics: Schedule = None,
    samples: Ranked = 4,
    seed: Seed = 0,
    steps: Steps = 50,
    prior: Prior = "motion",
    joints: Joints = None,
    out: Folder = Path("denoised"),
    as_json: AsJson = False,
) -> None:
    """Remove noise from a clip of up to two seconds, by the prior.

    `hdagger motion project` makes it plausible, too, and takes any length.

    Examples:

        hdagger motion denoise clip.bvh --sigma-y 0.2 --class walk
    """
    _check_steps(steps)
    check_prior(prior, kind)
    check_noisy(sigma_y)

    check_file(clip, "a clip")
    method, settings = with_physics(method, settings_said(setting or []), physics)
    recipe = Recipe(method, settings, steps, samples, seed, prior, kind)

    from .drawing import draw_to
    from .prior import motion_prior
    from .reading import noisy

    reading = noisy(_read(clip, joints), sigma_y, motion_prior(prior))
    title = f"{clip.name}, denoised by {method}"
    draw_to(out, title, recipe, reading.measurement, reading, as_json)


def with_physics(
    method: str, settings: Mapping[str, Plain], schedule: str | None
) -> tuple[str, dict[str, Plain]]:
    """A method and its settings, perhaps inside of one that projects onto physics.

    Raises:
        HDaggerError: MuJoCo is not installed.
    """
    if schedule is None:
        return method, dict(settings)
    ranges.Schedule(schedule)

    from .simulator import require_mujoco

    require_mujoco()
    inner = {f"inner.{name}": value for name, value in settings.items()}
    return "projected", {"inner": method, "schedule": schedule, **inner}


def _read(clip: Path, joints: Path | None) -> "Motion":
    """A clip; a bar is shown while a long one is read."""
    from .reading import read_clip

    with progress(f"reading {clip.name}") as watch:
        return read_clip(clip, joints, watch)


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise SettingError(f"Wanted 1 step or more, but got --steps {steps}. Try 50.")


@motion.command()
def metrics(
    clips: Annotated[list[Path], typer.Argument(help="Clips: .bvh, .npz or DeepMimic .txt.")],
    as_json: AsJson = False,
    joints: Joints = None,
) -> None:
    """Measure clips: penetrate, float, skate and their sum phys_err, in mm a frame.

    The margin under which a sole touches the ground, and the rate, are part of the numbers.

    Examples:

        hdagger motion metrics clip.bvh --json
    """
    from .pages import numbers_of, print_rows

    rows = numbers_of([(str(clip), _read(clip, joints)) for clip in clips])
    if as_json:
        for row in rows:
            tell({"clip": row.pop(""), **row})
    else:
        print_rows(rows)


@motion.command()
def train(
    plan: Annotated[Path, typer.Argument(help="Training plan; see training/motion.toml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the training.")] = Path(
        "runs/motion"
    ),
    as_json: AsJson = False,
) -> None:
    """Train a motion prior, or go on with a training that was stopped.

    Example:

        hdagger motion train training/motion.toml -o runs/motion
    """
    check_plan(plan)

    from .learning import MotionPlan, MotionTraining

    MotionTraining(MotionPlan.read(plan), out).run_aloud(as_json, report_every=30.0)
