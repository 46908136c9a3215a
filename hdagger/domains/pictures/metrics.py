"""How close two pictures are. Pictures are in [-1, 1]; values beyond are cut off first."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def psnr(picture: Float[Tensor, "*shape"], truth: Float[Tensor, "*shape"]) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the whole range of 2."""
    error = (_cut(picture) - _cut(truth)).square().mean()
    return float(10 * torch.log10(4 / error)) if error > 0 else math.inf


def ssim(picture: Float[Tensor, "c h w"], truth: Float[Tensor, "c h w"]) -> float:
    """Structural similarity, in an 11-tap Gaussian window of deviation 1.5.

    References:
        Wang, Bovik, Sheikh and Simoncelli, Image quality assessment, 2004.
        https://doi.org/10.1109/TIP.2003.819861
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(
        _cut(picture)[None].float(), _cut(truth)[None].float(), data_range=2.0
    )
    assert isinstance(value, Tensor)
    return float(value)


def _cut(picture: Tensor) -> Tensor:
    return picture.clamp(-1, 1)
