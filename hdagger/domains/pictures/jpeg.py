"""JPEG: H encodes, its pseudoinverse decodes; see :mod:`.jpeg_transform`."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...operators.base import Operator
from ...operators.chain import Sequence
from ...operators.quantisation import Grid, Quantised, whole
from ...operators.spectral import Inpainting
from ...tensors import Data, Signal
from .arguments import SAMPLINGS, check_sampling
from .jpeg_transform import JpegTransform, Sampling, quality_tables
from .jpeg_transform import quality_of as quality_of
from .seen_jpeg import SeenJpeg

BYTES = Grid(-1.0, 1.0, 2 / 255)
"""What a picture of bytes holds."""


class Jpeg(Quantised):
    """H encodes a picture, pinv decodes it: H(pinv(H(x))) = H(x).

    The data are the whole numbers that a .jpg file holds, flat (see :class:`JpegTransform`);
    nothing is cut off at black and white, which would break the law.

    Args:
        signal_shape: ``(channels, height, width)`` in [-1, 1], 1 or 3 channels, any size.
        quality: 1 to 100, as libjpeg counts; or the tables, ``(channels, 8, 8)``.
        sampling: A name in ``SAMPLINGS``, or the factors of each component.
        colours: See :class:`JpegTransform`.

    Example:
        >>> H = Jpeg((3, 16, 16), 10)
        >>> y = H(torch.zeros(1, 3, 16, 16, dtype=torch.float64))
        >>> y.shape, torch.equal(H(H.pinv(y)), y)
        (torch.Size([1, 384]), True)
    """

    def __init__(
        self,
        signal_shape: tuple[int, int, int],
        quality: int | Int[Tensor, "channels 8 8"],
        sampling: str | Sampling = "4:2:0",
        colours: Float[Tensor, "channels channels"] | None = None,
    ) -> None:
        channels = signal_shape[0]
        if isinstance(quality, int):
            quality = quality_tables(quality)[[0, 1, 1][:channels]]
        if isinstance(sampling, str):
            check_sampling(sampling)
            sampling = [SAMPLINGS[sampling], (1, 1), (1, 1)][:channels]
        transform = JpegTransform(signal_shape, quality, sampling, colours)
        shift = transform.of_constant(-1 / 255)
        super().__init__(transform, shift, BYTES, transform.encoder_error())
        self.transform = transform

    def seen_by(self, outer: Operator) -> Operator | None:
        """An operator on pictures that follows works on the decoded picture."""
        if outer.signal_shape != self.signal_shape:
            return None
        if isinstance(outer, Inpainting):
            return SeenJpeg(self.transform, self.shift, outer, BYTES)
        everywhere = Inpainting(torch.ones(self.signal_shape, dtype=torch.bool))
        return Sequence(outer, SeenJpeg(self.transform, self.shift, everywhere, BYTES))

    def decode(self, y: Data) -> Signal:
        """The picture that decoders show, chroma repeated and nothing cut off."""
        return self.transform.decode(y - self.shift)

    def encode(self, x: Signal) -> Data:
        """What a JPEG encoder makes of a picture of bytes, which rounds on the way too.

        It differs from libjpeg in less than 0.02 % of the coefficients at quality 10, 0.3 % at
        75 and 2 % at 95, by one step (``benchmarks/jpeg.py --agreement``).
        """
        return whole(self.transform.coefficients(x, whole=True) + self.shift)
