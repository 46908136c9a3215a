"""Operators that are known but for some numbers: a lens whose mass is not known exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from ..tensors import Data, Signal
from .base import LinearOperator

SMALL = 1e-3
"""Step of a difference, as a share of the deviation of a number."""


@dataclass(frozen=True)
class Number:
    """A number that is not known exactly: N(rough, deviation^2) beforehand, within limits.

    Attributes:
        name: What it is called.
        rough: What it is about.
        deviation: How far off that may be, above 0.
        low: The least that there is an operator for.
        high: The most.
    """

    name: str
    rough: float
    deviation: float
    low: float = -torch.inf
    high: float = torch.inf

    def __post_init__(self) -> None:
        if not 0 < self.deviation < torch.inf:
            raise SettingError(
                f"Wanted a deviation of {self.name} above 0, but got {self.deviation:g}. "
                "Leave it out if the number is known."
            )


class Family(LinearOperator):
    """One operator for each choice of some numbers.

    As an operator it is that of the rough numbers, which is what a method without a mind for
    the others takes it for. In float64; what it makes is in its own precision.

    Args:
        make: From the numbers to an operator, always of the same shapes.
        numbers: What is known of them.
        image: (x, numbers) -> H(x), ``(1, *signal)`` to ``(1, *data)``, where that is quicker
            to tell than by making the operator; it need only be right in its derivative.
    """

    rough: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        make: Callable[[Float[Tensor, " numbers"]], LinearOperator],
        numbers: Sequence[Number],
        image: Callable[[Signal, Float[Tensor, " numbers"]], Data] | None = None,
    ) -> None:
        super().__init__()
        self.make, self._image, self.numbers = make, image, tuple(numbers)
        for name in ("rough", "deviation", "low", "high"):
            values = [getattr(number, name) for number in numbers]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        self.nominal = make(self.rough)
        self.signal_shape, self.data_shape = self.nominal.signal_shape, self.nominal.data_shape

    def at(self, numbers: Float[Tensor, " numbers"]) -> LinearOperator:
        """The operator for these numbers."""
        return self.make(numbers.double()).to(self.rough)

    def of(self, numbers: Float[Tensor, "rows numbers"]) -> "OneForEach":
        """For each row the operator of its numbers."""
        return OneForEach([self.at(own) for own in numbers])

    def held(self, numbers: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows numbers"]:
        """The nearest numbers that there are operators for."""
        return numbers.clamp(self.low, self.high)

    def image(self, x: Signal, numbers: Float[Tensor, " numbers"]) -> Data:
        """H(x) for these numbers."""
        return self._image(x, numbers) if self._image else self.at(numbers)(x)

    def slope(
        self, x: Signal, numbers: Float[Tensor, "rows numbers"]
    ) -> Float[Tensor, "rows numbers *data"]:
        """The derivative of each row's data by its numbers, by differences within the limits."""
        rows = []
        for row, own in zip(x[:, None], numbers, strict=True):
            step = SMALL * torch.diag(self.deviation)
            ahead, behind = self.held(own + step), self.held(own - step)
            run = (ahead - behind).sum(1).view(-1, *[1] * len(self.data_shape))
            images = [torch.cat([self.image(row, n) for n in side]) for side in (ahead, behind)]
            rows.append((images[0] - images[1]) / run)
        return torch.stack(rows)

    @property
    def visible(self) -> Tensor | None:
        return self.nominal.visible

    def forward(self, x: Signal) -> Data:
        return self.nominal(x)

    def adjoint(self, y: Data) -> Signal:
        return self.nominal.adjoint(y)


class OneForEach(LinearOperator):
    """Row k of a batch goes through the k-th operator.

    Args:
        operators: As many as rows, of the same shapes, hiding the same data.
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        super().__init__()
        self.each = tuple(operators)
        self.signal_shape, self.data_shape = operators[0].signal_shape, operators[0].data_shape

    @property
    def visible(self) -> Tensor | None:
        return self.each[0].visible

    def forward(self, x: Signal) -> Data:
        return torch.cat([H(row) for H, row in zip(self.each, x[:, None], strict=True)])

    def adjoint(self, y: Data) -> Signal:
        return torch.cat([H.adjoint(row) for H, row in zip(self.each, y[:, None], strict=True)])
