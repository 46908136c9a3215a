"""What a drawn step solves: (H C H' + sigma_y^2 I) w = e, to a share of the noise.

Brightness and colours, of which C knows how they differ, are often measured alike: H does the
same to each component, so that mixtures of them have nothing to do with each other in the data
either. Each mixture is then a system of its own. Together they would take as many iterations as
have all their different gains at once, half as many again on average, and those of a smooth one
would go on until the last is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from ..covariance import Apart, Covariance, DataBands, Grainy
from ..linalg import conjugate_gradients, inner
from ..operators.base import LinearOperator
from ..tensors import Data, Noise

ACCURACY = 0.1
"""Of the linear system's residual, over the deviation of the data's noise and a third of that
which sigma is in the data; .05 gives the same scores, .2 samples of a mask that are too wide."""

PEAK = 10.0
"""What one number of the residual may be at most, over the same; noise is below 6. Else a large
picture counts as solved while its edges, few of its numbers, are far from it."""

ITERATIONS = 60

ROUGH = 0.3
"""Of the residual where a rough solution will do, in a few ``ROUNDS``."""

ROUNDS = 2

Made = TypeVar("Made")


@dataclass(frozen=True)
class System:
    """S = H C H' + deviation^2 I.

    Attributes:
        H: The operator.
        C: Covariance of the signal.
        deviation: Of the noise on each number, one or one a row, ``(batch, 1, ...)``.
        bands: What it is by band, if its data have such.
        near: Close to S^-1, symmetric and positive; None for the identity.
    """

    H: LinearOperator
    C: Covariance
    deviation: float | Tensor
    bands: DataBands | None = None
    near: Callable[[Data], Data] | None = None

    @classmethod
    def of(
        cls, H: LinearOperator, C: Covariance, deviation: float | Tensor, e: Data, noise: Noise
    ) -> "System":
        """That of such data, with what is known of its inverse.

        Args:
            H: The operator.
            C: Covariance of the signal.
            deviation: Of the noise on each number.
            e: Data.
            noise: Draws the standard normals, where it has to be tried.
        """
        usual, least = C.typical(), deviation**2
        bands = usual.in_data(cls(H, usual, deviation), H.gains, least, e, noise)
        if bands:
            return cls(H, C, deviation, bands, bands.inverse)
        near = H.data_preconditioner(usual.times, least, len(e))
        return cls(H, C, deviation, near=near)

    def __call__(self, v: Data) -> Data:
        least = torch.as_tensor(self.deviation**2, dtype=v.dtype.to_real(), device=v.device)
        return torch.addcmul(self.H(self.C.times(self.H.adjoint(v))), least, v)

    def coarse(self, e: Data, grain: Tensor) -> Data:
        """About S^-1 e, were there grain of this variance in signals, which hides what is fine."""
        return replace(self, C=Grainy(self.C, grain)).roughly(e)

    def solved(self, e: Data, deviation: float | Tensor) -> Data:
        """S^-1 e, but for a share of this deviation; see :func:`solved`."""
        return solved(self, e, deviation, self.H.rank, self.near)

    def roughly(self, e: Data) -> Data:
        """About S^-1 e, and -e gives the opposite."""
        return roughly(self, e, self.near)


@dataclass(frozen=True)
class Systems:
    """A system, in as many parts as have nothing to do with each other.

    Attributes:
        parts: One for each component of mixed data, or one for all data.
        apart: How data are mixed; None where there is one part.

    Example:
        ``S.joined(S.each(System.__call__, S.split(v)))`` is S v.
    """

    parts: tuple[System, ...]
    apart: Apart | None = None

    @classmethod
    def of(
        cls,
        H: LinearOperator,
        C: Covariance,
        deviation: float | Tensor,
        e: Data,
        noise: Noise,
    ) -> "Systems":
        """Those of H C H' + deviation^2 I, as for :meth:`System.of`."""
        one, apart = H.component(), C.apart()
        if one is None or apart is None:
            return cls((System.of(H, C, deviation, e, noise),))
        parts = tuple(System.of(one, c, deviation, e[:, :1], noise) for c in apart.parts)
        return cls(parts, apart)

    def split(self, v: Data) -> tuple[Tensor, ...]:
        """Data, as the parts see them."""
        return (v,) if self.apart is None else self.apart.mixed(v).split(1, 1)

    def each(self, work: Callable[..., Made], *data: Sequence[Data]) -> list[Made]:
        """What is made of each part and its share of some data: ``work(part, *shares)``."""
        return [work(*each) for each in zip(self.parts, *data, strict=True)]

    def joined(self, parts: Sequence[Tensor]) -> Data:
        """Data from what the parts see of them."""
        return parts[0] if self.apart is None else self.apart.unmixed(torch.cat([*parts], dim=1))


def solved(
    S: Callable[[Data], Data],
    e: Data,
    deviation: float | Tensor,
    numbers: int,
    near: Callable[[Data], Data] | None = None,
    iterations: int = ITERATIONS,
) -> Data:
    """S^-1 e, but for a share of the noise.

    Args:
        S: The system, symmetric and positive.
        e: Data.
        deviation: Of the noise on each number, one or one a row, ``(batch, 1, ...)``.
        numbers: How many of the data are seen.
        near: Close to S^-1; by default the identity.
        iterations: At most.
    """
    allowed, length = ACCURACY * deviation, inner(e, e).sqrt()
    share = allowed * numbers**0.5 / length.clamp(min=torch.finfo(length.dtype).tiny)
    return conjugate_gradients(S, e, iterations, share, near=near, peak=PEAK * allowed)


def roughly(S: Callable[[Data], Data], e: Data, near: Callable[[Data], Data] | None) -> Data:
    """About S^-1 e, and -e gives the opposite."""
    return conjugate_gradients(S, e, ROUNDS, ROUGH, near=near)
