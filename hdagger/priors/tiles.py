"""Pictures larger than memory: the denoiser applied tile by tile."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..tensors import Label, Level, Signal
from .base import Denoiser


class Tiled:
    """A denoiser of pictures that sees large ones in overlapping tiles.

    Where tiles overlap their predictions are blended linearly. Memory grows with the tile, not
    with the picture, under a gradient too: there each tile is computed once more on the way
    back. A picture that fits one tile is passed on as it is.

    Args:
        prior: The denoiser of a tile; it must not look at where in the picture it is.
        tile: Side of a tile in pixels.
        overlap: Pixels that neighbours share, less than half a tile.
    """

    def __init__(self, prior: Denoiser, tile: int = 384, overlap: int = 64) -> None:
        assert 0 < overlap <= tile // 2
        self.prior: Callable[..., Signal] = prior
        self.tile = tile
        self.overlap = overlap

    def __call__(self, x: Signal, sigma: Level, label: Label | None = None) -> Signal:
        told = () if label is None else (label,)
        if max(x.shape[2:]) <= self.tile:
            return self.prior(x, sigma, *told)
        height, width = x.shape[2:]
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        for rows, columns in product(self._spans(height), self._spans(width)):
            part = x[:, :, rows, columns]
            if torch.is_grad_enabled() and x.requires_grad:
                D = checkpoint(self.prior, part, sigma, *told, use_reentrant=False)
            else:
                D = self.prior(part, sigma, *told)
            window = torch.outer(self._window(rows, height), self._window(columns, width)).to(x)
            total[:, :, rows, columns] += window * D
            weights[:, :, rows, columns] += window
        return total.div_(weights)

    def _spans(self, length: int) -> list[slice]:
        """Tiles that cover ``length`` pixels, evenly spread."""
        count = max(1, -(-(length - self.overlap) // (self.tile - self.overlap)))
        starts = torch.linspace(0, max(0, length - self.tile), count).round().int().tolist()
        return [slice(start, min(start + self.tile, length)) for start in starts]

    def _window(self, span: slice, length: int) -> Tensor:
        """1 inside, falling to almost 0 at edges that another tile continues."""
        place = torch.arange(span.start, span.stop)
        left = place - span.start + 1 if span.start > 0 else torch.full_like(place, length)
        right = span.stop - place if span.stop < length else torch.full_like(place, length)
        return (torch.minimum(left, right) / (self.overlap + 1)).clamp(max=1)
