"""The motion benchmark: where physics belongs in the loop, and what the prior knows.

*Schedules*: samples of the bundled prior, plain, projected afterwards (``end:1``, which is the
same), and with physics in the loop at several schedules; three seeds. *Completion*: windows of
two seconds of held-out clips, 40 of 60 frames hidden, against interpolation and cubic Hermite
curves, and known only by trackers on head and hands.

``phys_err`` and its parts are in mm a frame (:mod:`.metrics`), ``worst`` is that of
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

from ...errors import FileError
from ...measurement import Measurement
from ...recipe import Recipe
from ...restoration import restore
from ...trials import Row, run_trials, table_lines
from .clips import Motion
from .completion import interpolated, smoothly_interpolated, with_known
from .domain import MOTION
from .features import WINDOW
from .files import read_deepmimic
from .frechet import FrechetDistance
from .metrics import plausibility, root_relative_distance
from .reading import nothing_known
from .windows import to_motions, to_signal

SCHEDULES = ("none", "end:1", "end:4", "end:10", "start:4", "uniform:4")
SEEDS = (0, 1, 2)
STEPS = 30
HIDDEN = slice(10, 50)
TRACKER_NOISE = 0.01
NUMBERS = ("phys_err", "penetrate", "float", "skate", "float_grounded", "jerk")


def drawn(recipe: Recipe, measurement: Measurement) -> tuple[list[Motion], list[int]]:
    """Motions, and how many segments of each fell under every budget."""
    samples = restore(recipe, measurement)
    fell = samples.known.get("fell", torch.zeros(len(samples.draws)))
    return to_motions(samples.draws), [int(count) for count in fell]


@cache
def _plain(seed: int, samples: int) -> list[Motion]:
    """The samples without physics, which the others are compared with."""
    recipe = Recipe("ddim", {"eta": 0.0}, STEPS, samples, seed, "motion")
    return drawn(recipe, nothing_known())[0]


def sample(
    schedule: str, seed: int, samples: int, distance: FrechetDistance | None = None
) -> list[Row]:
    """A row for each sample; what is said of all of them is in each."""
    plain = _plain(seed, samples)
    motions, diverged = plain, [0] * samples
    if schedule != "none":
        settings = {"inner": "ddim", "inner.eta": 0.0, "schedule": schedule}
        recipe = Recipe("projected", settings, STEPS, samples, seed, "motion")
        motions, fell = drawn(recipe, nothing_known())
        diverged = [int(count > 0) for count in fell]
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


def _summarise(key: tuple[str, int, int], results: list[list[Row]]) -> list[Row]:
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
    trials = {
        (name, seed, samples): [(name, seed, samples, distance)]
        for name in schedules
        for seed in seeds
    }
    return run_trials(("schedule", "seed", "samples"), trials, sample, _summarise, file, workers)


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
    known = torch.ones(WINDOW, dtype=torch.bool)
    known[HIDDEN] = False
    arrays = {"frames": known}
    errors: dict[tuple[str, str], list[float]] = {}
    for number, (kind, clip, truth) in enumerate(windows(clips, each)):

        def note(task: str, motions: Sequence[Motion], clip: str = clip, truth: Motion = truth):  # noqa: ANN202
            frames = HIDDEN if task.startswith("between") else slice(None)
            for motion in motions:
                error = root_relative_distance(motion[frames], truth[frames])
                errors.setdefault((clip, task), []).append(error)

        x = to_signal([truth])[0]
        note("between interpolation", [interpolated(truth, known)])
        note("between Hermite", [smoothly_interpolated(truth, known)])
        between = MOTION.measure(x, "frames", arrays, 0.0)
        trackers = MOTION.measure(x, "trackers:head,hands", {}, TRACKER_NOISE, 7, number)
        for method in ("pigdm", "ddrm"):
            recipe = Recipe(method, {}, steps, draws, 0, "motion", kind)
            found, _ = drawn(recipe, between)
            note(f"between {method}", [with_known(motion, truth, known) for motion in found])
            note(f"trackers {method}", drawn(recipe, trackers)[0])
    return [
        {"clip": clip, "method": method, "error": round(sum(found) / len(found), 1)}
        for (clip, method), found in errors.items()
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A table: the mean over the seeds of each schedule."""
    columns = (*NUMBERS, "diversity", "moved")
    distances = [name for name in ("frechet", "floor") if any(name in row for row in rows)]
    table = []
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
        table.append([schedule, str(total), *cells])
    head = ["physics", "samples", *columns, *distances, "worst", "diverged"]
    return "\n".join(table_lines(head, table))


def completion_markdown(rows: Sequence[Row]) -> str:
    """A table of root-relative errors: a row for each clip, a column for each method."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    table = []
    for clip in dict.fromkeys(row["clip"] for row in rows):
        by = {row["method"]: row["error"] for row in rows if row["clip"] == clip}
        table.append([clip, *(f"{by[m]:.0f}" for m in methods)])
    return "\n".join(table_lines(["clip", *methods], table))
