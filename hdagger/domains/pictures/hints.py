"""What a picture tells of how it came about."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...operators.base import LinearOperator, Operator, PinvOperator, SVDOperator
from ...operators.quantisation import Quantiser
from ...problem import Problem
from ...samplers.base import Sampler
from ...samplers.drawn import Drawn
from ...samplers.walk import karras_levels
from ...solving import HIGHEST, levels_for
from ...tensors import Signal

DRAWN_STEPS = 14
"""Noise levels of drawn steps, of which five ask the network twice: docs/methods.md has what more
of either gain."""

ASKED = 2.5
"""Where drawn steps ask the network twice. Above, it puts grain into what is smooth; below, more
levels bring as much as more calls of each."""

HOLE_STEPS = 24
"""Noise levels of drawn steps where the data leave a hole. There the network is asked once: what
it says of its own covariance is of what was drawn last, so that scraps in a hole beget scraps."""

FIRST_STEP = 3 / 8
"""Where the first drawn step ends, over where it begins. What is coarse the data know."""


def noise_deviation(pixels: Float[Tensor, "channels height width"]) -> float:
    """An estimate of the white noise in a picture: from the median of its finest details.

    References:
        Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994, section 4.2,
        with the diagonal Haar coefficients. https://doi.org/10.1093/biomet/81.3.425
    """
    height, width = (side - side % 2 for side in pixels.shape[1:])
    if height < 2 or width < 2:
        return 0.0
    a = pixels[:, :height, :width]
    details = (a[:, ::2, ::2] - a[:, 1::2, ::2] - a[:, ::2, 1::2] + a[:, 1::2, 1::2]).abs() / 2
    return float(details.median() / 0.6745)


def picture_levels(
    problem: Problem, method: Sampler[Any], steps: int, within: tuple[float, float]
) -> Tensor:
    """The noise levels to walk down: none wasted where nothing is left to decide.

    The highest is the prior's, at most 80, or, for a method that can begin lower, where it can,
    or in proportion to the side of the largest square that the data leave open: at half of it the
    mean of such a square is as uncertain as a pixel of the prior. Drawn steps go straight to
    three eighths of it, and on from there. Any method can begin at 8 where data are rounded, and
    ends at an eighth of what the rounding does to a pixel (docs/jpeg.md).
    """
    H, begins = problem.H, method.begins
    if isinstance(H, Quantiser):
        begins, low = 8.0, max(within[0], min(0.1, H.signal_error / 8))
        down = lambda steps, high: karras_levels(steps, low=low, high=high)
    else:
        down = lambda steps, high: levels_for(problem, steps, highest=high, within=within)
    high = min(HIGHEST, within[1])
    if begins < high:
        high = min(high, max(begins, method.begins_open * unseen_side(H)))
    if steps < 2 or not isinstance(method, Drawn):
        return down(steps, high)
    rest = down(steps - 1, FIRST_STEP * high)
    return torch.cat([rest.new_tensor([high]), rest])


def has_hole(H: Operator) -> bool:
    """Whether drawn steps can work on it and begin higher, so large a square is left open."""
    could = isinstance(H, LinearOperator | Quantiser)
    return could and Drawn.begins_open * unseen_side(H) > Drawn.begins


@lru_cache(maxsize=1)  # whether there is a hole, and where to begin, is asked of the same one
def unseen_side(H: Operator) -> int:
    """Side, a power of two, of the largest square of pixels that the data say nothing about.

    Random signs on a grid of squares, one for each channel, are sent through H and back; a
    square counts as unseen if less than a twentieth of its energy returns. It is 1 where nothing
    sends them back.
    """
    null = _null(H)
    if null is None:
        return 1
    channels, height, width = H.signal_shape
    generator = torch.Generator().manual_seed(0)
    found, side = 1, 2
    while side <= min(height, width):
        rows, columns = -(-height // side), -(-width // side)
        signs = torch.randint(2, (1, channels, rows, columns), generator=generator) * 2.0 - 1.0
        squares = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)
        x = H.own(squares[:, :, :height, :width])
        lost = null(x).square().mean(dim=1, keepdim=True)
        if torch.nn.functional.avg_pool2d(lost, side).max() > 0.95:
            found = side
        side *= 2
    return found


def _null(H: Operator) -> Callable[[Signal], Signal] | None:
    """What data say nothing about of a signal.

    Where only iterations would find a pseudoinverse, H' / |H|^2 sends data back, which is enough
    for what large squares are made of.
    """
    if isinstance(H, Quantiser):
        L = H.linear
        known = isinstance(L, SVDOperator)
        return (lambda x: x - L.pinv(H.shown(L(x)))) if known else None
    if isinstance(H, LinearOperator) and not isinstance(H, SVDOperator):
        return lambda x: x - H.adjoint(H(x)) / H.norm**2
    return H.null if isinstance(H, PinvOperator) else None
