"""What samples of an image say in numbers, and how far that is from an image that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ...diagnostics import chi2_of, held
from ...operators.base import LinearOperator
from ...problem import Problem
from ...samples import PosteriorSamples
from .kspace import image_of

LEVEL = 0.9
"""Of the intervals whose coverage is told."""

WINDOW = 7
"""A side of the windows of SSIM, as fastMRI has them."""

OBJECT = 0.1
"""Share of an image's bright end from which on a pixel belongs to the object."""

Draws = Float[Tensor, "samples 2 rows columns"]
Truth = Complex[Tensor, "rows columns"]


@dataclass(frozen=True)
class Fit:
    """How k-space and that of samples differ, in deviations of the noise.

    Attributes:
        of_mean: chi2 over the real numbers measured for the mean, which is less than 1 by what
            the mean takes from the noise.
        of_samples: The same for each sample: 1 within 3 sqrt(2 / N) where all is well.
    """

    of_mean: float
    of_samples: list[float]

    @classmethod
    def of(cls, draws: Draws, H: LinearOperator, y: Tensor, sigma_y: float) -> "Fit":
        """The fit of samples to k-space.

        Args:
            draws: The samples.
            H: The encoding.
            y: k-space.
            sigma_y: Deviation of the noise of each real component.
        """
        return cls(*chi2_of(draws.double(), Problem(y[None], H, sigma_y)))


def object_in(magnitude: Float[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
    """Where there is more than air, its holes filled in part."""
    ordered = magnitude.flatten().sort().values
    there = (magnitude > OBJECT * ordered[int(0.99 * (len(ordered) - 1))]).double()
    near = torch.nn.functional.avg_pool2d(there[None, None], 7, 1, 3)[0, 0]
    return near > 0.5


def psnr(x: Float[Tensor, "rows columns"], truth: Float[Tensor, "rows columns"]) -> float:
    """How close a magnitude is to the true one, in dB over its brightest pixel."""
    return float(10 * torch.log10(truth.max() ** 2 / (x - truth).square().mean()))


def against(
    samples: PosteriorSamples,
    truth: Truth,
    inside: Bool[Tensor, "rows columns"],
    amplified: Float[Tensor, "rows columns"] | None = None,
) -> dict[str, Any]:
    """Scores of samples where the image is known, the intervals' inside of the object.

    Args:
        samples: Of the image.
        truth: The image; a real one is a magnitude, of which the phase is not known.
        inside: The pixels of the object.
        amplified: By how much the encoding amplifies noise at each pixel.

    Returns:
        ``psnr``: Of the mean's magnitude, dB over the brightest pixel of the truth; ``nmse``
        and ``ssim`` of the magnitude, as fastMRI has them; ``complex_nmse``; ``coverage`` of
        90 % intervals, in all and of ``magnitude``, ``real`` and ``imaginary``;
        ``coverage_by_amplification``: that of the magnitude in four quarters of the object, from
        where noise is amplified least to most; ``spread``: deviation of the samples over the
        error of the mean, 1 if it is right.
    """
    images = image_of(samples.draws.double())
    (mean,) = image_of(samples.mean[None].double())
    known = truth.to(torch.complex128)
    size, error = known.abs(), mean.abs() - known.abs()
    nmse = lambda e, t: float(e.abs().square().sum() / t.abs().square().sum())
    found: dict[str, Any] = {
        "psnr": psnr(mean.abs(), size),
        "nmse": nmse(error, size),
        "ssim": _ssim(mean.abs(), size),
    }
    parts = {"magnitude": (images.abs(), size)}
    if known.imag.any():
        found["complex_nmse"] = nmse(mean - known, known)
        parts |= {"real": (images.real, known.real), "imaginary": (images.imag, known.imag)}
    within = {name: held(x, t, LEVEL) for name, (x, t) in parts.items()}
    found["coverage"] = {name: float(h[inside].double().mean()) for name, h in within.items()}
    if amplified is not None:
        order = amplified[inside].argsort(stable=True)
        quarters = within["magnitude"][inside][order].double().tensor_split(4)
        found["coverage_by_amplification"] = [float(part.mean()) for part in quarters]
    deviation = images.abs().std(0, correction=int(len(images) > 1))[inside]
    miss = (images.abs().mean(0) - size)[inside]
    found["spread"] = float(deviation.square().mean().sqrt() / miss.square().mean().sqrt())
    return found


def _ssim(x: Float[Tensor, "rows columns"], truth: Float[Tensor, "rows columns"]) -> float:
    """Wang et al., 2004, in uniform windows: what fastMRI takes of skimage.

    References:
        https://doi.org/10.1109/TIP.2003.819861
    """
    mean = lambda v: torch.nn.functional.avg_pool2d(v[None, None], WINDOW, 1)[0, 0]
    a, b, most = mean(x), mean(truth), float(truth.max())
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    aa, bb, ab = (
        unbiased * (mean(u * v) - mean(u) * mean(v))
        for u, v in ((x, x), (truth, truth), (x, truth))
    )
    c1, c2 = (0.01 * most) ** 2, (0.03 * most) ** 2
    top = (2 * a * b + c1) * (2 * ab + c2)
    return float((top / ((a**2 + b**2 + c1) * (aa + bb + c2))).mean())


def told(fits: Sequence[Fit]) -> dict[str, float]:
    """chi2 over N of several slices, on average."""
    samples = [chi2 for fit in fits for chi2 in fit.of_samples]
    return {
        "chi2_n_of_mean": sum(fit.of_mean for fit in fits) / len(fits),
        "chi2_n_of_samples": sum(samples) / len(samples),
    }
