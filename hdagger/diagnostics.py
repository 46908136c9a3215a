"""Are these samples what they claim to be? Every check takes samples, never a sampler."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Samples = Float[Tensor, "count n"]


@dataclass(frozen=True)
class Distance:
    """A distance between two sets of samples, beside what two sets of one law would show.

    Attributes:
        value: The distance.
        floor: The same between two sets of the reference, as large as those compared.
    """

    value: float
    floor: float

    def __str__(self) -> str:
        return f"{self.value:.3g} (floor {self.floor:.3g})"


def sliced_wasserstein(
    samples: Samples, reference: Samples, slices: int, generator: torch.Generator
) -> tuple[float, float]:
    """Wasserstein-1 distances along random directions: their mean and the largest of them.

    The mean shrinks as 1 / sqrt(n) for the same fault in one direction.

    Args:
        samples: One set.
        reference: Another, of the same size.
        slices: How many directions are drawn.
        generator: Draws them.

    References:
        Rabin, Peyre, Delon and Bernot, Wasserstein Barycenter and its Application to Texture
        Mixing, 2011. https://doi.org/10.1007/978-3-642-24785-9_37
    """
    directions = torch.randn(samples.shape[1], slices, generator=generator, dtype=samples.dtype)
    directions /= directions.norm(dim=0)
    ours, theirs = (samples @ directions).sort(0).values, (reference @ directions).sort(0).values
    distances = (ours - theirs).abs().mean(0)
    return float(distances.mean()), float(distances.max())


def central_interval(
    samples: Float[Tensor, "count *shape"], level: float
) -> tuple[Tensor, Tensor]:
    """The interval that leaves out as much below as above, ``(*shape)`` each.

    Its ends are at the ranks (1 -+ level) (count + 1) / 2, between two samples where those are
    no whole numbers: another draw of the same law falls inside with probability ``level``.
    """
    ordered, count = samples.sort(0).values, len(samples)
    rank = min(max((1 - level) * (count + 1) / 2 - 1, 0), count - 1)
    below, part = int(rank), rank - int(rank)
    above = min(below + 1, count - 1)
    low = torch.lerp(ordered[below], ordered[above], part)
    high = torch.lerp(ordered[count - 1 - below], ordered[count - 1 - above], part)
    return low, high
