"""The posterior's mean, from walks of which it is known what chance did to them.

The mean of K samples x misses the posterior's by V / K, V being their variance. But a method
draws its noise itself. A signal r that a walk makes of its noise, and that is 0 in the mean, is a
control variate: whatever else it is, what is expected of the samples' mean is kept by

    mean of x  -  sum over j of  b_j  mean of r_j,

and with b from the least squares of x on r, over walks and elements, what r explains of V / K is
gone. A sampler's r are by how much its noise moved E[x0 | x, y], step for step: a martingale, of
which the sample is the end.

References:
    Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 4.1.
    Henderson and Glynn, Approximating Martingales for Variance Reduction in Markov Process
    Simulation, 2002. https://doi.org/10.1287/moor.27.2.253.329
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from .tensors import Signal

FEWEST = 50
"""Numbers in the walks for each control; of fewer its share would be a guess."""

SAME = 1e-9
"""Of a control's variance, below which it says what others said."""


@dataclass
class Walks:
    """What is summed over walks as they end.

    Attributes:
        count: How many these are, of those that know what chance did.
        totals: The sums of their samples, and of each control.
        products: The sums of the inner products of these, ``(1 + controls, 1 + controls)``.
    """

    count: int = 0
    totals: list[Tensor] = field(default_factory=list)
    products: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, x: Signal, controls: Sequence[Signal]) -> None:
        """A batch of walks that ended.

        Args:
            x: The samples.
            controls: What chance did to each: signals that are 0 in the mean; where nothing is
                known of it, nothing is summed.
        """
        if not controls:
            return
        each = (x, *controls)
        sums = [v.sum(0) for v in each]
        self.count += len(x)
        self.products = self.products + products(each)
        self.totals = [a + b for a, b in zip(self.totals or [0.0] * len(each), sums, strict=True)]

    def mean(self) -> Float[Tensor, "*signal"] | None:
        """The answer; None of one walk, or where too little is known of chance."""
        if not self.totals:
            return None
        total, *controls = self.totals
        if (self.count - 1) * total.numel() < FEWEST * len(controls):
            return None
        for share, control in zip(self.shares(), controls, strict=True):
            total = total - float(share) * control
        return total / self.count

    def shares(self) -> Float[Tensor, " controls"]:
        """b, the least squares of the samples on the controls, both less their means."""
        S = self.products - products([v[None] for v in self.totals]) / self.count
        size = S.diagonal()[1:].clamp(min=1e-300).sqrt()
        inverse = torch.linalg.pinv(S[1:, 1:] / size / size[:, None], rtol=SAME, hermitian=True)
        return inverse @ (S[1:, 0] / size) / size


def products(each: Sequence[Signal]) -> Float[Tensor, "n n"]:
    """Inner products of n signals, summed over their rows."""
    rows = [[float((u.double() * v).sum()) for v in each] for u in each]
    return torch.tensor(rows, dtype=torch.float64)
