"""Rounding: a linear map whose data are known only to the nearest step.

What such data say of a coefficient is a cell, one step wide, and not a value with Gaussian
noise. Two views serve the samplers: the cells themselves (samplers/cells.py), and the linear
map with white noise of deviation 12^-1/2 steps, the second moment of the uniform law.

References:
    Widrow and Kollár, Quantization Noise, 2008, chapter 4: rounding as uniform noise.
    https://doi.org/10.1017/CBO9780511754661
"""

import abc
from functools import cached_property

import torch
from torch import Tensor

from ..tensors import Coefficients, Data, Signal
from .base import LinearOperator, Operator, PinvOperator
from .spectral import Scaled

DEVIATION = 12**-0.5
"""Of an error that is uniform on [-1/2, 1/2]."""

PIXEL = 2 / 255
"""The step of a picture of bytes, in [-1, 1]."""

PROBES = 16
"""Random signals that ``Quantiser.gain`` is estimated from: to about 18 %."""

TOLERANCE = 0.001
"""Share of a cell by which a coefficient may miss it and still count as inside."""


def whole(y: Tensor) -> Tensor:
    """The nearest whole numbers, halves away from zero.

    What an error of arithmetic keeps from a half counts as one: the mean of a flat block is
    often exactly between two steps.
    """
    return y.sign() * (y.abs() + 0.5 + 1e-9).floor()


def to_bytes(x: Signal) -> Signal:
    """The picture, as a file of bytes holds it: on the grid of 256 values in [-1, 1]."""
    return ((x.clamp(-1, 1) + 1) / PIXEL).round() * PIXEL - 1


class Quantiser(Operator):
    """An operator that shows the coefficients ``linear(x)`` to the nearest step.

    Attributes:
        linear: The map to the coefficients, in units of their steps.
    """

    linear: LinearOperator
    differentiable = False

    @abc.abstractmethod
    def after(self, inner: LinearOperator) -> "Quantiser":
        """x -> self(inner(x)), still a quantiser."""

    @abc.abstractmethod
    def middle(self, coefficients: Coefficients, y: Data) -> Coefficients:
        """The middles of the cells that y shows; the given coefficients, where it shows none."""

    @cached_property
    def gain(self) -> Tensor:
        """How much a coefficient moves for white noise of deviation 1 in x, ``(*data)``."""
        generator = torch.Generator().manual_seed(0)
        like = next(self.buffers())
        squares = [
            self.linear(torch.randn(1, *self.signal_shape, generator=generator).to(like)).square()
            for _ in range(PROBES)
        ]
        return torch.cat(squares).mean(dim=0).sqrt()

    @property
    def pixel_error(self) -> float:
        """Root mean square of what rounding a coefficient does to a pixel, at most."""
        return float((DEVIATION / self.gain).square().mean().sqrt())

    def outside(self, x: Signal, y: Data) -> Coefficients:
        """How far each coefficient of x is from the middle of its cell, in steps."""
        coefficients = self.linear(x)
        return coefficients - self.middle(coefficients, y)

    def kept(self, x: Signal, y: Data) -> float:
        """Share of the coefficients of x, as a file of bytes, that lie in the cells of y."""
        away = self.outside(to_bytes(x), y).abs()
        return float((away <= 0.5 + TOLERANCE).double().mean())

    def settle(self, x: Signal, y: Data, rounds: int = 100) -> Signal:
        """The picture moved by a little, so that as a file of bytes it lies in the cells of y.

        Each round moves the coefficients that are outside, or so near the border that rounding
        colours to bytes may take them out (four deviations, at most two fifths of a step), back
        in.
        """
        reach = 0.5 - (4 * DEVIATION * PIXEL * self.gain).clamp(max=0.4)
        for k in range(rounds):
            away = self.outside(to_bytes(x), y)
            if k > 0 and (away.abs() <= 0.5).all():
                break
            back = self.linear.pinv(away.clamp(-reach, reach) - away)
            x = x.clamp(-1 - PIXEL, 1 + PIXEL) + back
        return x


class Rounded(Quantiser):
    """x -> the whole numbers nearest to L x + shift.

    Args:
        linear: L, its data in units of the step.
        shift: Added before rounding, ``(*data)``.
    """

    shift: Tensor

    def __init__(self, linear: LinearOperator, shift: Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.register_buffer("shift", shift)
        self.signal_shape, self.data_shape = linear.signal_shape, linear.data_shape

    def forward(self, x: Signal) -> Data:
        return whole(self.linear(x) + self.shift)

    def after(self, inner: LinearOperator) -> "Rounded":
        linear = self.linear @ inner
        assert isinstance(linear, LinearOperator)
        return (Quantised if linear.onto else Rounded)(linear, self.shift)

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
    """A picture of 2^bits values a channel, ``y`` counting from 0.

    Args:
        signal_shape: Shape of one signal, in [-1, 1].
        bits: 1 to 16.
    """

    def __init__(self, signal_shape: tuple[int, ...], bits: int) -> None:
        half = (2**bits - 1) / 2
        shift = torch.full(signal_shape, half, dtype=torch.float64)
        super().__init__(Scaled(signal_shape, half), shift)
