"""What the network itself says of x0's covariance, along one direction.

Cov[x0 | x] is sigma^2 J, J being the Jacobian of D: it knows the edges of this very picture, where
a table knows those of an average one. One more call of the network tells J along a direction,

    J u = (D(x + h u) - D(x)) / h,

no gradient. So a pull C H' w, w = S^-1 e, becomes a step of the minimal residual method for the
network's own system T = H sigma^2 J H' + sigma_y^2 I, along any p, with the table's system S for
a preconditioner; and what this step leaves is pulled by the table:

    share sigma^2 J H' p  +  C H' S^-1 (e - share T p),
    share = <T p, S^-1 e> / <T p, S^-1 T p>, within [0, 1].

Where sigma^2 J is C, that is C H' w, whatever p is; and however wrong J is, what is left is no
larger than e was, by <., S^-1 .>. A network's J is not quite symmetric: conjugate gradients
diverge by it, minimal residuals do not.

References:
    Efron, Tweedie's Formula and Selection Bias, 2011: Cov[x0 | x] = sigma^2 J.
    https://doi.org/10.1198/jasa.2011.tm11181
    Boys et al., Tweedie Moment Projected Diffusions for Inverse Problems, 2024: J in the place of
    C, by a backward pass for each product. https://arxiv.org/abs/2310.06721
    Saad, Iterative Methods for Sparse Linear Systems, 2003, section 5.3.2: minimal residuals.
    https://doi.org/10.1137/1.9780898718003
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..covariance import Covariance
from ..linalg import inner
from ..priors.base import Denoiser
from ..tensors import Data, Level, Signal

Tangent: TypeAlias = Callable[[Signal], Signal]
"""u -> sigma^2 J u, ``(batch, *signal)``."""

NUDGE = 0.001
"""Root mean square of the step of a forward difference, as a share of sigma."""


def difference(prior: Denoiser, x: Signal, sigma: Level, D: Signal, u: Signal) -> Signal:
    """J u, by one more evaluation of the prior.

    Args:
        prior: The denoiser.
        x: State, ``(batch, *signal)``.
        sigma: Its level.
        D: The prior's prediction there.
        u: Direction, of any length.
    """
    size = (inner(u, u) / u[0].numel()).sqrt()
    nudge = NUDGE * sigma / size.clamp(min=torch.finfo(u.dtype).tiny)
    return torch.where(size > 0, (prior(x + nudge * u, sigma) - D) / nudge, 0)


@dataclass(frozen=True)
class Pull:
    """Data that pull a signal by the table's covariance: w -> C H' w, w = S^-1 e.

    Attributes:
        C: The table's covariance.
        forth: H.
        back: H'.
        least: sigma_y^2, one for all data or one a row.
        inverse: S^-1, but for a share of the noise.
    """

    C: Covariance
    forth: Callable[[Signal], Data]
    back: Callable[[Data], Signal]
    least: float | Tensor
    inverse: Callable[[Data], Data]

    def __call__(self, w: Data) -> Signal:
        return self.C.times(self.back(w))

    def along(self, p: Data, tangent: Tangent, w: Data) -> Signal:
        """What comes of w, if the network is asked along p."""
        turned = tangent(self.back(p))
        Tp = self.forth(turned) + self.least * p
        inverse = self.inverse(Tp)
        tiny = torch.finfo(w.dtype).tiny
        share = (inner(Tp, w) / inner(Tp, inverse).clamp(min=tiny)).clamp(0, 1)
        rest = self(w - share * inverse)
        return rest.addcmul_(share.view(-1, *[1] * (turned.ndim - 1)), turned)
