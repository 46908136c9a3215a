"""What samples of a source say in numbers, and how far that is from a source that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...diagnostics import held
from ...operators.base import LinearOperator
from ...operators.family import OneForEach
from ...samples import PosteriorSamples

ON_SOURCE = 0.05
"""Share of the peak from which on a pixel belongs to the source."""

LEVEL = 0.9
"""Of the intervals whose coverage is told."""


@dataclass(frozen=True)
class Fit:
    """How an image and the images of samples differ, in deviations of the noise.

    Attributes:
        model: The mean of the samples' images, ``(rows, columns)``.
        residual: Of that, in units of the noise; NaN where nothing was seen.
        of_mean: chi2 over the number of pixels for the mean, which fits some of the noise less.
        of_samples: The same for each sample: 1 within 3 sqrt(2 / N) where all is well.
    """

    model: Float[Tensor, "rows columns"]
    residual: Float[Tensor, "rows columns"]
    of_mean: float
    of_samples: list[float]

    @classmethod
    def of(
        cls,
        draws: Float[Tensor, "samples 1 h w"],
        H: LinearOperator | Sequence[LinearOperator],
        y: Float[Tensor, "1 rows columns"],
        sigma_y: float | Tensor,
    ) -> "Fit":
        """The fit of samples to an image.

        Args:
            draws: The samples.
            H: The operator, or one for each sample.
            y: The image.
            sigma_y: Deviation of its noise.
        """
        noise = torch.as_tensor(sigma_y, dtype=torch.float64).expand_as(y)
        own = OneForEach(H) if isinstance(H, Sequence) else H
        images = own(draws.double())
        models = torch.cat([images.mean(0, keepdim=True), images])
        z = torch.where(noise.isfinite(), (y - models) / noise, 0)
        chi2 = (z.square().flatten(1).sum(1) / noise.isfinite().sum()).tolist()
        residual = torch.where(noise.isfinite(), z[0], torch.nan)
        return cls(models[0, 0], residual[0], chi2[0], chi2[1:])


def told(
    draws: Float[Tensor, "samples 1 h w"], fit: Fit, scale: float, image_scale: float
) -> dict[str, Any]:
    """Fluxes and the magnification, each as (mean, deviation), and chi2 over N.

    A flux is the sum over pixels of the image's size: in the image's unit times pixels of it.
    """
    flux = draws.double().sum((1, 2, 3)) * (scale / image_scale) ** 2
    magnified = float(fit.model.sum()) / flux
    pair = lambda v: [float(v.mean()), float(v.std(correction=int(len(v) > 1)))]
    return {
        "flux": pair(flux),
        "magnification": pair(magnified),
        "chi2_n_of_mean": fit.of_mean,
        "chi2_n_of_samples": sum(fit.of_samples) / len(fit.of_samples),
    }


def on_source(truth: Tensor) -> Tensor:
    """True for the pixels that belong to a source."""
    return truth > ON_SOURCE * truth.max()


def against(samples: PosteriorSamples, truth: Float[Tensor, "h w"]) -> dict[str, float]:
    """Scores of samples where the truth is known, on the source and in the sky around it.

    Returns:
        ``nrmse``: Root mean square error of the mean on the source, over that of the truth.
        ``coverage``: Share of its pixels that 90 % intervals of the samples hold.
        ``coverage_sky``: The same for the others.
        ``spread``: Root mean square deviation of the samples over that error: 1 if it is right.
    """
    x, mean, truth = (v.double() for v in (samples.draws[:, 0], samples.mean[0], truth))
    on = on_source(truth)
    error, spread = mean - truth, x.std(0, correction=int(len(x) > 1))
    inside = held(x, truth, LEVEL)
    rms = lambda v: float(v.square().mean().sqrt())
    return {
        "nrmse": rms(error[on]) / rms(truth[on]),
        "coverage": float(inside[on].double().mean()),
        "coverage_sky": float(inside[~on].double().mean()),
        "spread": rms(spread[on]) / rms(error[on]),
    }
