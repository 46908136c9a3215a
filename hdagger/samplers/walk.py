"""The walk down a grid of noise levels: the grids, a step, and what a step assumes.

From a level ``sigma`` to the next one, ``lower``, with the prior's prediction D moved
towards the data (D'),

    x' = D' + keep (x - D') + fresh z,    (keep sigma)^2 + fresh^2 = lower^2,
    fresh = eta lower sqrt(1 - lower^2 / sigma^2),

which is DDIM's update in variance-exploding coordinates: eta = 0 is the ODE, eta = 1 the
ancestral sampler of DDPM. In other words: an Euler step of the ODE to the level
``down = keep sigma``, then fresh noise up to ``lower``. A better solver takes the place of the
Euler step and leaves the noise alone (:class:`Spread`, and samplers/solvers.py).

References:
    Song, Meng and Ermon, Denoising Diffusion Implicit Models, 2021, eq. 12 and 16.
    https://arxiv.org/abs/2010.02502
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import SettingError
from ..operators.base import SVDOperator
from ..problem import Problem
from ..tensors import Level, Noise, Signal


def karras_levels(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """``steps`` noise levels from high to low, then 0: ``(steps + 1,)`` in float64.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models,
        2022, eq. 5. https://arxiv.org/abs/2206.00364

    Example:
        >>> karras_levels(3, low=0.01, high=10.0)
        tensor([10.0000,  0.7177,  0.0100,  0.0000], dtype=torch.float64)
    """
    check_steps(steps)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels, levels.new_zeros(1)])


def ddpm_levels(steps: int, train_steps: int = 1000) -> Tensor:
    """Every ``train_steps / steps``-th level of DDPM's linear schedule, then 0.

    The grid of DDRM and DDIM: t = 0, k, 2k, ... with beta from 1e-4 to 0.02, so that the
    largest of 20 levels is 97.1 and the smallest 0.01.

    References:
        Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models, 2020, section 4.
        https://arxiv.org/abs/2006.11239
    """
    check_steps(steps)
    if steps > train_steps:
        raise SettingError(
            f"ddpm_levels wants at most {train_steps} steps, but got {steps}. "
            "Use karras_levels, which has no limit."
        )
    beta = torch.linspace(1e-4, 0.02, train_steps, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    levels = ((1 - alpha_bar) / alpha_bar).sqrt()
    chosen = (torch.arange(steps) * train_steps) // steps
    return torch.cat([levels[chosen].flip(0), levels.new_zeros(1)])


def check_steps(steps: int) -> None:
    if steps < 1:
        raise SettingError(f"A sampler wants at least 1 step, but got {steps}. Try --steps 20.")


@dataclass(frozen=True)
class Spread:
    """The variance v that a step takes the clean signal to have, around a mean m.

    For x0 ~ N(m, v I) the ODE from sigma to lower is a shrinking around m, and D lies between
    m and x, which gives the step without m:

        x' = m + share (x - m) = D + (1 - (1 - share) (1 + v / sigma^2)) (x - D),
        share = sqrt((v + lower^2) / (v + sigma^2)).

    v = 0 is DDIM, exact for a single point. v may differ from one coefficient of Vt x to the
    next; then the step is done in that basis.

    Attributes:
        variance: v, a number, ``(n,)`` or ``(batch, n)``.
        H: The operator whose basis is meant, where v is no number.
    """

    variance: float | Tensor = 0.0
    H: SVDOperator | None = None

    @classmethod
    def given(cls, problem: Problem, variance: float | Tensor) -> "Spread":
        """What the data leave of the variance: v sbar^2 / (v + sbar^2) of a coefficient.

        So a guided step is exact, however long, for a Gaussian that the basis of H makes
        independent. Without an SVD there is no such basis, and v stays.
        """
        is_point = isinstance(variance, float) and variance == 0
        if is_point or not isinstance(problem.H, SVDOperator):
            return cls(variance)
        data = problem.spectral
        return cls(1 / (1 / variance + data.s_bar**-2), problem.H)

    def settle(self, D: Signal, x: Signal, sigma: Level, lower: Level) -> Signal:
        """x at the level ``lower``, along the ODE."""
        share = self.share(sigma, lower)
        kept = 1 - (1 - share) * (1 + self.variance / sigma**2)
        return torch.lerp(D, x, kept) if self.H is None else D + self.times(kept, x - D)

    def centre(self, D: Signal, x: Signal, sigma: Level) -> Signal:
        """m, given that D lies between m and x."""
        return D - self.times(self.variance / sigma**2, x - D)

    def share(self, sigma: Level, lower: Level) -> Tensor:
        """How much of x - m is left at the level ``lower``."""
        return ((self.variance + lower**2) / (self.variance + sigma**2)).sqrt()

    def times(self, factor: float | Tensor, x: Signal) -> Signal:
        """x, each coefficient times its factor."""
        return factor * x if self.H is None else self.H.V(factor * self.H.Vt(x))


@dataclass(frozen=True)
class Step:
    """One step of the loop: from level ``sigma`` to level ``lower``.

    Attributes:
        sigma: The level of x, above 0.
        lower: The next level, below ``sigma``, 0 at the last step.
        eta: How much of the noise is fresh, in [0, 1].
        index: Number of the step, from 0.
        count: How many steps there are.
        spread: The variance that the step takes the clean signal to have; by default none.
        memory: What share stays of the noise that eta would leave, in [0, 1].
    """

    sigma: Level
    lower: Level
    eta: float
    index: int
    count: int
    spread: Spread = Spread()
    memory: float | Tensor = 1.0

    @property
    def fresh(self) -> Tensor:
        """The standard deviation of the noise that the step adds."""
        return self.lower * (1 - self._kept).sqrt()

    @property
    def keep(self) -> Tensor:
        """The share of the present noise that stays."""
        return self.down / self.sigma

    @property
    def down(self) -> Tensor:
        """The level that the ODE is followed to, before noise is added."""
        return self.lower * self._kept.sqrt()

    @property
    def _kept(self) -> Tensor:
        """The share of the next level's variance that is of the present noise."""
        return self.memory**2 * (1 - self.eta**2 * (1 - (self.lower / self.sigma) ** 2))

    def settle(self, D: Signal, x: Signal) -> Signal:
        """x at the level ``down``, given a prediction D of the clean signal."""
        return self.spread.settle(D, x, self.sigma, self.down)

    def refresh(self, x: Signal, noise: Noise) -> Signal:
        """x with fresh noise, from the level ``down`` to the next level."""
        return noise(tuple(x.shape)).mul_(self.fresh).add_(x) if self.fresh > 0 else x

    def move(self, D: Signal, x: Signal, noise: Noise) -> Signal:
        """x at the next level, given a prediction D of the clean signal."""
        return self.refresh(self.settle(D, x), noise)


def steps(levels: Tensor, eta: float, spread: Spread = Spread()) -> Iterator[Step]:
    for index, (sigma, lower) in enumerate(pairwise(levels)):
        yield Step(sigma, lower, eta, index, len(levels) - 1, spread)
