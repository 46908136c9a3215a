"""The field benchmark: are the error bars right, and how many network evaluations does it take?

The prior is a Gaussian random field on 1x32x32 with its exact denoiser, so the posterior is
known; what is off is the sampler's. The averages of 4x4 blocks (``sr4``) or 30 % of the pixels
(``inpaint30``) are measured with sigma_y = 0.1. Four measurements, 64 samples of each.

A pixel has variance 1, but the average of 4x4 of them has nearly that variance too, 16 times
that of independent ones; PiGDM is run with both for the variance of the data.

``mean_error``: distance of the samples' mean from the posterior's, in posterior standard
deviations (root mean square; what 64 samples leave is subtracted). ``variance_ratio``: the
samples' variance over the posterior's. ``chi2_dof``: |y - H x|^2 of the samples over what exact
samples have on average. ``coverage_90``: how much of the posterior lies within the samples'
central 90 % interval, pixel by pixel. Right is 0, 1, 1 and 0.9.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ..diagnostics import central_interval
from ..domains.pictures.resample import BlockAverage
from ..operators.base import LinearOperator
from ..operators.checks import dense
from ..operators.spectral import Inpainting
from ..priors.analytic import GaussianField
from ..priors.base import Counted, Denoiser
from ..samplers.base import Problem, Sampler, karras_levels
from ..samplers.ddim import DDIM
from ..samplers.ddrm import DDRM
from ..samplers.guidance import DPS, ReconstructionGuidance
from ..samplers.integrators import Heun, Multistep
from ..samplers.pigdm import PiGDM
from ..samplers.projection import Projection
from ..samplers.tmpd import TMPD
from ..tensors import Signal
from .cells import Row, generator_for, run_cells

SHAPE = (1, 32, 32)
SIGMA_Y = 0.1
MEASUREMENTS, SAMPLES = 4, 64
NFES = (10, 20, 50, 100, 200)


def operators() -> dict[str, LinearOperator]:
    kept = torch.rand(SHAPE, generator=generator_for(0)) < 0.3
    return {"sr4": BlockAverage(SHAPE, 4), "inpaint30": Inpainting(kept)}


@dataclass(frozen=True)
class Method:
    """A sampler and what it spends.

    Attributes:
        make: prior -> the sampler.
        cost: Network evaluations a step.
        saved: How many fewer the last step takes.
    """

    make: Callable[[Denoiser], Sampler]
    cost: int = 1
    saved: int = 0


def _tmpd(prior: Denoiser, eta: float = 1.0, step_variance: float = 0.0) -> TMPD:
    return TMPD(prior, eta, iterations=10, step_variance=step_variance)


METHODS = {
    "ddim (no data)": Method(lambda prior: DDIM(prior)),
    "ddrm": Method(lambda prior: DDRM(prior)),
    "projection": Method(lambda prior: Projection(prior)),
    "reconstruction": Method(lambda prior: ReconstructionGuidance(prior)),
    "dps": Method(lambda prior: DPS(prior)),
    "pigdm, paper": Method(lambda prior: PiGDM(prior, weighting="paper")),
    "pigdm, v=1": Method(lambda prior: PiGDM(prior)),
    "pigdm, v=16": Method(lambda prior: PiGDM(prior, data_variance=16.0)),
    "pigdm, v=16, difference": Method(
        lambda prior: PiGDM(prior, data_variance=16.0, jacobian="difference"), cost=2
    ),
    "tmpd, rows": Method(lambda prior: TMPD(prior, covariance="rows")),
    "tmpd": Method(lambda prior: _tmpd(prior)),
    "tmpd, gaussian step": Method(lambda prior: _tmpd(prior, step_variance=1.0)),
    "tmpd, heun": Method(lambda prior: Heun(_tmpd(prior, 0.0)), cost=2, saved=1),
    "tmpd, multistep": Method(lambda prior: Multistep(_tmpd(prior, 0.0))),
}


@dataclass(frozen=True)
class Case:
    """A task with its measurements and their posteriors.

    Attributes:
        problem: A row of data for each sample, the samples of a measurement side by side.
        mean: Posterior means, ``(measurements, n)``.
        deviation: Posterior standard deviations, ``(n,)``.
        misfit: What |y - H x|^2 is on average over each posterior, ``(measurements,)``.
    """

    problem: Problem
    mean: Tensor
    deviation: Tensor
    misfit: Tensor

    @classmethod
    def measured(cls, H: LinearOperator, sigma_y: float) -> "Case":
        """Measurements of as many draws of the field."""
        generator = generator_for(1)

        def noise(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        x0 = GaussianField(SHAPE[1]).sample(MEASUREMENTS, noise)
        y = H(x0) + sigma_y * noise((MEASUREMENTS, *H.data_shape))
        matrix = dense(H)
        seen = matrix.abs().sum(1) > 0
        matrix, flat = matrix[seen], y.flatten(1)[:, seen]
        _, cov = GaussianField(SHAPE[1]).flat().posterior(matrix, flat[0], sigma_y)
        mean = flat @ matrix @ cov / sigma_y**2
        spread = (matrix @ cov * matrix).sum()
        misfit = (flat - mean @ matrix.T).square().sum(1) + spread
        rows = y.repeat_interleave(SAMPLES, 0)
        return cls(Problem(rows, H, sigma_y), mean, cov.diagonal().sqrt(), misfit)

    @classmethod
    @cache
    def of(cls, task: str) -> "Case":
        return cls.measured(operators()[task], SIGMA_Y)

    def judge(self, x: Signal) -> Row:
        """What samples of all measurements are worth: see the top of this file."""
        residual = (self.problem.y - self.problem.H(x)).flatten(1)
        if isinstance(self.problem.H, Inpainting):
            residual = residual * self.problem.H.mask
        chi2 = residual.square().sum(1).view(MEASUREMENTS, SAMPLES).mean(1) / self.misfit
        draws = x.flatten(1).unflatten(0, (MEASUREMENTS, SAMPLES))
        variance = draws.var(1)
        error2 = (draws.mean(1) - self.mean).square() - variance / SAMPLES
        low, high = central_interval(draws.transpose(0, 1), 0.9)
        inside = [torch.special.ndtr((edge - self.mean) / self.deviation) for edge in (low, high)]
        return {
            "mean_error": round(float((error2 / self.deviation**2).mean().clamp(min=0).sqrt()), 4),
            "variance_ratio": round(float((variance / self.deviation**2).mean()), 4),
            "chi2_dof": round(float(chi2.mean()), 4),
            "coverage_90": round(float((inside[1] - inside[0]).mean()), 4),
        }


def draw(make: Callable[[Denoiser], Sampler], case: Case, steps: int) -> tuple[Row, int, float]:
    """How a sampler does on a case, its network evaluations and its seconds."""
    prior, stream = Counted(GaussianField(SHAPE[1])), generator_for(2)
    levels = karras_levels(steps, low=0.01, high=80.0)
    started = time.perf_counter()
    x = make(prior).sample(
        case.problem,
        levels,
        lambda shape: torch.randn(shape, generator=stream, dtype=torch.float64),
    )
    return case.judge(x), prior.nfe, round(time.perf_counter() - started, 3)


def solve(task: str, method: str, steps: int) -> Row:
    """One method on one task."""
    found, nfe, seconds = draw(METHODS[method].make, Case.of(task), steps)
    return {"task": task, "method": method, "nfe": nfe, **found, "seconds": seconds}


def run(
    tasks: Sequence[str] = ("sr4", "inpaint30"),
    nfes: Sequence[int] = NFES,
    file: Path | None = None,
    workers: int = 2,
) -> list[Row]:
    """A row for each task, method and budget; those that ``file`` holds are not run again.

    Heun's method spends one evaluation less than the budget.
    """
    cells: dict[tuple[str, str, int], list[tuple[str, str, int]]] = {}
    for task, nfe, (name, method) in itertools.product(tasks, nfes, METHODS.items()):
        steps = nfe // method.cost
        spent = steps * method.cost - method.saved
        cells[task, name, spent] = [(task, name, steps)]
    return run_cells(("task", "method", "nfe"), cells, solve, _keep, file, workers)


def _keep(cell: tuple[str, str, int], rows: list[Row]) -> list[Row]:
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """A table for each task and budget."""
    lines: list[str] = []
    columns = ("mean_error", "variance_ratio", "chi2_dof", "coverage_90")
    for task in dict.fromkeys(row["task"] for row in rows):
        lines += [f"### {task}", "", "| method | NFE | " + " | ".join(columns) + " | seconds |"]
        lines += ["|---" * 7 + "|"]
        for row in sorted((r for r in rows if r["task"] == task), key=lambda r: -r["nfe"]):
            numbers = [f"{row[c]:.3f}" if row[c] < 1e3 else "diverged" for c in columns]
            cells = [row["method"], str(row["nfe"]), *numbers, f"{row['seconds']:.1f}"]
            lines += ["| " + " | ".join(cells) + " |"]
        lines += [""]
    return "\n".join(lines)
