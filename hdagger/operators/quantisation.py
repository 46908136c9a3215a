"""Rounding: a linear map whose data are known only to the nearest step.

What such data say of a coefficient is a cell, one step wide, and not a value with Gaussian
noise. Two views serve the samplers: the cells themselves (samplers/cells.py), and the linear
map with white noise of deviation 12^-1/2 steps, the second moment of the uniform law.

References:
    Widrow and Kollár, Quantization Noise, 2008, chapter 4: rounding as uniform noise.
    https://doi.org/10.1017/CBO9780511754661
"""

import abc
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..tensors import Coefficients, Data, Signal
from .base import LinearOperator, Operator, PinvOperator, SVDOperator
from .spectral import Scaled

DEVIATION = 12**-0.5
"""Of an error that is uniform on [-1/2, 1/2]."""

PROBES = 16
"""Random signals that ``Quantiser.gain`` is estimated from: to about 18 %."""

TOLERANCE = 0.001
"""Share of a cell by which a coefficient may miss it and still count as inside."""


def whole(y: Tensor) -> Tensor:
    """The nearest whole numbers, halves away from zero.

    What an error of arithmetic keeps from a half counts as one: the mean of a flat block is
    often exactly between two steps.
    """
    return y.abs().add_(0.5 + 1e-9).floor_().copysign_(y)


@dataclass(frozen=True)
class Grid:
    """The values that a file of signals can hold: ``low`` to ``high`` in whole steps."""

    low: float
    high: float
    step: float

    def nearest(self, x: Signal) -> Signal:
        """The signal as such a file holds it."""
        steps = x.clamp(self.low, self.high).sub_(self.low).div_(self.step).round_()
        return steps.mul_(self.step).add_(self.low)

    def near(self, x: Signal) -> Signal:
        """The signal, brought to at most a step outside the range."""
        return x.clamp(self.low - self.step, self.high + self.step)


class Quantiser(Operator):
    """An operator that shows the coefficients ``linear(x)`` to the nearest step.

    Attributes:
        linear: The map to the coefficients, in units of their steps.
        stored: The values that a file of signals can hold; None for any.
        encoder_error: Deviation that an encoder's rounding on the way to the coefficients gives
            each of them, in steps, ``(*data)`` of the linear map.
    """

    linear: LinearOperator
    stored: Grid | None = None
    encoder_error: Tensor
    differentiable = False

    @abc.abstractmethod
    def after(self, inner: LinearOperator) -> "Quantiser":
        """x -> self(inner(x)), still a quantiser."""

    @abc.abstractmethod
    def middle(self, coefficients: Coefficients, y: Data) -> Coefficients:
        """The middles of the cells that y shows; the given coefficients, where it shows none."""

    def shown(self, coefficients: Coefficients) -> Coefficients:
        """The part of the coefficients that data show, an orthogonal projection; all of them."""
        return coefficients

    @cached_property
    def gain(self) -> Tensor:
        """How much a coefficient moves for white noise of deviation 1 in x, ``(*data)``."""
        generator = torch.Generator().manual_seed(0)
        total = self.own(torch.zeros(self.linear.data_shape))
        for _ in range(PROBES):
            probe = self.own(torch.randn(1, *self.signal_shape, generator=generator))
            total += self.linear(probe)[0].square()
        return (total / PROBES).sqrt()

    @property
    def signal_error(self) -> float:
        """Root mean square of what rounding a coefficient does to an element of x, at most."""
        return float((DEVIATION / self.gain).square().mean().sqrt())

    def outside(self, x: Signal, y: Data) -> Coefficients:
        """How far each coefficient of x is from the middle of its cell, in steps."""
        coefficients = self.linear(x)
        return coefficients - self.middle(coefficients, y)

    def kept(self, x: Signal, y: Data) -> float:
        """Share of the coefficients of x, as a file stores it, that lie in the cells of y."""
        away = self.outside(self.as_stored(x), y).abs()
        return float((away <= 0.5 + TOLERANCE).double().mean())

    def snap(self, x: Signal, y: Data, rounds: int = 100) -> Signal:
        """The signal moved by a little, so that as a file stores it, it lies in the cells of y.

        Each round moves the coefficients that are outside, or so near the border that the file's
        rounding and an encoder's may take them out (four deviations of both; at most two fifths
        of a step), back in.
        """
        step = self.stored.step if self.stored else 0.0
        error = torch.hypot(DEVIATION * step * self.gain, self.encoder_error)
        reach = error.mul_(4).clamp_(max=0.4).sub_(0.5).neg_()
        for k in range(rounds):
            away = self.outside(self.as_stored(x), y)
            if k > 0 and away.abs().max() <= 0.5:
                break
            away = away.clamp(-reach, reach).sub_(away)
            x = self.stored.near(x) if self.stored else x
            x = self.back(away, 1.0).add_(x)
            del away  # as large as the data
        return x

    def back(self, move: Coefficients, r2: float | Tensor) -> Signal:
        """The change of the signal that moves its coefficients so.

        Exactly, where the linear map's singular values are known; else, as after a blur, as far as
        a signal of variance r2 lets itself be moved against the noise of rounding.
        """
        if isinstance(self.linear, SVDOperator):
            return self.linear.pinv(move)
        return r2 * self.linear.pull(move, r2, DEVIATION**2)

    def as_stored(self, x: Signal) -> Signal:
        """The signal as a file holds it."""
        return self.stored.nearest(x) if self.stored else x


class Rounded(Quantiser):
    """x -> the whole numbers nearest to L x + shift.

    Args:
        linear: L, its data in units of the step.
        shift: Added before rounding, ``(*data)``.
        stored: The values that a file of signals can hold; None for any.
        encoder_error: See :class:`Quantiser`; None for an encoder that rounds at the end alone.
    """

    shift: Tensor

    def __init__(
        self,
        linear: LinearOperator,
        shift: Tensor,
        stored: Grid | None = None,
        encoder_error: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.linear, self.stored = linear, stored
        self.register_buffer("shift", shift)
        error = torch.zeros_like(shift) if encoder_error is None else encoder_error
        self.register_buffer("encoder_error", error)
        self.signal_shape, self.data_shape = linear.signal_shape, linear.data_shape

    def forward(self, x: Signal) -> Data:
        return whole(self.linear(x) + self.shift)

    def after(self, inner: LinearOperator) -> "Rounded":
        linear = self.linear @ inner
        assert isinstance(linear, LinearOperator)
        kind = Quantised if linear.onto else Rounded
        return kind(linear, self.shift, self.stored, self.encoder_error)

    def middle(self, coefficients: Coefficients, y: Data) -> Coefficients:
        return y - self.shift


class Quantised(Rounded, PinvOperator):
    """A rounding that can be inverted: pinv(y) is a picture that rounds to y.

    It is the shortest one where every y has one, L being onto; where not (a JPEG whose edge
    cuts a block), that picture is moved until it rounds to y.
    """

    ROUNDS = 300

    def pinv(self, y: Data) -> Signal:
        x = self.linear.pinv(y - self.shift)
        for k in range(0 if self.linear.onto else self.ROUNDS):
            away = self.outside(x, y)
            if (away.abs() < 0.5).all():
                break
            reach = 0.5 - 0.1 * 0.97**k
            x = x + 1.7 * self.linear.pinv(away.clamp(-reach, reach) - away)
        return x


class Bits(Quantised):
    """A signal of 2^bits values from -1 to 1, ``y`` counting from 0.

    Args:
        signal_shape: Shape of one signal, in [-1, 1].
        bits: 1 to 16.
        stored: The values that a file of signals can hold; None for any.
    """

    def __init__(
        self, signal_shape: tuple[int, ...], bits: int, stored: Grid | None = None
    ) -> None:
        half = (2**bits - 1) / 2
        shift = torch.full(signal_shape, half, dtype=torch.float64)
        super().__init__(Scaled(signal_shape, half), shift, stored)
