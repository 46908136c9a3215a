"""Operators H of a measurement y = H(x) + noise, free of what a signal is."""

from . import chain as chain  # ``outer @ inner`` works wherever an operator does
