"""The one loop that every sampler runs, and the grids of noise levels it walks down.

From a level ``sigma`` to the next one, ``lower``, with the prior's prediction D moved
towards the data (D'),

    x' = D' + keep (x - D') + fresh z,    (keep sigma)^2 + fresh^2 = lower^2,
    fresh = eta lower sqrt(1 - lower^2 / sigma^2),

which is DDIM's update in variance-exploding coordinates: eta = 0 is the ODE, eta = 1 the
ancestral sampler of DDPM. In other words: an Euler step of the ODE to the level
``down = keep sigma``, then fresh noise up to ``lower``. A better solver takes the place of the
Euler step and leaves the noise alone (:class:`Spread`, and samplers/integrators.py).

References:
    Song, Meng and Ermon, Denoising Diffusion Implicit Models, 2021, eq. 12 and 16.
    https://arxiv.org/abs/2010.02502
"""

import abc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import OperatorAbilityError, SettingError
from ..operators.base import LinearOperator, Operator, PinvOperator, SVDOperator
from ..priors.base import Denoiser
from ..tensors import Data, Level, Noise, Signal, Spectrum


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
class Problem:
    """y = H(x) + N(0, sigma_y^2 I), a row of y for every sample wanted.

    Attributes:
        y: Data, ``(batch, *data)``.
        H: The operator.
        sigma_y: Standard deviation of the noise, in the units of y; 0 for exact data.
    """

    y: Data
    H: Operator
    sigma_y: float = 0.0

    @cached_property
    def spectral(self) -> "SpectralData":
        """The data in the basis of the operator, which has a singular value decomposition."""
        H = self.H
        assert isinstance(H, SVDOperator)
        n = math.prod(H.signal_shape)
        s_bar = torch.where(H.observed, self.sigma_y / H.singular_values, torch.inf)
        s_bar, kind = s_bar.unique(return_inverse=True)
        unseen = n - kind.shape[-1]
        if unseen > 0:
            kind = torch.nn.functional.pad(kind, (0, unseen), value=len(s_bar))
            s_bar = torch.nn.functional.pad(s_bar, (0, 1), value=torch.inf)
        return SpectralData(H, H.fit(H.spectral_data(self.y), n), s_bar, kind)


@dataclass(frozen=True)
class SpectralData:
    """What the data say of every coefficient of Vt x.

    Attributes:
        H: The operator.
        y_bar: (Ut y) / s, 0 where nothing is observed: ``(batch, n)``.
        s_bar: The values of the noise sigma_y / s on it, infinite for nothing observed.
        kind: Which of them a coefficient has: ``(n,)``, or ``(batch, n)``.
    """

    H: SVDOperator
    y_bar: Spectrum
    s_bar: Float[Tensor, " kinds"]
    kind: Int[Tensor, "*rows n"]


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
        return cls(1 / (1 / variance + (data.s_bar**-2)[data.kind]), problem.H)

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
    """

    sigma: Level
    lower: Level
    eta: float
    index: int
    count: int
    spread: Spread = Spread()

    @property
    def fresh(self) -> Tensor:
        """The standard deviation of the noise that the step adds."""
        return self.eta * self.lower * (1 - (self.lower / self.sigma) ** 2).sqrt()

    @property
    def keep(self) -> Tensor:
        """The share of the present noise that stays."""
        return self.down / self.sigma

    @property
    def down(self) -> Tensor:
        """The level that the ODE is followed to, before noise is added."""
        return (self.lower**2 - self.fresh**2).sqrt()

    def settle(self, D: Signal, x: Signal) -> Signal:
        """x at the level ``down``, given a prediction D of the clean signal."""
        return self.spread.settle(D, x, self.sigma, self.down)

    def refresh(self, x: Signal, noise: Noise) -> Signal:
        """x with fresh noise, from the level ``down`` to the next level."""
        return x + self.fresh * noise(tuple(x.shape)) if self.fresh > 0 else x

    def move(self, D: Signal, x: Signal, noise: Noise) -> Signal:
        """x at the next level, given a prediction D of the clean signal."""
        return self.refresh(self.settle(D, x), noise)


def steps(levels: Tensor, eta: float, spread: Spread = Spread()) -> Iterator[Step]:
    for index, (sigma, lower) in enumerate(pairwise(levels)):
        yield Step(sigma, lower, eta, index, len(levels) - 1, spread)


State = TypeVar("State")
"""What a sampler carries from level to level: x, its coefficients, or more."""


class Sampler(abc.ABC, Generic[State]):
    """Draws from p(x0 | y) by walking down a grid of noise levels.

    Args:
        prior: The denoiser.
        eta: How much of the noise is fresh at every step, in [0, 1].
    """

    needs: type[Operator] = Operator
    """The rung of the ladder that the method asks for."""

    instead: str = ""
    """What to use where the operator stands lower."""

    step_variance: float | Tensor = 0.0
    """The variance of the clean signal that a step reckons with: see :class:`Spread`."""

    def __init__(self, prior: Denoiser, eta: float = 1.0) -> None:
        if not 0 <= eta <= 1:
            raise SettingError(f"eta is a share of the noise in [0, 1], but got {eta}. Try 1.")
        self.prior = prior
        self.eta = eta

    @abc.abstractmethod
    def start(self, problem: Problem, sigma: Level, noise: Noise) -> State:
        """The state at the highest level."""

    @abc.abstractmethod
    def advance(self, x: State, /, problem: Problem, step: Step, noise: Noise) -> State:
        """The state at the next level."""

    @abc.abstractmethod
    def finish(self, x: State, /, problem: Problem) -> Signal:
        """The signal that the last state stands for."""

    @torch.no_grad()
    def run(
        self,
        problem: Problem,
        levels: Tensor,
        noise: Noise,
        watch: Callable[[Step], None] = lambda step: None,
    ) -> State:
        """The state at the end of the walk: the samples, and what else the sampler remembers.

        Args:
            problem: The data and their operator.
            levels: Noise levels, decreasing, the last one 0.
            noise: Draws the standard normals; its precision is that of the state.
            watch: Called after every step.

        Raises:
            OperatorAbilityError: The operator stands below the rung that the method needs.
        """
        require(problem.H, self.needs, type(self).__name__, self.instead)
        state = self.start(problem, levels[0], noise)
        for step in steps(levels, self.eta, Spread.given(problem, self.step_variance)):
            state = self.advance(state, problem, step, noise)
            watch(step)
        return state

    def sample(
        self,
        problem: Problem,
        levels: Tensor,
        noise: Noise,
        watch: Callable[[Step], None] = lambda step: None,
    ) -> Signal:
        """One posterior sample for each row of the data, ``(batch, *signal)``: see ``run``."""
        return self.finish(self.run(problem, levels, noise, watch), problem)


Inner = TypeVar("Inner", bound="CorrectedSampler")


class Wrapper(Sampler[State], Generic[State, Inner]):
    """A sampler around another one, whose prior, eta, step variance and needs it keeps."""

    def __init__(self, sampler: Inner) -> None:
        super().__init__(sampler.prior, sampler.eta)
        self.sampler = sampler
        self.step_variance = sampler.step_variance
        self.needs, self.instead = sampler.needs, sampler.instead


class CorrectedSampler(Sampler[Tensor]):
    """A sampler whose whole method is how the data move the prior's prediction."""

    @abc.abstractmethod
    def correct(self, x: Signal, problem: Problem, step: Step) -> Signal:
        """D': the prediction of the clean signal, moved towards the data."""

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        return sigma * noise((len(problem.y), *problem.H.signal_shape))

    def advance(self, x: Signal, problem: Problem, step: Step, noise: Noise) -> Signal:
        return step.move(self.correct(x, problem, step), x, noise)

    def finish(self, x: Signal, problem: Problem) -> Signal:
        return x


@dataclass(frozen=True)
class Guidance:
    """What a guided sampler knows at x.

    Attributes:
        D: The prior's prediction.
        pull: sigma^2 times the gradient of log p(y | x): what the data add to D.
        log_likelihood: Works out log p(y | x) of each row as the method approximates it, up to
            one constant; None where the method cannot tell.
    """

    D: Signal
    pull: Signal
    log_likelihood: Callable[[], Float[Tensor, " batch"]] | None


class GuidedSampler(CorrectedSampler):
    """A sampler that moves the prediction by an approximation of the gradient of log p(y | x)."""

    @abc.abstractmethod
    def guide(self, x: Signal, problem: Problem, step: Step) -> Guidance:
        """The prediction and the pull of the data, by one evaluation of the prior."""

    def correct(self, x: Signal, problem: Problem, step: Step) -> Signal:
        guidance = self.guide(x, problem, step)
        return guidance.D + guidance.pull


def denoise_and_pull_back(
    prior: Denoiser, x: Signal, sigma: Level, residual: Callable[[Signal], Signal]
) -> tuple[Signal, Signal, Signal]:
    """D(x), u = residual(D) and J^T u, J being the Jacobian of D: one call, one backward pass.

    Args:
        prior: The denoiser.
        x: State, ``(batch, *signal)``.
        sigma: Its level.
        residual: D -> u; no gradient passes through it.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        D = prior(x, sigma)
    u = residual(D.detach())
    (pulled,) = torch.autograd.grad(D, x, u)
    return D.detach(), u, pulled


def require(operator: Operator, rung: type[Operator], sampler: str, instead: str) -> None:
    if not isinstance(operator, rung):
        ladder = (SVDOperator, LinearOperator, PinvOperator, Operator)
        stands = next(lower.__name__ for lower in ladder if isinstance(operator, lower))
        article = "an" if stands[0] in "OS" else "a"
        raise OperatorAbilityError(
            f"{sampler} needs an operator that is a {rung.__name__}, but "
            f"{type(operator).__name__} is only {article} {stands}. "
            f"Use {instead}, which asks for less."
        )
