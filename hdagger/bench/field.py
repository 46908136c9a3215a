"""The field benchmark: are the error bars right, and how many network evaluations does it take?

The prior is a Gaussian random field on 1x32x32 with its exact denoiser, so the posterior is
known; what is off is the sampler's. The averages of 4x4 blocks (``sr4``) or 30 % of the pixels
(``inpaint30``) are measured with sigma_y = 0.1. Four measurements, 64 samples of each.

A pixel has variance 1, but the average of 4x4 of them has nearly that variance too, 16 times
that of independent ones; PiGDM is run with both for the variance of the data. The drawn steps
know the field's covariances, as they know those of a network that were measured.

``mean_error``: distance of the samples' mean from the posterior's, in posterior standard
deviations (root mean square; what 64 samples leave is subtracted). ``variance_ratio``: the
samples' variance over the posterior's. ``chi2_dof``: |y - H x|^2 of the samples over what exact
samples have on average. ``coverage_90``: how much of the posterior lies within the samples'
central 90 % interval, pixel by pixel. Right is 0, 1, 1 and 0.9.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..covariance import ExactField
from ..diagnostics import central_interval, residual_chi2
from ..domains.pictures.resample import BlockAverage
from ..operators.base import LinearOperator
from ..operators.checks import dense
from ..operators.spectral import Inpainting
from ..priors.analytic import GaussianField
from ..problem import Problem
from ..samplers.base import Sampler
from ..samplers.ddim import DDIM
from ..samplers.ddrm import DDRM
from ..samplers.drawn import Drawn
from ..samplers.guidance import DPS, ReconstructionGuidance
from ..samplers.pigdm import PiGDM
from ..samplers.tmpd import TMPD
from ..samplers.walk import karras_levels
from ..settings import settings_text
from ..solving import solve
from ..tensors import Signal
from ..trials import Row, generator_for, run_trials, table_lines

PROTOCOL = "field 2"
"""Changes when rows are no longer to be compared with those of before."""

SHAPE = (1, 32, 32)
SIGMA_Y = 0.1
MEASUREMENTS, SAMPLES = 4, 64
NFES = (10, 20, 50, 100, 200)


def operators() -> dict[str, LinearOperator]:
    kept = torch.rand(SHAPE, generator=generator_for(0)) < 0.3
    return {"sr4": BlockAverage(SHAPE, 4), "inpaint30": Inpainting(kept)}


_TMPD = TMPD(eta=1.0, solver="euler", iterations=10)
_PIGDM = PiGDM(data_variance=16.0, jacobian="vjp")

CONTENDERS: Mapping[str, Sampler[Any]] = {
    "ddim (no data)": DDIM(),
    "ddrm": DDRM(eta=0.85),
    "drawn": Drawn(uncertainty=ExactField(GaussianField(SHAPE[1]))),
    "reconstruction": ReconstructionGuidance(),
    "dps": DPS(),
    "pigdm, paper": replace(_PIGDM, data_variance=1.0, weighting="paper"),
    "pigdm, v=1": replace(_PIGDM, data_variance=1.0),
    "pigdm, v=16": _PIGDM,
    "pigdm, v=16, difference": replace(_PIGDM, jacobian="difference"),
    "tmpd, rows": replace(_TMPD, covariance="rows"),
    "tmpd": _TMPD,
    "tmpd, gaussian step": replace(_TMPD, step_variance=1.0),
    "tmpd, heun": replace(_TMPD, eta=0.0, solver="heun"),
    "tmpd, multistep": replace(_TMPD, eta=0.0, solver="multistep"),
}
COSTS = {"tmpd, heun": 2}
"""Network evaluations a step, where that is not one; differences take one more."""


def levels_of(steps: int) -> Tensor:
    """The levels that every method walks down, to 0."""
    return karras_levels(steps, low=0.01, high=80.0)


def calls(method: str, steps: int) -> int:
    """How many network evaluations a contender takes; Heun's last step takes one less."""
    differences = sum(map(CONTENDERS[method].differs, levels_of(steps)[:-1]))
    return COSTS.get(method, 1) * steps + differences


def affordable(method: str, nfe: int) -> int:
    """The most steps of a contender that take at most ``nfe`` evaluations."""
    return max(steps for steps in range(1, nfe + 1) if calls(method, steps) <= nfe)


@dataclass(frozen=True)
class Case:
    """A task with its measurements and their posteriors.

    Attributes:
        problems: One for each measurement.
        mean: Posterior means, ``(measurements, n)``.
        deviation: Posterior standard deviations, ``(n,)``.
        misfit: What |y - H x|^2 is on average over each posterior, ``(measurements,)``.
    """

    problems: Sequence[Problem]
    mean: Tensor
    deviation: Tensor
    misfit: Tensor

    @classmethod
    def measured(
        cls, H: LinearOperator, sigma_y: float, measurements: int = MEASUREMENTS, seed: int = 0
    ) -> "Case":
        """Measurements of as many draws of the field."""
        generator = generator_for(seed, 1)

        def noise(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        x0 = GaussianField(SHAPE[1]).sample(measurements, noise)
        y = H.seen(H(x0) + sigma_y * noise((measurements, *H.data_shape)))
        matrix = dense(H)
        seen = matrix.abs().sum(1) > 0
        matrix, flat = matrix[seen], y.flatten(1)[:, seen]
        _, cov = GaussianField(SHAPE[1]).flat().posterior(matrix, flat[0], sigma_y)
        mean = flat @ matrix @ cov / sigma_y**2
        spread = (matrix @ cov * matrix).sum()
        misfit = (flat - mean @ matrix.T).square().sum(1) + spread
        problems = [Problem.of(row, H, sigma_y) for row in y]
        return cls(problems, mean, cov.diagonal().sqrt(), misfit)

    def judge(self, x: Sequence[Signal]) -> Row:
        """What samples of every measurement are worth: see the top of this file."""
        chi2 = [
            float(residual_chi2(samples, problem).mean()) * problem.H.rank * problem.sigma_y**2
            for samples, problem in zip(x, self.problems, strict=True)
        ]
        draws = torch.stack([samples.flatten(1) for samples in x])
        variance = draws.var(1)
        error2 = (draws.mean(1) - self.mean).square() - variance / draws.shape[1]
        low, high = central_interval(draws.transpose(0, 1), 0.9)
        inside = [torch.special.ndtr((edge - self.mean) / self.deviation) for edge in (low, high)]
        return {
            "mean_error": round(float((error2 / self.deviation**2).mean().clamp(min=0).sqrt()), 4),
            "variance_ratio": round(float((variance / self.deviation**2).mean()), 4),
            "chi2_dof": round(float((torch.tensor(chi2) / self.misfit).mean()), 4),
            "coverage_90": round(float((inside[1] - inside[0]).mean()), 4),
        }


@cache
def case_of(task: str, measurements: int = MEASUREMENTS, seed: int = 0) -> Case:
    """The measurements of a task."""
    return Case.measured(operators()[task], SIGMA_Y, measurements, seed)


def draw(method: Sampler[Any], case: Case, steps: int, samples: int, seed: int) -> Row:
    """How a sampler does on a case, its network evaluations and its seconds."""
    prior = GaussianField(SHAPE[1])
    drawn = [
        solve(
            prior,
            problem,
            method,
            levels=levels_of(steps),
            samples=samples,
            seed=seed,
            item=item,
            batch=samples,
        )
        for item, problem in enumerate(case.problems)
    ]
    return {
        "nfe": drawn[0].provenance["nfe"],
        **case.judge([each.draws for each in drawn]),
        "seconds": round(sum(each.provenance["seconds"] for each in drawn), 3),
    }


def one(task: str, method: str, steps: int, measurements: int, samples: int, seed: int) -> Row:
    """One method on one task."""
    case = case_of(task, measurements, seed)
    return draw(CONTENDERS[method], case, steps, samples, seed)


NAMES = ("protocol", "task", "method", "settings", "steps", "measurements", "samples", "seed")


def run(
    tasks: Sequence[str] = ("sr4", "inpaint30"),
    nfes: Sequence[int] = NFES,
    file: Path | None = None,
    measurements: int = MEASUREMENTS,
    samples: int = SAMPLES,
    seed: int = 0,
    workers: int = 2,
) -> list[Row]:
    """A row for each task, method and budget; those that ``file`` holds are not run again.

    Heun's method spends one evaluation less than the budget.
    """
    trials = {}
    for task, nfe, (name, method) in itertools.product(tasks, nfes, CONTENDERS.items()):
        steps = affordable(name, nfe)
        said = settings_text(method)
        key = (PROTOCOL, task, name, said, steps, measurements, samples, seed)
        trials[key] = [(task, name, steps, measurements, samples, seed)]
    return run_trials(NAMES, trials, one, lambda key, rows: rows, file, workers)


def markdown(rows: Sequence[Row]) -> str:
    """A table for each task and budget."""
    lines: list[str] = []
    columns = ("mean_error", "variance_ratio", "chi2_dof", "coverage_90")
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = []
        for row in sorted((r for r in rows if r["task"] == task), key=lambda r: -r["nfe"]):
            numbers = [f"{row[c]:.3f}" if row[c] < 1e3 else "diverged" for c in columns]
            cells.append([row["method"], str(row["nfe"]), *numbers, f"{row['seconds']:.1f}"])
        head = ["method", "NFE", *columns, "seconds"]
        lines += [f"### {task}", "", *table_lines(head, cells), ""]
    return "\n".join(lines)
