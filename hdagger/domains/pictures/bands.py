"""The frequencies and colours of pictures, in which a denoiser's errors are about independent."""

import torch
from jaxtyping import Float
from torch import Tensor

from ...rings import Rings

OPPONENT = torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]], dtype=torch.float64)
"""Rows: lightness, red against green, yellow against blue; not yet of length 1."""


class PictureBands(Rings):
    """Lightness and two opponent colours by rings of frequency.

    Pictures of one channel, and codes, keep their channels.
    """

    def turned(self, components: int) -> Float[Tensor, "components components"]:
        if components != 3:
            return super().turned(components)
        return OPPONENT / OPPONENT.norm(dim=1, keepdim=True)
