"""A prior, seen by a sampler: one function from a noisy signal to its clean mean."""

from typing import Protocol, runtime_checkable

from ..tensors import Level, Signal


@runtime_checkable
class Denoiser(Protocol):
    """Predicts the clean signal.

    All of hdagger speaks variance-exploding coordinates, x = x0 + sigma * noise; an
    adapter of a variance-preserving network rescales on its own side of the wall.
    """

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        """E[x0 | x], in the precision of x, with x0 in the prior's own range ([-1, 1])."""
        ...


class Counted:
    """A denoiser that counts its network evaluations.

    Attributes:
        nfe: Calls so far. A call evaluates the network once, for a whole batch.
    """

    def __init__(self, prior: Denoiser) -> None:
        self.prior = prior
        self.nfe = 0

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        self.nfe += 1
        return self.prior(x, sigma)
