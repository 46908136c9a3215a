"""The mixture benchmark: can a sampler weigh the modes of a posterior that is known exactly?

A mixture of 25 Gaussians of unit variance, with means (-8i, -8j, -8i, -8j, ...) for i and j from
-2 to 2, is seen through a random matrix of 1, 2 or 4 rows. What is reported is the sliced
Wasserstein-1 distance to exact posterior samples, beside the floor, which is the distance of
two exact sets, and the oracle, which is the ancestral sampler with the exact posterior score:
what is above the floor there is the integrator's error alone.

This is the protocol of MCGDiff with its defects mended: weights are seeded, the seeds of the
cells do not overlap, the largest noise level exceeds the means, and the floor is printed. The
error of the modes' weights is given too, because slices hide it in high dimension.

References:
    Cardoso, Janati El Idrissi, Le Corff and Moulines, Monte Carlo guided diffusion for Bayesian
    linear inverse problems, ICLR 2024, section 4.1. https://arxiv.org/abs/2308.07983
"""

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..covariance import Isotropic
from ..diagnostics import sliced_wasserstein
from ..operators.spectral import Dense
from ..priors.analytic import GaussianMixture
from ..problem import Problem
from ..samplers.base import Sampler
from ..samplers.ddim import DDIM
from ..samplers.ddrm import DDRM
from ..samplers.guidance import DPS, ReconstructionGuidance
from ..samplers.pigdm import PiGDM
from ..samplers.smc import SMC
from ..samplers.tmpd import TMPD
from ..samplers.walk import karras_levels
from ..settings import settings_text
from ..solving import solve
from ..tensors import Level, Signal
from ..trials import Row, generator_for, run_trials, table_lines

PROTOCOL = "mixture 2"
"""Changes when rows are no longer to be compared with those of before."""


class MixturePosterior:
    """p(x0 | y): a mixture whose one covariance is diagonal in the basis of H.

    Attributes:
        weights: Of the components, ``(K,)``.
        means: ``(K, n)``.
    """

    def __init__(self, prior: GaussianMixture, problem: Problem) -> None:
        assert isinstance(problem.H, Dense)
        self.H = problem.H
        m, n = math.prod(self.H.data_shape), math.prod(self.H.signal_shape)
        data = problem.spectral
        matrix = self.H(torch.eye(n, dtype=torch.float64)).T
        total = prior.std**2 * matrix @ matrix.T + problem.sigma_y**2 * torch.eye(m)
        residual = problem.y[0] - prior.means @ matrix.T
        solved = torch.linalg.solve(total, residual.T).T
        self.weights = torch.softmax(prior.weights.log() - (residual * solved).sum(1) / 2, 0)
        self.means = prior.means + prior.std**2 * solved @ matrix
        self.variance = 1 / (1 / prior.std**2 + data.s_bar**-2)

    def responsibilities(self, x: Signal, sigma: Level) -> Tensor:
        """p(component | x, y), ``(batch, K)``, for x = x0 + sigma * noise."""
        centres = self.H.Vt(self.means)
        weighted = centres / (self.variance + sigma**2)
        closeness = self.H.Vt(x) @ weighted.T - (weighted * centres).sum(1) / 2
        return torch.softmax(self.weights.log() + closeness, 1)

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        """E[x0 | x, y]."""
        mean = self.responsibilities(x, sigma) @ self.means
        shrink = self.variance / (self.variance + sigma**2)
        return mean + self.H.V(shrink * self.H.Vt(x - mean))

    def sample(self, count: int, generator: torch.Generator) -> Signal:
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(count, len(self.variance), generator=generator, dtype=torch.float64)
        return self.means[chosen] + self.H.V(self.variance.sqrt() * z)


@dataclass(frozen=True)
class Case:
    """One problem of a cell."""

    prior: GaussianMixture
    problem: Problem
    posterior: MixturePosterior

    @classmethod
    def draw(cls, dim: int, observed: int, index: int, seed: int = 0) -> "Case":
        """Problem ``index`` of the cell."""
        generator = generator_for(seed, dim, observed, index)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        centres = torch.tensor(list(itertools.product(range(-2, 3), repeat=2))).double()
        weights = normal(25).square()
        prior = GaussianMixture(-8 * centres.repeat(1, dim // 2), weights / weights.sum())
        u, _, vt = torch.linalg.svd(normal(observed, dim), full_matrices=False)
        s = uniform(observed).sort(descending=True).values
        H = Dense(u * s @ vt)
        sigma_y = float(uniform() * s[0])
        y = H(prior.sample(1, lambda shape: normal(*shape))) + sigma_y * normal(1, observed)
        problem = Problem.of(y[0], H, sigma_y)
        return cls(prior, problem, MixturePosterior(prior, problem))

    @property
    def reach(self) -> float:
        """The length of the largest mean."""
        return float(self.prior.means.norm(dim=1).max())

    @property
    def data_variance(self) -> float:
        """Of one element of x0, averaged."""
        weights, means = self.prior.weights, self.prior.means
        spread = weights @ means.square() - (weights @ means).square()
        return self.prior.std**2 + float(spread.mean())

    def wide(self, steps: int) -> Tensor:
        """From ten times the largest mean down to next to nothing."""
        return karras_levels(steps, low=0.01, high=10 * self.reach)

    def short(self, steps: int) -> Tensor:
        """From twice the largest mean down to where modes are told apart, geometrically.

        That is at an eighth of the distance between two of them; for a step that assumes
        the width of a mode the rest is one step.
        """
        high, low = 2 * self.reach, float(torch.pdist(self.prior.means).min()) / 8
        ratios = torch.linspace(0, 1, steps, dtype=torch.float64)
        levels = high * (low / high) ** ratios
        return torch.cat([levels, levels.new_zeros(1)])


CLOUD = 1000
_PIGDM = PiGDM(jacobian="vjp")
_TMPD = TMPD(eta=1.0, solver="euler", covariance="matrix")

CONTENDERS: Mapping[str, Sampler[Any]] = {
    "oracle": DDIM(),
    "ddim (no data)": DDIM(),
    "ddrm": DDRM(eta=0.85),
    "reconstruction": ReconstructionGuidance(),
    "dps": DPS(strength=0.1),
    "pigdm, v=1": replace(_PIGDM, data_variance=1.0),
    "pigdm": _PIGDM,
    "tmpd": _TMPD,
    "tmpd, multistep": replace(_TMPD, eta=0.0, solver="multistep"),
    "smc pigdm": SMC(particles=CLOUD, twist=_PIGDM),
    "smc tmpd": SMC(particles=CLOUD, twist=_TMPD),
    "smc tmpd, gaussian step": SMC(particles=CLOUD, twist=replace(_TMPD, step_variance=1.0)),
}
"""Name -> the sampler; a cloud has as many particles as samples are asked for."""

SHORT = ("smc tmpd, gaussian step",)
"""Those that walk down the short levels: their steps assume the width of a mode."""


@dataclass(frozen=True)
class Score:
    """How one method did on one problem."""

    w1: float
    weights_tv: float
    nfe: int
    seconds: float


def one(
    dim: int, observed: int, steps: int, method: str, index: int, count: int, seed: int
) -> Score:
    """One problem by one method."""
    case = Case.draw(dim, observed, index, seed)

    def stream(purpose: int) -> torch.Generator:
        return generator_for(seed, dim, observed, index, purpose)

    started, nfe = time.perf_counter(), 0
    if method == "floor":
        x = case.posterior.sample(count, stream(3))
        seconds = time.perf_counter() - started
    else:
        drawn = solve(
            case.posterior if method == "oracle" else case.prior,
            case.problem,
            cloud_of(CONTENDERS[method], count),
            levels=case.short(steps) if method in SHORT else case.wide(steps),
            samples=count,
            seed=seed,
            item=index,
            batch=count,
            uncertainty=Isotropic(case.data_variance),
        )
        x, nfe, seconds = drawn.draws, drawn.provenance["nfe"], drawn.provenance["seconds"]
    w1, _ = sliced_wasserstein(x, case.posterior.sample(count, stream(1)), 200, stream(2))
    zero = torch.tensor(0.0, dtype=torch.float64)
    shares = case.posterior.responsibilities(x, zero).mean(0)
    tv = float((shares - case.posterior.weights).abs().sum() / 2)
    return Score(w1, tv, nfe, seconds)


def cloud_of(method: Sampler[Any], count: int) -> Sampler[Any]:
    """The method, its cloud of this many particles if it draws one."""
    return replace(method, particles=count) if isinstance(method, SMC) else method


NAMES = (
    "protocol",
    "method",
    "settings",
    "dim",
    "observed",
    "steps",
    "problems",
    "count",
    "seed",
)


def summarise(key: tuple[Any, ...], scores: Sequence[Score]) -> list[Row]:
    """Means over the problems, w1 with 1.96 standard errors."""

    def mean(name: str) -> float:
        return sum(getattr(score, name) for score in scores) / len(scores)

    w1 = torch.tensor([score.w1 for score in scores])
    error = float(1.96 * w1.std() / len(w1) ** 0.5) if len(w1) > 1 else 0.0
    return [
        {
            "w1": round(mean("w1"), 4),
            "w1_se": round(error, 4),
            "weights_tv": round(mean("weights_tv"), 4),
            "nfe": round(mean("nfe")),
            "seconds": round(mean("seconds"), 3),
        }
    ]


def run(
    dims: Sequence[int] = (8, 80, 800),
    observed: Sequence[int] = (1, 2, 4),
    steps: Sequence[int] = (20, 100),
    file: Path | None = None,
    problems: int = 20,
    count: int = CLOUD,
    seed: int = 0,
    workers: int = 2,
    methods: Sequence[str] = tuple(CONTENDERS),
) -> list[Row]:
    """The rows of the cells asked for; those that ``file`` holds already are not run again.

    Floor and oracle come first, whatever the methods are.
    """
    trials = {}
    for dim, seen, number in itertools.product(dims, observed, steps):
        for method in dict.fromkeys(("floor", "oracle", *methods)):
            said = "" if method == "floor" else settings_text(cloud_of(CONTENDERS[method], count))
            key = (PROTOCOL, method, said, dim, seen, number, problems, count, seed)
            trials[key] = [
                (dim, seen, number, method, index, count, seed) for index in range(problems)
            ]
    return run_trials(NAMES, trials, one, summarise, file, workers)


def markdown(rows: Sequence[Row]) -> str:
    """A table for each number of steps: methods down, cells across, W1 +- 1.96 se."""
    lines: list[str] = []
    for steps in sorted({row["steps"] for row in rows}):
        chosen = [row for row in rows if row["steps"] == steps]
        cells = sorted({(row["dim"], row["observed"]) for row in chosen})
        floor = {
            (row["dim"], row["observed"]): row["w1"] for row in chosen if row["method"] == "floor"
        }
        table = []
        for method in dict.fromkeys(row["method"] for row in chosen):
            shown = {
                (row["dim"], row["observed"]): f"{row['w1']:.2f} ± {row['w1_se']:.2f} "
                f"(×{row['w1'] / floor[row['dim'], row['observed']]:.1f}, "
                f"tv {row['weights_tv']:.2f})"
                for row in chosen
                if row["method"] == method
            }
            table.append([method, *(shown.get(cell, "") for cell in cells)])
        head = ["method", *(f"d={d}, m={m}" for d, m in cells)]
        lines += [f"### {steps} steps", "", *table_lines(head, table), ""]
    return "\n".join(lines)
