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

from collections.abc import Callable
from typing import TypeAlias

from ..errors import SettingError
from ..operators.base import Operator, PinvOperator
from ..priors.base import Denoiser
from ..tensors import Signal
from .base import CorrectedSampler, Problem, Step

Projector: TypeAlias = Callable[[Signal, Problem], Signal]
"""A clean signal -> the nearest one that obeys."""

Schedule: TypeAlias = Callable[[Step], bool]
"""Whether to project at this step."""


def always(step: Step) -> bool:
    return True


def last(count: int) -> Schedule:
    """At the last ``count`` steps."""
    return lambda step: step.index >= step.count - count


def first(count: int) -> Schedule:
    """At the first ``count`` steps."""
    return lambda step: step.index < count


def spaced(count: int) -> Schedule:
    """At ``count`` steps, evenly spaced, of which the last is the last step of all."""
    return lambda step: (step.index + 1) * count // step.count > step.index * count // step.count


def below(sigma: float) -> Schedule:
    """Where the noise is at most ``sigma``."""
    return lambda step: bool(step.sigma <= sigma)


def schedule(text: str) -> Schedule:
    """The schedule that a text names.

    ``all``; ``last:K``, which PhysDiff calls ``end:K``; ``start:K``; ``uniform:K``, whose last
    projection is at the last step; ``below:SIGMA``.
    """
    name, _, value = text.partition(":")
    try:
        match name:
            case "all" if not value:
                return always
            case "last" | "end":
                return last(int(value))
            case "start":
                return first(int(value))
            case "uniform":
                return spaced(int(value))
            case "below":
                return below(float(value))
    except ValueError:
        pass
    raise SettingError(
        "A schedule is all, last:K (or end:K), start:K, uniform:K or below:SIGMA, but got "
        f"{text!r}. Try last:4."
    )


def onto_data(D: Signal, problem: Problem) -> Signal:
    """The nearest signal to D that explains exact data: D + pinv(y) - pinv(H D)."""
    H = problem.H
    assert isinstance(H, PinvOperator)
    return H.null(D) + H.pinv(problem.y)


class Projection(CorrectedSampler):
    """Draws from the prior, each prediction projected where the schedule says so.

    Args:
        prior: The denoiser.
        eta: Share of fresh noise in [0, 1].
        schedule: When to project. A schedule that never fires is DDIM.
        projector: What to project onto; by default the data, taken as exact.
    """

    instead = "DPS"

    def __init__(
        self,
        prior: Denoiser,
        eta: float = 0.85,
        schedule: Schedule = always,
        projector: Projector = onto_data,
    ) -> None:
        super().__init__(prior, eta)
        self.schedule = schedule
        self.projector = projector
        self.needs = PinvOperator if projector is onto_data else Operator

    def correct(self, x: Signal, problem: Problem, step: Step) -> Signal:
        D = self.prior(x, step.sigma)
        return self.projector(D, problem) if self.schedule(step) else D


class Projected(CorrectedSampler):
    """Another sampler, its corrected predictions projected where the schedule says so.

    So data and physics compose: the data move the prediction, and physics has the last word.

    Args:
        inner: The sampler; its eta is taken over.
        schedule: When to project. A schedule that never fires is the sampler itself.
        projector: What to project onto.
    """

    def __init__(self, inner: CorrectedSampler, schedule: Schedule, projector: Projector) -> None:
        super().__init__(inner.prior, inner.eta)
        self.inner = inner
        self.schedule = schedule
        self.projector = projector
        self.needs, self.instead = inner.needs, inner.instead
        self.step_variance = inner.step_variance

    def correct(self, x: Signal, problem: Problem, step: Step) -> Signal:
        D = self.inner.correct(x, problem, step)
        return self.projector(D, problem) if self.schedule(step) else D
