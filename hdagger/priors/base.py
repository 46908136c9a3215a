"""A prior, seen by a sampler: one function from a noisy signal to its clean mean."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from ..errors import SettingError
from ..tensors import Label, Level, Signal


@runtime_checkable
class Denoiser(Protocol):
    """Predicts the clean signal.

    All of hdagger speaks variance-exploding coordinates, x = x0 + sigma * noise; an
    adapter of a variance-preserving network rescales on its own side of the wall.
    """

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        """E[x0 | x], in the precision of x, with x0 in the prior's own range ([-1, 1])."""
        ...


@runtime_checkable
class LabelledDenoiser(Protocol):
    """A denoiser that may be told the class of each signal."""

    def __call__(self, x: Signal, sigma: Level, label: Label | None = None) -> Signal:
        """E[x0 | x, label]; None for any class."""
        ...


def moments(
    prior: Denoiser, x: Signal, sigma: Level, *label: Label
) -> tuple[Signal, Signal | None]:
    """E[x0 | x] and the variance of each element about it, by one evaluation.

    The second is None where the prior does not tell it: one that does has a method ``moments``.
    """
    told = getattr(prior, "moments", None)
    return told(x, sigma, *label) if told else (prior(x, sigma, *label), None)


Look: TypeAlias = Callable[[Signal], None]
"""Called with what a denoiser predicts, ``(batch, *signal)``; what it raises ends the walk."""


def unseen(D: Signal) -> None:
    """Nobody looks."""


class Counted:
    """A denoiser whose network evaluations are counted, and looked at.

    Args:
        prior: The denoiser.
        look: Called after every evaluation.

    Attributes:
        nfe: Calls so far. A call evaluates the network once, for a whole batch.
    """

    def __init__(self, prior: Denoiser, look: Look = unseen) -> None:
        self.prior: Callable[..., Signal] = prior
        self.look = look
        self.nfe = 0

    def __call__(self, x: Signal, sigma: Level, label: Label | None = None) -> Signal:
        self.nfe += 1
        D = self.prior(x, sigma, *(() if label is None else (label,)))
        self.look(D.detach())
        return D

    def moments(
        self, x: Signal, sigma: Level, label: Label | None = None
    ) -> tuple[Signal, Signal | None]:
        """See :func:`moments`."""
        self.nfe += 1
        D, variance = moments(self.prior, x, sigma, *(() if label is None else (label,)))
        self.look(D.detach())
        return D, variance


def check_label(label: Label | None, classes: int) -> None:
    """Is it a label of a prior with so many classes?"""
    if label is None:
        return
    if not classes:
        raise SettingError("Wanted no label, since the prior has no classes. Leave --label out.")
    if not 0 <= int(label.min()) <= int(label.max()) < classes:
        raise SettingError(
            f"Wanted a label of 0 to {classes - 1}, but got {label.unique().tolist()}."
        )
