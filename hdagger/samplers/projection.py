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


def below(sigma: float) -> Schedule:
    """Where the noise is at most ``sigma``."""
    return lambda step: bool(step.sigma <= sigma)


def schedule(text: str) -> Schedule:
    """The schedule that a text names: ``all``, ``last:K`` or ``below:SIGMA``."""
    name, _, value = text.partition(":")
    try:
        match name:
            case "all" if not value:
                return always
            case "last":
                return last(int(value))
            case "below":
                return below(float(value))
    except ValueError:
        pass
    raise SettingError(f"A schedule is all, last:K or below:SIGMA, but got {text!r}. Try last:4.")


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
