"""What a sampler is: a frozen dataclass of its settings. Prior, problem and noise come to its run.

A new method is one file: a class whose fields are its options everywhere (``--set``, a
recipe, the help), and one line in ``samplers/__init__.py``.
"""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor

from ..covariance import Isotropic, Uncertainty
from ..errors import OperatorAbilityError, SettingError
from ..operators.base import LinearOperator, Operator, PinvOperator, SVDOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal
from .ranges import Share, ranges_of
from .solvers import SOLVERS, Trail
from .walk import Spread, Step, steps

State = TypeVar("State")
"""What a sampler carries from level to level: x, its coefficients, or more."""


@dataclass(frozen=True)
class Sampler(abc.ABC, Generic[State]):
    """Draws from p(x0 | y) by walking down a grid of noise levels.

    Attributes:
        eta: How much of the noise is fresh at every step, in [0, 1].
    """

    needs: ClassVar[type[Operator]] = Operator
    """The rung of the ladder that the method asks for."""

    instead: ClassVar[str] = ""
    """What to use where the operator stands lower."""

    enough: ClassVar[int] = 20
    """Noise levels to walk down, by default."""

    begins: ClassVar[float] = math.inf
    """The level where it may begin if the data leave nothing large open, since it takes from them
    what is coarse; of pictures in [-1, 1]."""

    begins_open: ClassVar[float] = 1.0
    """The level where it may begin, over the side in points of the largest square that the data
    leave open."""

    one_answer: ClassVar[bool] = False
    """Whether it looks for one signal and draws nothing, so that every sample is the same."""

    rough_calls: ClassVar[bool] = False
    """Whether the network may compute in bfloat16, where no difference or gradient is taken of it:
    see :meth:`differs`."""

    eta: Share = 1.0

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Are the settings in the ranges that their types note? A subclass adds what they must
        be together.

        Raises:
            SettingError: One is not.
        """
        for name, kind in settings_in(type(self)).items():
            for each in ranges_of(kind):
                each.check(name, getattr(self, name))

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "Sampler[State]":
        """The same method, its open settings (None) set for a problem and a prior.

        Args:
            problem: The data and their operator.
            uncertainty: What is known of the prior's covariances.
        """
        return self

    def require(self, problem: Problem) -> None:
        """Raises OperatorAbilityError where the method cannot work on a problem."""
        on_rung(problem.H, self.needs, type(self).__name__, self.instead)

    def caveat(self, problem: Problem) -> str:
        """What is known to be wrong with its error bars on a problem; empty for nothing."""
        return ""

    def grid(self, levels: Tensor) -> Tensor:
        """The levels that the method walks down, given as many that suit the problem."""
        return levels

    def differs(self, sigma: Level) -> bool:
        """Whether differences of the network are taken at a level, which bfloat16 would drown."""
        return False

    @property
    def group(self) -> int:
        """How many samples are drawn together, since they depend on each other."""
        return 1

    @property
    def variance(self) -> float | Tensor:
        """The variance of the clean signal that a step assumes: see :class:`Spread`."""
        return 0.0

    @abc.abstractmethod
    def start(self, problem: Problem, sigma: Level, noise: Noise) -> State:
        """The state at the highest level."""

    @abc.abstractmethod
    def advance(
        self, x: State, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> State:
        """The state at the next level."""

    @abc.abstractmethod
    def finish(self, x: State, /, problem: Problem) -> Signal:
        """The signal that the last state stands for."""

    def controlled(self, x: State, /) -> State:
        """The state of a walk that is to tell what chance did to it, where a method can."""
        return x

    def controls(self, x: State, /, problem: Problem) -> tuple[Signal, ...]:
        """What chance did to each sample: signals, ``(batch, *signal)``, 0 in the mean."""
        return ()

    def known(self, x: State, /) -> dict[str, Tensor]:
        """What the last state says of each sample beyond the signal, ``(batch, ...)`` each."""
        return {}

    @torch.no_grad()
    def run(
        self,
        prior: Denoiser,
        problem: Problem,
        levels: Tensor,
        noise: Noise,
        watch: Callable[[Step], None] = lambda step: None,
        controlled: bool = False,
    ) -> State:
        """The state at the end of the walk: the samples, and what else the sampler remembers.

        Settings that were left open are those for a prior of variance 1.

        Args:
            prior: The denoiser.
            problem: The data and their operator.
            levels: Noise levels, decreasing, the last one 0.
            noise: Draws the standard normals; its precision is that of the state.
            watch: Called after every step.
            controlled: Whether it is to tell what chance did to it: see ``controls``.

        Raises:
            OperatorAbilityError: The operator stands below the rung that the method needs.
        """
        self.require(problem)
        method = self.fitted(problem, Isotropic())
        levels = method.grid(levels)
        state = method.start(problem, levels[0], noise)
        state = method.controlled(state) if controlled else state
        for step in steps(levels, method.eta, Spread.given(problem, method.variance)):
            state = method.advance(state, prior, problem, step, noise)
            watch(step)
        return state

    def sample(
        self,
        prior: Denoiser,
        problem: Problem,
        levels: Tensor,
        noise: Noise,
        watch: Callable[[Step], None] = lambda step: None,
    ) -> Signal:
        """One posterior sample for each row of the data, ``(batch, *signal)``: see ``run``."""
        return self.finish(self.run(prior, problem, levels, noise, watch), problem)


@cache
def settings_in(method: type[Sampler[Any]]) -> Mapping[str, Any]:
    """Name -> type of each setting of a method, with what is noted on it."""
    hints = get_type_hints(method, include_extras=True)
    return {field.name: hints[field.name] for field in fields(method) if field.init}


@dataclass(frozen=True)
class CorrectedSampler(Sampler[Trail]):
    """A sampler whose whole method is how the data move the prior's prediction.

    Attributes:
        solver: Of the ODE between two levels: see :mod:`hdagger.samplers.solvers`.
    """

    any_solver: ClassVar[bool] = True
    """Whether the correction is a function of x and sigma alone, as every solver but Euler's
    takes it to be."""

    solver: Literal["euler", "heun", "multistep"] = "euler"

    def check(self) -> None:
        super().check()
        if self.solver not in SOLVERS:
            raise SettingError(
                f"Wanted a solver, one of {', '.join(SOLVERS)}, but got {self.solver!r}."
            )
        if self.solver != "euler" and not self.any_solver:
            raise SettingError(
                f"{type(self).__name__} takes steps that solve no equation, but got solver = "
                f"{self.solver!r}. Use euler."
            )

    @abc.abstractmethod
    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        """D': the prediction of the clean signal, moved towards the data."""

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Trail:
        return Trail(sigma * noise((len(problem.y), *problem.H.signal_shape)))

    def advance(
        self, trail: Trail, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Trail:
        trail = SOLVERS[self.solver](
            lambda x, step: self.correct(prior, x, problem, step), trail, step
        )
        return replace(trail, x=step.refresh(trail.x, noise))

    def finish(self, trail: Trail, /, problem: Problem) -> Signal:
        return trail.x


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


@dataclass(frozen=True)
class GuidedSampler(CorrectedSampler):
    """A sampler that moves the prediction by an approximation of the gradient of log p(y | x)."""

    @abc.abstractmethod
    def guide(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Guidance:
        """The prediction and the pull of the data, by one evaluation of the prior."""

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        guidance = self.guide(prior, x, problem, step)
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


def descent(D: Signal, problem: Problem, loss: Callable[[Tensor], Tensor]) -> Signal:
    """Minus the gradient of ``loss(y - H(D))`` with respect to D, H being differentiable."""
    if not problem.H.differentiable:
        raise OperatorAbilityError(
            f"Wanted an operator with a gradient, but that of {type(problem.H).__name__}, which "
            "rounds, is zero. Use Cells, or PiGDM, which differentiate only the prior."
        )
    with torch.enable_grad():
        D = D.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(problem.residual(D)), D)
    return -gradient


def on_rung(operator: Operator, rung: type[Operator], sampler: str, instead: str) -> None:
    """Raises OperatorAbilityError where an operator is not on a rung of the ladder."""
    if not isinstance(operator, rung):
        ladder = (SVDOperator, LinearOperator, PinvOperator, Operator)
        stands = next(lower.__name__ for lower in ladder if isinstance(operator, lower))
        article = "an" if stands[0] in "OS" else "a"
        raise OperatorAbilityError(
            f"{sampler} needs an operator that is a {rung.__name__}, but "
            f"{type(operator).__name__} is only {article} {stands}. "
            f"Use {instead}, which asks for less."
        )
