"""The prediction, projected onto what is known for certain: data, or physics.

Projecting onto exact data, D' = D + pinv(y) - pinv(H D), is DDRM without noise (and DDNM);
projecting a motion by a physics simulator is PhysDiff. Both are this sampler.

References:
    Kawar et al., Denoising Diffusion Restoration Models, 2022. https://arxiv.org/abs/2201.11793
    Wang, Yu and Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space
    Model, ICLR 2023, eq. 13. https://arxiv.org/abs/2212.00490
    Yuan, Song, Iqbal, Vahdat and Kautz, PhysDiff, ICCV 2023, section 3.3.
    https://arxiv.org/abs/2212.02500
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from ..covariance import Uncertainty
from ..errors import OperatorAbilityError, SettingError
from ..operators.base import PinvOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Signal
from .base import CorrectedSampler, Sampler
from .ranges import Schedule, Scheduled, Share
from .solvers import Trail
from .walk import Step

Projector: TypeAlias = Callable[[Signal, Problem], Signal]
"""A clean signal -> the nearest one that obeys."""


@runtime_checkable
class Telling(Protocol):
    """A projector that can say what its latest projection did."""

    def __call__(self, x: Signal, problem: Problem, /) -> Signal: ...

    def told(self) -> Mapping[str, Tensor]:
        """For each sample, ``(batch, ...)``; nothing before the first projection."""
        ...


def fires(schedule: str, step: Step) -> bool:
    """Whether a step is one of a schedule."""
    return Schedule(schedule).fires(step.index, step.count, float(step.sigma))


def onto_data(D: Signal, problem: Problem) -> Signal:
    """The nearest signal to D that explains exact data: D + pinv(y) - pinv(H D)."""
    H = problem.H
    assert isinstance(H, PinvOperator)
    return H.null(D) + H.pinv(problem.y)


@dataclass(frozen=True)
class Projection(CorrectedSampler):
    """Draws from the prior, each prediction projected onto exact data where the schedule says so.

    Data with noise are refused: the projection would copy it into the signal.

    Attributes:
        schedule: When to project: see :class:`Schedule`. One that never fires is DDIM.
    """

    needs = PinvOperator
    instead = "DPS"

    eta: Share = 0.85
    schedule: Annotated[str, Scheduled()] = "all"

    def require(self, problem: Problem) -> None:
        super().require(problem)
        if problem.sigma_y > 0:
            raise OperatorAbilityError(
                "Projection wants exact data, for it would copy noise into the signal, but got "
                f"sigma_y = {problem.sigma_y:.4g}. Use DDRM or PiGDM, or sigma_y = 0 for none."
            )

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        D = prior(x, step.sigma)
        return onto_data(D, problem) if fires(self.schedule, step) else D


@dataclass(frozen=True)
class Projected(CorrectedSampler):
    """Another sampler, its corrected predictions projected where the schedule says so.

    So data and physics compose: the data move the prediction, and physics has the last word.
    A schedule that never fires is the sampler itself.

    Attributes:
        inner: The sampler, a :class:`CorrectedSampler`; what it needs and assumes is kept, its
            eta and solver too.
        schedule: When to project: see :class:`Schedule`.
        projector: What to project onto; left open, the one of the kind of signal, if it has one.
    """

    inner: Sampler[Any] = field(kw_only=True)
    schedule: Annotated[str, Scheduled()] = field(default="all", kw_only=True)
    projector: Projector | None = field(default=None, kw_only=True)

    def check(self) -> None:
        if not isinstance(self.inner, CorrectedSampler):
            raise SettingError(
                f"Wanted a method with a place for a projection, but got "
                f"{type(self.inner).__name__}, which predicts no signal. Use pigdm or ddim."
            )
        for name in ("eta", "solver"):
            object.__setattr__(self, name, getattr(self.inner, name))
        super().check()

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "Projected":
        return replace(self, inner=self.inner.fitted(problem, uncertainty))

    def require(self, problem: Problem) -> None:
        if self.projector is None:
            raise OperatorAbilityError(
                "Wanted signals that have a law to be projected onto, as motions have physics, "
                "but got others. Use projection, which projects onto exact data."
            )
        self.inner.require(problem)

    @property
    def variance(self) -> float | Tensor:
        return self.inner.variance

    def correct(self, prior: Denoiser, x: Signal, problem: Problem, step: Step) -> Signal:
        assert isinstance(self.inner, CorrectedSampler)
        D = self.inner.correct(prior, x, problem, step)
        if self.projector is None or not fires(self.schedule, step):
            return D
        return self.projector(D, problem)

    def known(self, trail: Trail, /) -> dict[str, Tensor]:
        told = self.projector.told() if isinstance(self.projector, Telling) else {}
        return self.inner.known(trail) | dict(told)
