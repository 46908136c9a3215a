"""The posterior's mean, from where walks ended and from what they expected on their way.

The mean of K samples x_k misses the posterior's by V / K, V being their variance. A walk may also
tell E_k = E[x0 | x, y] at some of its levels. That varies less than the samples, and its mean over
the walks is the posterior's too, so far as the method's idea of x0 given x and y is right: high up
it is not. How wrong it is shows in the walks themselves, for E and x should have one mean:

    error of the mean of E = Var(E) / K + b^2,    b^2 = |mean of (x - E)|^2 - Var(x - E) / K.

The answer is the mean of these means and of the samples', weighted by the inverse square of their
errors, since the errors of neighbouring levels are alike.

References:
    Rao-Blackwellisation: Casella and Robert, Biometrika 83, 1996.
    https://doi.org/10.1093/biomet/83.1.81
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from .tensors import Signal


@dataclass
class Moments:
    """Sums over walks of a signal v that each has, beside the sample x at its end.

    Attributes:
        total: Of v.
        square: Of |v|^2.
        gap: Of |x - v|^2.
    """

    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    square: float = 0.0
    gap: float = 0.0

    def add(self, v: Signal, x: Signal) -> None:
        """A batch more of walks."""
        self.total = self.total + v.sum(0)
        self.square += float(v.double().square().sum())
        self.gap += float((x - v).double().square().sum())


@dataclass
class Walks:
    """What is summed over walks as they end.

    Attributes:
        count: How many these are.
        samples: The moments of where they ended.
        levels: Level -> those of what they expected there.
    """

    count: int = 0
    samples: Moments = field(default_factory=Moments)
    levels: dict[float, Moments] = field(default_factory=lambda: defaultdict(Moments))

    def add(self, x: Signal, expected: Mapping[float, Signal]) -> None:
        """A batch of walks that ended.

        Args:
            x: The samples.
            expected: Level -> E[x0 | x, y] of each walk there.
        """
        if not expected:
            return
        self.count += len(x)
        self.samples.add(x, x)
        for level, mean in expected.items():
            self.levels[level].add(mean, x)

    def mean(self) -> Float[Tensor, "*signal"] | None:
        """The answer; None of one walk, which shows no error, or where nothing was expected."""
        if self.count < 2:
            return None
        told = (self.samples, *self.levels.values())
        errors = [self.error(one) for one in told]
        weights = [(min(errors) / error) ** 2 for error in errors]
        total = torch.zeros_like(self.samples.total)
        for weight, one in zip(weights, told, strict=True):
            total += weight / sum(weights) / self.count * one.total
        return total

    def error(self, one: Moments) -> float:
        """The squared error of a mean over the walks, above 0."""
        n, ends = self.count, self.samples.total
        of = lambda v: float(v.double().square().sum()) / n**2
        variance = (one.square / n - of(one.total)) / (n - 1)
        off = of(ends - one.total)
        bias = off - (one.gap / n - off) / (n - 1)
        return max(variance, 0.0) + max(bias, 0.0) + 1e-12 * one.square / n + 1e-300
