"""Ray shooting: from the pixels of a source to those of its lensed image.

d = P W L s: L are bilinear values of the source where rays come from, W the mean over the rays of
a pixel, P the point spread. Lensing keeps surface brightness: there is no factor of magnification.

References:
    Warren and Dye, Semilinear gravitational lens inversion, 2003.
    https://arxiv.org/abs/astro-ph/0302587
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...operators.base import LinearOperator
from ...operators.convolution import Convolution, reach
from ...operators.sparse import Sparse
from .lenses import Lens

RAYS = 4
"""Rays a side of a pixel of the image."""


@dataclass(frozen=True)
class Frame:
    """A grid of square pixels in the plane of the sky or of the source.

    Attributes:
        rows: How many there are, from below.
        columns: How many there are, from the left.
        scale: Side of one, arcsec.
        x: Of the middle of the grid, arcsec.
        y: Of the middle.
    """

    rows: int
    columns: int
    scale: float
    x: float = 0.0
    y: float = 0.0

    def centres(self, rays: int = 1) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        """x and y of ``rays`` x ``rays`` points in each pixel, as two pictures of them."""
        across = (_points(self.columns, rays) * self.scale + self.x).double()
        up = (_points(self.rows, rays) * self.scale + self.y).double()
        shape = len(up), len(across)
        return across.expand(shape), up[:, None].expand(shape)

    def wider(self, above: int, below: int, left: int, right: int) -> "Frame":
        """The grid with more pixels around: ``above`` rows before the first, and so on."""
        return Frame(
            self.rows + above + below,
            self.columns + left + right,
            self.scale,
            self.x + (right - left) / 2 * self.scale,
            self.y + (below - above) / 2 * self.scale,
        )

    def around(self, rows: int, columns: int) -> "Frame":
        """As many pixels of this scale around (0, 0)."""
        return Frame(rows, columns, self.scale)

    def holds(self, x: Tensor, y: Tensor) -> Bool[Tensor, "..."]:
        """Which points lie in it, half a pixel from its edge at least."""
        half = self.scale / 2
        across, up = self.columns * half - half, self.rows * half - half
        return ((x - self.x).abs() <= across) & ((y - self.y).abs() <= up)


def _points(pixels: int, rays: int) -> Tensor:
    places = torch.arange(pixels * rays, dtype=torch.float64) + 0.5
    return places / rays - pixels / 2


class Shooting(Sparse):
    """W L: each pixel of the image is the mean of the source where its rays come from.

    Outside of its frame the source is dark.

    Args:
        lens: What bends the light.
        source: The frame of the source.
        image: The frame of the image.
        rays: A side of a pixel of the image.
    """

    def __init__(self, lens: Lens, source: Frame, image: Frame, rays: int = RAYS) -> None:
        super().__init__(
            *_weights(lens, source, image, rays),
            (1, source.rows, source.columns),
            (1, image.rows, image.columns),
        )


def _weights(lens: Lens, source: Frame, image: Frame, rays: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values of the matrix: of each ray the four pixels around where it ends."""
    x, y = lens.traced(*image.centres(rays))
    across = (x - source.x) / source.scale + (source.columns - 1) / 2
    up = (y - source.y) / source.scale + (source.rows - 1) / 2
    pixel = torch.arange(image.rows * image.columns).view(image.rows, image.columns)
    pixel = pixel.repeat_interleave(rays, 0).repeat_interleave(rays, 1)
    left, below = across.floor(), up.floor()
    parts = []
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        u, v = (left + column).long(), (below + row).long()
        weight = (1 - (across - u).abs()) * (1 - (up - v).abs()) / rays**2
        inside = (u >= 0) & (u < source.columns) & (v >= 0) & (v < source.rows) & (weight > 0)
        parts.append((pixel[inside], (v * source.columns + u)[inside], weight[inside]))
    rows, columns, values = (torch.cat(each) for each in zip(*parts, strict=True))
    return rows, columns, values


def lensed(
    lens: Lens, source: Frame, image: Frame, psf: Float[Tensor, "rows columns"] | None = None
) -> LinearOperator:
    """P W L. Rays are shot beyond the image too, as far as the point spread brings light in.

    Args:
        lens: What bends the light.
        source: The frame of the source.
        image: The frame of the image.
        psf: The point spread at the scale of the image, of odd sides; None for a point.

    Raises:
        ShapeError: The point spread has an even side.
        SettingError: No ray ends in the frame of the source.
    """
    if psf is not None and not all(side % 2 for side in psf.shape):
        raise ShapeError(
            f"Wanted a point spread of odd sides, with its middle in a pixel, but got "
            f"{' x '.join(map(str, psf.shape))}. Resample it to odd sides."
        )
    (above, below), (left, right) = ((0, 0), (0, 0)) if psf is None else reach(psf)
    shooting = Shooting(lens, source, image.wider(above, below, left, right))
    if shooting.entries == 0:
        raise SettingError(
            "Wanted a lens that shows the source, but no ray ends in the frame of the source. "
            "Move the frame, or enlarge it with --source-size."
        )
    if psf is None:
        return shooting
    H = Convolution(shooting.data_shape, psf) @ shooting
    assert isinstance(H, LinearOperator)
    return H
