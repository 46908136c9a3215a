"""A decoded JPEG of which a mask hides pixels: what the others tell of its coefficients."""

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ...errors import ShapeError
from ...linalg import dct_matrix
from ...operators.base import LinearOperator
from ...operators.quantisation import Grid, Quantiser, whole
from ...operators.spectral import Inpainting
from ...tensors import Coefficients, Data, Signal
from .jpeg_transform import JpegTransform

MOST_PARTIAL = 10_000
"""Blocks that a mask may cut; each takes 32 kB."""


class SeenJpeg(Quantiser):
    """A decoded JPEG seen through a mask: x -> mask decode(encode(x)), its pixels the data.

    What the visible pixels of a block tell of its coefficients k is their part P k in the row
    space of decoding and hiding. P is the identity where all is visible and zero where nothing
    is; what it leaves open, the prediction fills.

    Args:
        transform: The encoder before it rounds.
        shift: Added before rounding.
        mask: Over its pictures, the same for all channels.
        stored: The values that a file of signals can hold; None for any.
        inner: What comes before the encoder.
    """

    shift: Tensor
    share: Tensor
    partial: Tensor
    projections: Tensor

    def __init__(
        self,
        transform: JpegTransform,
        shift: Tensor,
        mask: Inpainting,
        stored: Grid | None = None,
        inner: LinearOperator | None = None,
    ) -> None:
        super().__init__()
        self.transform, self.mask, self.stored = transform, mask, stored
        self.register_buffer("shift", shift)
        self.register_buffer("encoder_error", transform.encoder_error())
        linear = transform if inner is None else transform @ inner
        assert isinstance(linear, LinearOperator)
        self.linear = linear
        self.signal_shape, self.data_shape = self.linear.signal_shape, transform.signal_shape
        blocks = transform.blocks_of(mask.singular_values.view(transform.signal_shape)[:1])
        share = blocks.mean(dim=(1, 2))
        partial = ((share > 0) & (share < 1)).nonzero()[:, 0]
        if len(partial) > MOST_PARTIAL:
            raise ShapeError(
                f"Wanted at most {MOST_PARTIAL} blocks that a mask cuts, but got {len(partial)}. "
                "Crop the picture, or draw the mask in whole squares of 16 pixels."
            )
        self.register_buffer("share", share.floor())
        self.register_buffer("partial", partial)
        self.register_buffer("projections", self._row_spaces(blocks[partial], partial))

    @property
    def visible(self) -> Bool[Tensor, "..."]:
        return self.mask.visible

    def after(self, inner: LinearOperator) -> "SeenJpeg":
        assert self.linear is self.transform, "an operator is joined once"
        return SeenJpeg(self.transform, self.shift, self.mask, self.stored, inner)

    def forward(self, x: Signal) -> Data:
        k = whole(self.linear(x) + self.shift)
        return self.mask(self.transform.decode(k - self.shift))

    def middle(self, coefficients: Coefficients, y: Data) -> Coefficients:
        seen = self.transform.coefficients(self._filled(y))
        return coefficients + self.shown(seen - coefficients)

    def _filled(self, y: Data) -> Data:
        """The hidden pixels set to the mean of the visible ones that share their chroma."""
        across, down = self.transform.most
        weight = self.mask.singular_values.view(1, *self.data_shape)
        both = torch.cat([self.seen(y), weight.to(y).expand(len(y), -1, -1, -1)], dim=1)
        rows, columns = both.shape[2:]
        both = nn.functional.pad(both, (0, -columns % across, 0, -rows % down))
        both = nn.functional.avg_pool2d(both, (down, across))
        both = both.repeat_interleave(down, 2).repeat_interleave(across, 3)
        total, count = both[:, :, :rows, :columns].chunk(2, dim=1)
        return torch.where(weight > 0, y, total / count.clamp(min=1e-9))

    def shown(self, coefficients: Coefficients) -> Coefficients:
        """P c, block by block."""
        blocks = coefficients.unflatten(1, (-1, 64))
        seen = blocks * self.share.to(blocks)[:, None]
        seen[:, self.partial] = torch.einsum(
            "nij,bnj->bni", self.projections, blocks[:, self.partial]
        )
        return seen.flatten(1)

    def _row_spaces(self, visible: Tensor, partial: Tensor) -> Tensor:
        """P of each block that is cut, ``(cut, 64, 64)``: onto the span of the visible rows."""
        sizes = torch.tensor([rows * columns for rows, columns in self.transform.grids])
        component = torch.bucketize(partial, sizes.cumsum(0), right=True)
        dct = dct_matrix(8)
        rows = torch.kron(dct, dct) * self.transform.tables.flatten(1)[component][:, :, None]
        rows = rows * visible.flatten(1)[:, None, :]
        u, s, _ = torch.linalg.svd(rows)
        u = u * (s > 1e-9 * s[:, :1])[:, None, :]
        return u @ u.transpose(1, 2)
