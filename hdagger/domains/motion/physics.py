"""A motion made plausible: what the humanoid does in MuJoCo when it tries to follow it.

Servos at the joints track the motion, cleaned up before (:mod:`.cleanup`). A residual wrench at
the root helps to balance: a horizontal force and a torque, each bounded, and no vertical force,
which could hold a floating body up. The set-points are learned over a few simulations: each
time the smoothed tracking error is added to them (iterative learning control), and the closest
simulation is kept. A ladder of budgets for the wrench is climbed until a motion is followed well
enough, so the budget that it took says how plausible it was. A motion that no budget follows
comes back cleaned up, and says so; nothing that is not finite ever does.

References:
    Yuan, Song, Iqbal, Vahdat and Kautz, PhysDiff, ICCV 2023. https://arxiv.org/abs/2212.02500
    Yuan and Kitani, Residual Force Control for Agile Human Behavior Imitation, NeurIPS 2020.
    https://arxiv.org/abs/2006.07364
    Bristow, Tharayil and Alleyne, A Survey of Iterative Learning Control, 2006.
    https://doi.org/10.1109/MCS.2006.1636313
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .cleanup import SMOOTH, clean_up, smooth
from .clips import Motion, unwatched
from .metrics import distance, plausibility, root_relative_distance
from .simulator import STEP, control, roll, set_points, simulator

LADDER = ((0.0, 50.0), (100.0, 150.0), (400.0, 400.0), (1000.0, 800.0))
"""Budgets of the residual wrench: (horizontal force in N, torque in N m)."""

WORST, MEAN, CALM = 0.12, 0.018, 3.0
"""The climb ends where the root-relative distance to the motion, in metres, is below these in the
worst frame and on average, and Phys-Err without true flight below this, in mm."""

HOPELESS = 0.15
"""Where the mean error is above this, a rung is left after two simulations, and the
clean-up is better than any."""

LOCAL, GLOBAL, RUNG = 0.25, 0.05, 1.0
"""What a millimetre of root-relative distance, one of distance in the world, and a rung of the
ladder weigh against a millimetre of Phys-Err in the choice of a simulation."""

SEGMENT, AHEAD = 2.5, 0.4
"""Seconds that are learned at once, and those after them which have to go well, too: the next
segment begins where the last one ended, and must not fall."""

SWEEPS = 4
"""Simulations of the first rung after its first; the others, which go on from there, have one
less."""

FASTEST = 1e3
"""What no coordinate nor velocity of a sound simulation reaches."""


@dataclass(frozen=True)
class Report:
    """What a projection did to a motion.

    Attributes:
        budgets: (force in N, torque in N m) granted to each segment; None where the clean-up
            stands in for a simulation that fell.
        force: Largest horizontal residual force, N, as the simulation measured it.
        torque: Largest component of the residual torque, N m.
        vertical: Largest vertical force, N, that neither gravity nor the ground explains, as
            measured: 0 but for rounding.
        error: Mean root-relative distance to the motion given, mm.
        moved: Mean distance to it in the world, mm.
    """

    budgets: tuple[tuple[float, float] | None, ...]
    force: float
    torque: float
    vertical: float
    error: float
    moved: float

    def row(self) -> dict[str, Any]:
        """The numbers by their names, rounded."""
        numbers = {
            "residual_force": self.force,
            "residual_torque": self.torque,
            "residual_vertical_force": self.vertical,
            "root_relative_change": self.error,
            "change": self.moved,
        }
        return {"budgets": self.budgets} | {k: round(v, 2) for k, v in numbers.items()}


@runtime_checkable
class Projector(Protocol):
    """Motions -> plausible ones nearby, of the same lengths and rates."""

    def __call__(self, motions: Sequence[Motion], /) -> list[tuple[Motion, Report]]: ...


class CleanUp:
    """The projector without a simulator."""

    def __call__(self, motions: Sequence[Motion]) -> list[tuple[Motion, Report]]:
        found = [clean_up(motion) for motion in motions]
        return [
            (after, Report((None,), 0, 0, 0, root_relative_distance(after, m), distance(after, m)))
            for after, m in zip(found, motions, strict=True)
        ]


@dataclass
class _Trial:
    """What is followed in one segment, and the best that followed it so far."""

    reference: Motion
    frames: int
    state: np.ndarray
    goal: Tensor
    offset: Tensor
    budget: tuple[float, float] | None = None
    score: float = math.inf
    worst: float = math.inf
    mean: float = math.inf
    unrest: float = math.inf
    qpos: Tensor | None = None
    end: np.ndarray | None = None
    wrench: np.ndarray | None = None

    @property
    def good(self) -> bool:
        """Whether it is followed well enough to climb no further."""
        return self.worst < WORST and self.mean < MEAN and self.unrest < CALM


class Physics:
    """The projector: clean-up, simulation with learned set-points, the ladder of budgets.

    Args:
        ladder: Budgets to try, each (horizontal force in N, torque in N m).
        sweeps: Simulations of the first rung after its first one.
        threads: Of MuJoCo; by default one a core.
        watch: Called with (segments done, segments in all).
    """

    def __init__(
        self,
        ladder: Sequence[tuple[float, float]] = LADDER,
        sweeps: int = SWEEPS,
        threads: int | None = None,
        watch: Callable[[int, int], None] = unwatched,
    ) -> None:
        self.ladder = tuple(ladder)
        self.sweeps = sweeps
        self.threads = threads or os.cpu_count() or 1
        self.watch = watch

    def __call__(self, motions: Sequence[Motion]) -> list[tuple[Motion, Report]]:
        """Each motion and its report. Motions of one length and rate are simulated together."""
        alike: dict[tuple[int, float], list[int]] = {}
        for k, motion in enumerate(motions):
            alike.setdefault((len(motion), motion.fps), []).append(k)
        found: dict[int, tuple[Motion, Report]] = {}
        for rows in alike.values():
            found |= zip(rows, self._project([motions[k] for k in rows]), strict=True)
        return [found[k] for k in range(len(motions))]

    def _project(self, motions: list[Motion]) -> list[tuple[Motion, Report]]:
        """Motions of one length and rate."""
        frames, fps = len(motions[0]), motions[0].fps
        substeps = max(1, round(1 / (STEP * fps)))
        segments = max(1, math.ceil((frames - 1) / fps / SEGMENT))
        self.watch(0, segments)
        references = [clean_up(motion) for motion in motions]
        bounds = np.linspace(0, frames - 1, segments + 1).round().astype(int).tolist()
        parts: list[list[Tensor]] = [[] for _ in motions]
        budgets: list[list[tuple[float, float] | None]] = [[] for _ in motions]
        wrenches: list[list[np.ndarray]] = [[] for _ in motions]
        ends: list[np.ndarray | None] = [None] * len(motions)
        for number, (first, last) in enumerate(pairwise(bounds)):
            trials = []
            for reference, end in zip(references, ends, strict=True):
                piece = reference[first : last + 1 + round(AHEAD * fps)]
                if end is None:
                    humanoid = simulator(self.ladder[0], substeps, fps)
                    speed = humanoid.velocity(*piece.qpos[:2])
                    end = humanoid.start(piece.qpos[0], speed)
                goal = set_points(piece)
                trials.append(_Trial(piece, last - first, end, goal, torch.zeros_like(goal)))
            self._climb(trials, substeps)
            for k, trial in enumerate(trials):
                follows = trial.qpos is not None and trial.mean < HOPELESS
                qpos = trial.qpos if follows else trial.reference.qpos
                assert qpos is not None
                parts[k].append(qpos[min(number, 1) : trial.frames + 1])
                budgets[k].append(trial.budget if follows else None)
                ends[k] = trial.end if follows else None
                if follows and trial.wrench is not None:
                    wrenches[k].append(trial.wrench)
            self.watch(number + 1, segments)
        results = []
        for k, motion in enumerate(motions):
            after = motion.moved(torch.cat(parts[k]))
            wrench = np.concatenate([np.zeros((1, 6)), *wrenches[k]])
            report = Report(
                tuple(budgets[k]),
                force=float(np.linalg.norm(wrench[:, :2], axis=1).max()),
                torque=float(np.abs(wrench[:, 3:]).max()),
                vertical=float(np.abs(wrench[:, 2]).max()),
                error=root_relative_distance(after, motion),
                moved=distance(after, motion),
            )
            results.append((after, report))
        return results

    def _climb(self, trials: list[_Trial], substeps: int) -> None:
        """Tries budget after budget on those that are not yet followed well enough."""
        rest = trials
        for rung in range(len(self.ladder)):
            before = [trial.score for trial in rest]
            self._learn(rest, rung, substeps)
            rest = [
                trial
                for trial, score in zip(rest, before, strict=True)
                if not trial.good and (trial.score < score or trial.mean > HOPELESS)
            ]
            if rung + 2 == len(self.ladder):  # the strongest help is for what nothing else follows
                rest = [trial for trial in rest if trial.worst > WORST]
            if not rest:
                break

    def _learn(self, trials: list[_Trial], rung: int, substeps: int) -> None:
        """Simulates again and again, adding the tracking error to the set-points."""
        humanoid = simulator(self.ladder[rung], substeps, trials[0].reference.fps)
        offsets = [trial.offset for trial in trials]
        for sweep in range(self.sweeps + (rung == 0)):
            if sweep == 2:
                kept = [k for k, trial in enumerate(trials) if trial.mean < HOPELESS]
                trials, offsets = [trials[k] for k in kept], [offsets[k] for k in kept]
            if not trials:
                break
            starts = np.stack([trial.state for trial in trials])
            controls = [
                control(trial.reference, trial.goal + offset, substeps)
                for trial, offset in zip(trials, offsets, strict=True)
            ]
            states, wrenches = roll(humanoid, starts, np.stack(controls), self.threads)
            for k, trial in enumerate(trials):
                frames = np.concatenate([starts[k : k + 1], states[k, substeps - 1 :: substeps]])
                if not np.isfinite(frames).all() or np.abs(frames[:, 1:]).max() > FASTEST:
                    offsets[k] = 0.5 * offsets[k]
                    continue
                size = trial.reference.skeleton.size
                motion = trial.reference.moved(torch.from_numpy(frames[:, 1 : 1 + size]))
                wrench = wrenches[k, : trial.frames * substeps]
                self._compare(trial, motion, offsets[k], rung, frames[trial.frames], wrench)
                miss = (trial.goal - set_points(motion)).clamp(-0.5, 0.5)
                learned = offsets[k] + 0.5 * smooth(miss, SMOOTH * motion.fps)
                offsets[k] = learned.clamp(-0.6, 0.6)

    def _compare(
        self, trial: _Trial, motion: Motion, offset: Tensor, rung: int, end: np.ndarray,
        wrench: np.ndarray,
    ) -> None:  # fmt: skip
        """Keeps the simulation if it is the best so far."""
        points, wanted = motion.points, trial.reference.points
        apart = ((points - points[:, :1]) - (wanted - wanted[:, :1])).norm(dim=-1).mean(1)
        away = float((points - wanted).norm(dim=-1).mean())
        found = plausibility(motion)
        score = found.phys_err + 1e3 * (LOCAL * float(apart.mean()) + GLOBAL * away) + RUNG * rung
        if score < trial.score:
            trial.score, trial.worst, trial.mean = score, float(apart.max()), float(apart.mean())
            trial.unrest = found.phys_err - found.floating + found.grounded
            trial.budget, trial.offset, trial.qpos = self.ladder[rung], offset, motion.qpos
            trial.end, trial.wrench = end, wrench
