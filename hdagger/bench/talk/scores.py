"""The scores of a table: of one picture, of a set of pictures, and the mean of many.

Per-picture scores are those of values cut off to [0, 1], which is [-1, 1] here, and a table has
their mean over pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from jaxtyping import Float
from torch import Tensor

from ...diagnostics import interval, student
from ...domains.pictures.metrics import psnr, ssim
from ...errors import SettingError
from ...judging import open_elements
from ...samples import PosteriorSamples
from ...scores import fair_crps

Features = Float[Tensor, "n d"]

FEWEST_FOR_FID = 2048
"""Below as many pictures as features the covariance that FID wants has no inverse, and FID says
more of their number than of them."""


@dataclass(frozen=True)
class Estimate:
    """A mean and half of its 95 % interval; None where there is only one."""

    value: float
    half: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """By Student's t."""
        n = len(values)
        if n < 2 or not all(map(math.isfinite, values)):
            return cls(fmean(values))
        return cls(fmean(values), student(n - 1, 0.95) * stdev(values) / math.sqrt(n))


def of_picture(samples: PosteriorSamples, truth: Float[Tensor, "c h w"]) -> dict[str, float]:
    """What arithmetic says of the samples of one picture.

    A single answer stands for as many equal samples: its ranked score is its mean absolute
    error, and its intervals hold nothing.

    Returns:
        ``psnr`` and ``ssim`` of one sample, on average over them; ``psnr_mean`` and
        ``ssim_mean`` of their mean; ``crps``, the fair ranked probability score of an element;
        ``covered``, the share of what the data leave open that lies in its 90 % interval.
    """
    draws, mean, truth = (v.double() for v in (samples.draws, samples.mean, truth))
    if len(draws) == 1:
        draws = draws.expand(2, *truth.shape)
    low, high = interval(draws, 0.9)
    held = ((low <= truth) & (truth <= high))[open_elements(draws, truth)]
    return {
        "psnr": fmean(psnr(x, truth) for x in draws),
        "psnr_mean": psnr(mean, truth),
        "ssim": fmean(ssim(x, truth) for x in draws),
        "ssim_mean": ssim(mean, truth),
        "crps": float(fair_crps(draws, truth).mean()),
        "covered": float(held.double().mean()),
    }


def kid(restored: Features, real: Features) -> Estimate:
    """The kernel distance of two sets of features: unbiased, of a cubic polynomial.

    With its 95 % interval by the jackknife, a pair of pictures left out at a time.

    References:
        Binkowski, Sutherland, Arbel and Gretton, Demystifying MMD GANs, ICLR 2018, section 3.
        https://arxiv.org/abs/1801.01401
    """
    x, y = restored.double(), real.double()
    n = len(x)
    if n < 3 or n != len(y):
        raise SettingError(
            f"Wanted 3 pictures or more for a KID, but got {n} and {len(y)}. Take more."
        )
    kernel = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    within = kernel(x, x).fill_diagonal_(0) + kernel(y, y).fill_diagonal_(0)
    across = kernel(x, y)
    inner, outer = within.sum(), across.sum()
    value = inner / (n * (n - 1)) - 2 * outer / n**2
    less_inner = inner - 2 * within.sum(1)
    less_outer = outer - across.sum(0) - across.sum(1) + across.diagonal()
    without = less_inner / ((n - 1) * (n - 2)) - 2 * less_outer / (n - 1) ** 2
    error = ((n - 1) / n * (without - without.mean()).square().sum()).sqrt()
    return Estimate(float(value), student(n - 1, 0.95) * float(error))


def fid(restored: Features, real: Float[Tensor, "others d"]) -> float:
    """The distance of Frechet between Gaussians of the same moments as two sets of features.

    |m - m'|^2 + tr(C + C' - 2 (C^1/2 C' C^1/2)^1/2).

    Raises:
        SettingError: There are fewer than 2,048 pictures.

    References:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
        Equilibrium, NeurIPS 2017, eq. 6. https://arxiv.org/abs/1706.08500
    """
    least = min(len(restored), len(real))
    if least < FEWEST_FOR_FID:
        raise SettingError(
            f"Wanted {FEWEST_FOR_FID} pictures or more for an FID, but got {least}. Look at KID."
        )
    x, y = restored.double(), real.double()
    a, b = x.T.cov(), y.T.cov()
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return float(apart + a.trace() + b.trace() - 2 * shared)
