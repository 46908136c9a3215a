"""The motion benchmark: where physics belongs in the loop, and what the prior knows.

*Schedules*: samples of the bundled prior, plain, projected afterwards (``end:1``, which is the
same), and with physics in the loop at several schedules; three seeds. *Completion*: windows of
two seconds of held-out clips, 40 of 60 frames hidden, against interpolation and cubic Hermite
curves, and known only by trackers on head and hands.

``phys_err`` and its parts are in mm a frame (:mod:`hdagger.motion.metrics`), ``worst`` is that of
the worst sample; ``diverged`` counts simulations that fell under every budget; ``diversity`` is
the mean root-relative distance of a sample to the next, ``moved`` that to the plain sample of the
same noise; ``frechet`` is the distance of a set from training windows (:mod:`.frechet`), and
``floor`` that of as many training windows; ``error`` is the root-relative error over the hidden
frames. Lengths are in mm.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from ...bench.cells import Row, generator_for, run_cells
from ...errors import FileError
from ...priors import zoo
from ...samplers.base import Problem
from ...samplers.projection import Projected
from .clips import Motion, read_deepmimic
from .features import WINDOW
from .frechet import FrechetDistance
from .metrics import plausibility, root_relative_distance
from .physics import Physics
from .prior import MotionPrior
from .sampling import (
    OntoPhysics,
    draw,
    frames_known,
    interpolated,
    nothing_known,
    points_named,
    sampler_for,
    smoothly_interpolated,
    to_motions,
    tracked,
    with_known,
)

SCHEDULES = ("none", "end:1", "end:4", "end:10", "start:4", "uniform:4")
SEEDS = (0, 1, 2)
STEPS = 30
HIDDEN = slice(10, 50)
TRACKER_NOISE = 0.01
NUMBERS = ("phys_err", "penetrate", "float", "skate", "float_grounded", "jerk")


@cache
def bundled() -> MotionPrior:
    return MotionPrior.load(zoo.checked_weights(zoo.card("motion")))


@cache
def _plain(seed: int, samples: int) -> list[Motion]:
    """The samples without physics, which the others are compared with."""
    prior = bundled().of(None)
    sampler = sampler_for("ddim", prior, None, None)
    return to_motions(prior, draw(sampler, nothing_known(), samples, seed, STEPS))


def sample(
    schedule: str, seed: int, samples: int, distance: FrechetDistance | None = None
) -> list[Row]:
    """A row for each sample; what is said of all of them is in each."""
    plain = _plain(seed, samples)
    motions, diverged = plain, [0] * samples
    if schedule != "none":
        prior = bundled().of(None)
        sampler = sampler_for("ddim", prior, schedule, Physics(threads=1))
        assert isinstance(sampler, Projected)
        assert isinstance(sampler.projector, OntoPhysics)
        motions = to_motions(prior, draw(sampler, nothing_known(), samples, seed, STEPS))
        diverged = [int(None in report.budgets) for report in sampler.projector.reports]
    whole = {}
    if distance is not None:
        whole = {"frechet": distance(motions), "floor": distance.floor(samples)}
    rows = []
    for k, motion in enumerate(motions):
        numbers = plausibility(motion).row()
        rows.append(
            {name: numbers[name] for name in NUMBERS}
            | {
                "diverged": diverged[k],
                "diversity": root_relative_distance(motion, motions[(k + 1) % samples]),
                "moved": root_relative_distance(motion, plain[k]),
            }
            | whole
        )
    return rows


def _summarise(key: tuple[str, int], results: list[list[Row]]) -> list[Row]:
    """Means over the samples, and 1.96 standard errors of Phys-Err."""
    (rows,) = results
    errors = torch.tensor([row["phys_err"] for row in rows])
    means = {
        name: round(sum(row[name] for row in rows) / len(rows), 3)
        for name in rows[0]
        if name != "diverged"
    }
    return [
        {"schedule": key[0], "seed": key[1], "samples": len(rows)}
        | means
        | {
            "diverged": sum(row["diverged"] for row in rows),
            "worst": max(row["phys_err"] for row in rows),
            "interval": round(1.96 * float(errors.std()) / len(rows) ** 0.5, 3),
        }
    ]


def run(
    schedules: Sequence[str] = SCHEDULES,
    samples: int = 200,
    seeds: Sequence[int] = SEEDS,
    file: Path | None = None,
    workers: int = 2,
    distance: FrechetDistance | None = None,
) -> list[Row]:
    """A row for each schedule and seed; those that ``file`` holds are not run again."""
    cells = {
        (name, seed): [(name, seed, samples, distance)] for name in schedules for seed in seeds
    }
    return run_cells(("schedule", "seed"), cells, sample, _summarise, file, workers)


def windows(clips: Path, each: int) -> list[tuple[str, str, Motion]]:
    """(class, clip, two seconds of it) of every clip in ``clips/CLASS/*.txt``."""
    found = []
    for path in sorted(clips.glob("*/*.txt")):
        motion, cyclic = read_deepmimic(path)
        motion = motion.resampled(30.0).grounded()
        motion = motion.repeated(2 * WINDOW) if cyclic else motion
        starts = torch.linspace(0, len(motion) - WINDOW, each + 2)[1:-1].long().tolist()
        pieces = [motion[start : start + WINDOW].canonical() for start in starts if start >= 0]
        found += [(path.parent.name, path.stem, piece) for piece in pieces]
    if not found:
        raise FileError(
            f"Wanted clips in a folder for each class, but {clips} has none. "
            "Run scripts/gather_motion.py."
        )
    return found


def complete(clips: Path, each: int = 4, steps: int = 50, draws: int = 4) -> list[Row]:
    """Root-relative errors in mm, for each clip: means over its windows and the draws."""
    prior = bundled()
    known = torch.ones(WINDOW, dtype=torch.bool)
    known[HIDDEN] = False
    errors: dict[tuple[str, str], list[float]] = {}

    def note(clip: str, method: str, problem: Problem, truth: Motion) -> None:
        motions = to_motions(
            prior,
            draw(sampler_for(method.split()[-1], prior, None, None), problem, draws, 0, steps),
        )
        frames = HIDDEN if method.startswith("between") else slice(None)
        for motion in motions:
            done = with_known(motion, truth, known) if method.startswith("between") else motion
            error = root_relative_distance(done[frames], truth[frames])
            errors.setdefault((clip, method), []).append(error)

    points = points_named(["head", "hands"])
    columns = [Motion(torch.zeros(2, 43)).skeleton.points.index(point) for point in points]
    for number, (kind, clip, truth) in enumerate(windows(clips, each)):
        prior.of(kind)
        for method, fill in (("interpolation", interpolated), ("Hermite", smoothly_interpolated)):
            error = root_relative_distance(fill(truth, known)[HIDDEN], truth[HIDDEN])
            errors.setdefault((clip, f"between {method}"), []).append(error)
        seen = truth.points[:, columns]
        shape = tuple(seen.shape)
        noise = torch.randn(shape, generator=generator_for(7, number), dtype=torch.float64)
        for method in ("pigdm", "ddrm"):
            note(clip, f"between {method}", frames_known(prior, truth, known), truth)
            problem = tracked(prior, seen + TRACKER_NOISE * noise, points, TRACKER_NOISE)
            note(clip, f"trackers {method}", problem, truth)
    prior.of(None)
    return [
        {"clip": clip, "method": method, "error": round(sum(found) / len(found), 1)}
        for (clip, method), found in errors.items()
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A table: the mean over the seeds of each schedule."""
    columns = (*NUMBERS, "diversity", "moved")
    distances = [name for name in ("frechet", "floor") if any(name in row for row in rows)]
    lines = [
        "| physics | samples | " + " | ".join([*columns, *distances]) + " | worst | diverged |"
    ]
    lines += ["|---" * (len(columns) + len(distances) + 4) + "|"]
    for schedule in dict.fromkeys(row["schedule"] for row in rows):
        mine = [row for row in rows if row["schedule"] == schedule]
        means = [sum(row[c] for row in mine) / len(mine) for c in columns]
        interval = (sum(row["interval"] ** 2 for row in mine)) ** 0.5 / len(mine)
        cells = [f"{means[0]:.2f} +- {interval:.2f}", *(f"{mean:.1f}" for mean in means[1:])]
        for c in distances:
            known = [row[c] for row in mine if c in row]
            cells += [f"{sum(known) / len(known):.3f}" if known else ""]
        total, fallen = (sum(row[c] for row in mine) for c in ("samples", "diverged"))
        cells += [f"{max(row['worst'] for row in mine):.1f}", str(fallen)]
        lines += [f"| {schedule} | {total} | " + " | ".join(cells) + " |"]
    return "\n".join(lines)


def completion_markdown(rows: Sequence[Row]) -> str:
    """A table of root-relative errors: a row for each clip, a column for each method."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = ["| clip | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for clip in dict.fromkeys(row["clip"] for row in rows):
        by = {row["method"]: row["error"] for row in rows if row["clip"] == clip}
        lines += [f"| {clip} | " + " | ".join(f"{by[m]:.0f}" for m in methods) + " |"]
    return "\n".join(lines)
