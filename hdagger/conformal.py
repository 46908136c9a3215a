"""Intervals that hold by construction, whatever draws them: conformal risk control.

Of n signals with known truths, samples were drawn as ``restore`` draws them. The intervals mean
-+ f t std sqrt(1 + 1 / K), with Student's t for the K samples of each, miss a share of a signal's
elements that can only fall as the factor f grows. The least f with

    (sum of the n shares + 1) / (n + 1) <= 1 - level

is taken. If one more signal is exchangeable with the n, as independent draws of one law are, the
expected share of its elements that such intervals hold is ``level`` or more, however wrong the
sampler and the prior may be. (Expected over the n and the one more; the 1 is the most that the one
more can miss, and what it costs goes as 1 / n.) A factor near 1 is the proof of a good sampler; a
large one makes a bad one's intervals honest, and useless.

References:
    Angelopoulos, Bates, Fisch, Lei and Schuster, Conformal Risk Control, ICLR 2024, theorem 1.
    https://arxiv.org/abs/2208.02814
    Angelopoulos, Kohli, Bates et al., Image-to-Image Regression with Distribution-Free
    Uncertainty Quantification, ICML 2022, where the intervals of all pixels are scaled by one
    factor. https://arxiv.org/abs/2202.05265
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .diagnostics import student_reach
from .verdicts import Verdict

LEVEL = 0.9

FACTORS = 1.01 ** torch.arange(-232, 464, dtype=torch.float64)
"""Those that are tried: from a tenth to a hundred."""

FEWEST = math.ceil(1 / (1 - LEVEL) - 1e-9) - 1
"""Signals below which nothing can be promised."""


def missed(
    draws: Float[Tensor, "draws elements"], truth: Float[Tensor, " elements"]
) -> Float[Tensor, "counts factors"]:
    """The share of a signal's elements outside of their intervals, for every factor.

    Args:
        draws: Samples, two or more.
        truth: What they should hold.

    Returns:
        For intervals from the first 2, 3, ... of the draws; draws of one law may be counted off.
    """
    found = []
    for count in range(2, len(draws) + 1):
        std, mean = torch.std_mean(draws[:count], 0)
        reach = student_reach(count, LEVEL) * std
        away = (truth - mean).abs() / reach.clamp(min=torch.finfo(reach.dtype).tiny)
        inside = torch.searchsorted(away.sort().values, FACTORS, right=True)
        found.append(1 - inside / len(truth))
    return torch.stack(found)


def least_factors(
    shares: Float[Tensor, "signals counts factors"], correction: float = 1.0
) -> tuple[float | None, ...]:
    """The least factor that keeps the promise above, for 2, 3, ... samples; None for none.

    Few samples may agree by chance where they are wrong, so that no factor helps.

    Args:
        shares: What :func:`missed` found of each signal.
        correction: What one more signal may miss at most; 0 for the least factor that holds of
            the n signals themselves, without a promise for others.
    """
    bound = (shares.sum(0) + correction) / (len(shares) + correction)
    kept = bound <= 1 - LEVEL + 1e-9
    least = [float(FACTORS[int(row)]) for row in kept.int().argmax(1)]
    return tuple(f if row.any() else None for f, row in zip(least, kept, strict=True))


@dataclass(frozen=True)
class Interval:
    """mean -+ reach std, which holds 90 % of the elements of a signal like those of a check.

    Attributes:
        reach: In standard deviations of the samples.
        factor: Over what Student's t gives for so many samples.
        verdict: The check.
    """

    reach: float
    factor: float
    verdict: Verdict

    @classmethod
    def of(cls, verdict: Verdict | None, samples: int) -> "Interval | None":
        """What a verdict promises of this number of samples; None for nothing."""
        if verdict is None or not 0 <= samples - 2 < len(verdict.factors):
            return None
        factor = verdict.factors[samples - 2]
        if factor is None:
            return None
        return cls(factor * student_reach(samples, LEVEL), factor, verdict)

    def __str__(self) -> str:
        return (
            f"Mean -+ {self.reach:.2f} std holds {100 * LEVEL:.0f} % of the elements by "
            f"construction, on average over signals like those {self.verdict.simulations} "
            f"{self.verdict.truths} (factor {self.factor:.2f})."
        )
