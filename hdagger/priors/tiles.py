"""Pictures larger than memory: the denoiser applied tile by tile."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..tensors import Label, Level, Signal
from .base import Denoiser, moments


class Tiled:
    """A denoiser of pictures that sees large ones in overlapping tiles.

    Where tiles overlap their predictions are blended linearly. Memory grows with the tile, not
    with the picture, under a gradient too: there each tile is computed once more on the way
    back. A picture that fits one tile is passed on as it is.

    Args:
        prior: The denoiser of a tile; it must not look at where in the picture it is.
        tile: The longest side of a tile, in pixels.
        overlap: Pixels that neighbours share at least, up to half of that.
        only: Whether the denoiser takes no other side; else tiles are as small as will do.
    """

    def __init__(
        self, prior: Denoiser, tile: int = 384, overlap: int = 64, only: bool = False
    ) -> None:
        assert 0 < overlap <= tile // 2
        self.prior: Callable[..., Signal] = prior
        self.tile = tile
        self.overlap = overlap
        self.only = only

    def __call__(self, x: Signal, sigma: Level, label: Label | None = None) -> Signal:
        return self._blended(x, lambda part: self.prior(part, sigma, *_told(label)))

    def moments(
        self, x: Signal, sigma: Level, label: Label | None = None
    ) -> tuple[Signal, Signal | None]:
        """See :func:`hdagger.priors.base.moments`; the variances are blended as the means are."""
        if not hasattr(self.prior, "moments"):
            return self(x, sigma, label), None

        def both(part: Signal) -> Tensor:
            D, variance = moments(self.prior, part, sigma, *_told(label))
            return D if variance is None else torch.cat([D, variance], dim=1)

        channels = x.shape[1]
        found = self._blended(x, both)
        if found.shape[1] == channels:
            return found, None
        return found[:, :channels].clone(), found[:, channels:]  # each can be let go by itself

    def _blended(self, x: Signal, see: Callable[[Signal], Tensor]) -> Tensor:
        """What is seen of each tile, blended where they overlap."""
        if max(x.shape[2:]) <= self.tile:
            return see(x)
        height, width = x.shape[2:]
        total: Tensor | None = None
        weights = torch.zeros_like(x[:1, :1])
        for rows, columns in product(self._spans(height), self._spans(width)):
            part = x[:, :, rows, columns]
            if torch.is_grad_enabled() and x.requires_grad:
                seen = checkpoint(see, part, use_reentrant=False)
            else:
                seen = see(part)
            window = torch.outer(self._window(rows, height), self._window(columns, width)).to(x)
            if total is None:
                total = x.new_zeros(len(x), seen.shape[1], height, width)
            total[:, :, rows, columns] += window * seen
            weights[:, :, rows, columns] += window
        assert total is not None
        return total.div_(weights)

    def _spans(self, length: int) -> list[slice]:
        """As few tiles as cover ``length`` pixels, evenly spread."""
        count = max(1, -(-(length - self.overlap) // (self.tile - self.overlap)))
        least = -(-(length + (count - 1) * self.overlap) // count)
        tile = self.tile if self.only and count > 1 else least
        starts = torch.linspace(0, length - tile, count).round().int().tolist()
        return [slice(start, start + tile) for start in starts]

    def _window(self, span: slice, length: int) -> Tensor:
        """1 inside, falling to almost 0 at edges that another tile continues."""
        place = torch.arange(span.start, span.stop)
        left = place - span.start + 1 if span.start > 0 else torch.full_like(place, length)
        right = span.stop - place if span.stop < length else torch.full_like(place, length)
        return (torch.minimum(left, right) / (self.overlap + 1)).clamp(max=1)


def _told(label: Label | None) -> tuple[Label, ...]:
    return () if label is None else (label,)
