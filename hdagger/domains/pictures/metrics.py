"""What is measured on pictures: how close two are, and what goes on in one.

Pictures are in [-1, 1]; to compare two, values beyond are cut off first.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...linalg import dct2

OPPONENTS = {"luma": (1, 1, 1), "red-green": (1, -1, 0), "yellow-blue": (1, 1, -2)}
"""Three orthogonal colours."""

PERIODS = (16, 4)
"""In pixels, where one band of frequencies ends and the next begins."""


def psnr(picture: Float[Tensor, "*shape"], truth: Float[Tensor, "*shape"]) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the whole range of 2."""
    error = (_cut(picture) - _cut(truth)).square().mean()
    return float(10 * torch.log10(4 / error)) if error > 0 else math.inf


def ssim(picture: Float[Tensor, "c h w"], truth: Float[Tensor, "c h w"]) -> float:
    """Structural similarity, in an 11-tap Gaussian window of deviation 1.5.

    Of values in [0, 1], as published: it looks at means, and so at where black is.

    References:
        Wang, Bovik, Sheikh and Simoncelli, Image quality assessment, 2004.
        https://doi.org/10.1109/TIP.2003.819861
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = ((_cut(x)[None].float() + 1) / 2 for x in (picture, truth))
    value = structural_similarity_index_measure(a, b, data_range=1.0)
    assert isinstance(value, Tensor)
    return float(value)


def activity(x: Float[Tensor, "*rows h w"]) -> Float[Tensor, "*rows h w"]:
    """The standard deviation within 5 x 5 pixels."""
    mean = lambda a: avg_pool2d(a, 5, stride=1, padding=2, count_include_pad=False)
    return (mean(x.square()) - mean(x).square()).clamp(min=0).sqrt()


def laplacian(x: Float[Tensor, "*rows h w"]) -> Float[Tensor, "*rows inner_h inner_w"]:
    """Four times each inner pixel without its four neighbours: the finest texture."""
    rows, columns = slice(1, -1), slice(1, -1)
    beside = x[..., :-2, columns] + x[..., 2:, columns] + x[..., rows, :-2] + x[..., rows, 2:]
    return 4 * x[..., rows, columns] - beside


def bands(x: Float[Tensor, "rows c h w"]) -> Mapping[str, Sequence[Float[Tensor, "rows count"]]]:
    """Cosine coefficients of each opponent colour, in three bands of frequencies.

    From coarse to fine: periods of 16 pixels and more, of 4 to 16, and of less. Pictures that
    have not three channels are one part, ``"luma"``.
    """
    height, width = x.shape[-2:]
    down = torch.arange(height, dtype=torch.float64) / (2 * height)
    across = torch.arange(width, dtype=torch.float64) / (2 * width)
    cycles = (down[:, None].square() + across.square()).sqrt()
    band = torch.bucketize(cycles, torch.tensor([1 / period for period in PERIODS]).to(cycles))
    parts = {"luma": x}
    if x.shape[1] == 3:
        colours = {name: torch.tensor(of).to(x) for name, of in OPPONENTS.items()}
        parts = {
            name: torch.einsum("c,bchw->bhw", of / of.norm(), x)[:, None]
            for name, of in colours.items()
        }
    return {
        name: [dct2(part)[..., band == k].flatten(1) for k in range(len(PERIODS) + 1)]
        for name, part in parts.items()
    }


def _cut(picture: Tensor) -> Tensor:
    return picture.clamp(-1, 1)
