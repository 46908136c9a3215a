"""A lens that is known roughly: the images of a source for each choice of its numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, grid_sample

from ...operators.base import LinearOperator
from ...operators.convolution import reach
from ...operators.family import Family, Number
from ...operators.whitened import whitened
from ...tensors import Data, Signal
from .lenses import LIMITS, Lens
from .view import View

RAYS = 2
"""Rays a side of a pixel, where only a derivative is wanted."""


def drawn_lenses(
    lens: Lens, deviations: Sequence[float], numbers: Float[Tensor, "samples numbers"]
) -> list[Lens]:
    """The lens of each sample, from the numbers that were drawn of it."""
    every = torch.tensor(lens.numbers, dtype=torch.float64).repeat(len(numbers), 1)
    every[:, [k for k, deviation in enumerate(deviations) if deviation > 0]] = numbers.double()
    return [lens.moved(own.tolist()) for own in every]


def rough_lens(
    view: View,
    psf: Float[Tensor, "h w"] | None,
    noise: Float[Tensor, "1 rows columns"],
    deviations: Sequence[float],
) -> Family:
    """The lenses that differ from a rough one, and their images over the noise.

    Args:
        view: The rough lens, and the frames.
        psf: The point spread; None for a point.
        noise: Deviation of the noise, infinite where nothing was seen.
        deviations: How far off each of the lens's numbers may be, in their order; 0 for known.
    """
    free = [k for k, deviation in enumerate(deviations) if deviation > 0]
    weight = torch.where(noise.isfinite(), 1 / noise, 0)
    (above, below), (left, right) = ((0, 0), (0, 0)) if psf is None else reach(psf)
    wide = view.image.wider(above, below, left, right)
    x, y = wide.centres(RAYS)
    source = view.source

    def lens(numbers: Tensor) -> Lens:
        return drawn_lenses(view.lens, deviations, numbers[None].cpu())[0]

    def make(numbers: Tensor) -> LinearOperator:
        H = View(lens(numbers), source, view.image).operator(psf)
        white = whitened(H, noise)
        assert isinstance(white, LinearOperator)
        return white

    def image(z: Signal, numbers: Tensor) -> Data:
        """W P mean over rays of z, sampled where they end."""
        across, up = lens(numbers).traced(x, y)
        grid = torch.stack(
            [
                (across - source.x) * 2 / (source.columns * source.scale),
                (up - source.y) * 2 / (source.rows * source.scale),
            ],
            dim=-1,
        )
        light = grid_sample(z, grid[None].to(z), align_corners=False)
        light = avg_pool2d(light, RAYS)
        if psf is not None:
            light = conv2d(light, psf.flip(0, 1)[None, None].to(z))
        return weight.to(z) * light

    names = view.lens.names
    numbers = [
        Number(names[k], view.lens.numbers[k], deviations[k], *LIMITS[names[k].split(".")[1]])
        for k in free
    ]
    return Family(make, numbers, image)
