"""What samples of a slice say in numbers, and how far that is from a slice that is known."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from ...diagnostics import chi2_of, held
from ...problem import Problem
from ...samples import PosteriorSamples
from ...scores import spread_and_error
from .scan import Scan

Slice = Float[Tensor, "rows columns"]

TISSUES = {
    "air": (-math.inf, -0.9),
    "lung": (-0.9, -0.5),
    "soft tissue": (-0.2, 0.2),
    "bone": (0.3, math.inf),
}
"""Between which x = HU / 1000 they lie."""

WINDOW = -1.0, 1.0
"""Of x, in which PSNR is told; what is beyond is cut."""

IN_BODY = -0.5
"""x from which on a pixel is no air."""

THIN = 2
"""Pixels: what is not thicker than twice that and one, such as a table, is no body."""

LEVEL = 0.9
"""Of the intervals whose coverage is told."""

WEDGE = 0.35
"""Radians from which on a gap between views is a wedge that was not measured."""


def psnr(x: Tensor, truth: Tensor) -> float:
    """How close a slice is to the truth in the window of -1000 to 1000 HU, in dB."""
    error = x.double().clamp(*WINDOW) - truth.double().clamp(*WINDOW)
    return 20 * math.log10((WINDOW[1] - WINDOW[0]) / max(_rms(error), 1e-10))


def body(x: Slice) -> Bool[Tensor, "rows columns"]:
    """The pixels of the body, lungs and all: what the air around it does not reach.

    Args:
        x: A slice, HU / 1000.
    """
    air = _grown(x < IN_BODY, 0)
    outside = torch.zeros_like(air)
    outside[..., [0, -1], :] = outside[..., :, [0, -1]] = 1
    outside, before = outside * air, torch.zeros_like(air)
    while not torch.equal(outside, before):
        before = outside
        for _ in range(8):
            outside = _grown(outside, 1) * air
    return _grown(1 - _grown(outside, THIN), THIN)[0, 0] > 0


def _grown(mask: Tensor, reach: int) -> Tensor:
    """A mask with all that is within so many pixels of it, ``(1, 1, rows, columns)``."""
    layers = mask.float().view(1, 1, *mask.shape[-2:])
    return max_pool2d(layers, 2 * reach + 1, 1, reach)


def told(samples: PosteriorSamples, problem: Problem, scan: Scan) -> dict[str, Any]:
    """chi2 over N of samples and of their mean, their deviation, and that in the wedge unseen."""
    draws = samples.draws
    of_mean, of_samples = chi2_of(draws.to(problem.y.dtype), problem)
    inside = body(samples.mean[0])
    spread = draws.std(0, correction=int(len(draws) > 1))[0]
    summary: dict[str, Any] = {
        "chi2_n_of_mean": of_mean,
        "chi2_n_of_samples": sum(of_samples) / len(of_samples),
        "std_in_body_hu": 1000 * _rms(spread[inside]),
    }
    wedge = unseen_wedge(scan)
    if wedge is not None and len(draws) > 1:
        z = _spectrum(draws[:, 0])
        deviation = (z - z.mean(0)).abs().square().sum(0) / (len(z) - 1)
        measured = ~wedge
        measured[0, 0] = False
        summary["unseen_degrees"] = math.degrees(scan.unseen()[1])
        summary["std_unseen_over_seen"] = float(
            (deviation[wedge].mean() / deviation[measured].mean()).sqrt()
        )
    return summary


def against(samples: PosteriorSamples, truth: Slice, scan: Scan) -> dict[str, float]:
    """Scores of samples where the truth is known.

    Args:
        samples: Of a slice, HU / 1000.
        truth: The slice, HU / 1000.
        scan: The geometry.

    Returns:
        ``rmse_hu``: Of the mean, in the body. ``psnr``: Of it, from -1000 to 1000 HU.
        ``coverage``: Share of the body's pixels that 90 % intervals of the samples hold.
        ``spread``: Root mean square of what the samples say that the error is, over what it
        is: 1 if they are right.
        ``bias_hu_TISSUE``: Mean error where the truth is that tissue.
        ``coverage_unseen``: Share of the Fourier coefficients in a wedge that no view measured
        that the intervals hold, where there is such a wedge.
    """
    x, mean, truth = (v.double() for v in (samples.draws[:, 0], samples.mean[0], truth))
    inside = body(truth)
    error = mean - truth
    scores = {
        "rmse_hu": 1000 * _rms(error[inside]),
        "psnr": psnr(mean, truth),
        "coverage": float(held(x, truth, LEVEL)[inside].double().mean()),
    }
    if len(x) > 1:
        spread, square = spread_and_error(x[:, inside], truth[inside])
        scores["spread"] = (spread / max(square, 1e-20)) ** 0.5
    for name, (low, high) in TISSUES.items():
        of_it = (truth >= low) & (truth < high)
        if of_it.any():
            scores[f"bias_hu_{name.replace(' ', '_')}"] = 1000 * float(error[of_it].mean())
    wedge = unseen_wedge(scan)
    if wedge is not None:
        z, known = _spectrum(x)[:, wedge], _spectrum(truth)[wedge]
        inside = held(torch.view_as_real(z), torch.view_as_real(known), LEVEL)
        scores["coverage_unseen"] = float(inside.double().mean())
    return scores


def unseen_wedge(scan: Scan) -> Bool[Tensor, "rows half"] | None:
    """Which coefficients of a slice's real Fourier transform no view measured; None for few.

    Those above half of the highest frequency do not count: there is little in them.
    """
    first, width = scan.unseen()
    if width < WEDGE:
        return None
    rows, columns = scan.frame.rows, scan.frame.columns
    up, across = -torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(columns)
    turned = torch.remainder(torch.atan2(up, across) - first, math.pi)
    frequency = (up.square() + across.square()).sqrt()
    return (turned > 0) & (turned < width) & (frequency > 0) & (frequency < 0.25)


def _spectrum(x: Float[Tensor, "*rows height width"]) -> Tensor:
    return torch.fft.rfft2(x.double(), norm="ortho")


def _rms(v: Tensor) -> float:
    return float(v.square().mean().sqrt())
