"""Denoising diffusion restoration models: DDRM.

With ybar = (Ut y) / s and the noise sbar = sigma_y / s that it carries, every coefficient
of Vt x goes its own way from level sigma to level lower, and keeps the variance lower^2
around the truth. The state of the loop is Vt x.

    not observed:    D + sqrt(1 - eta^2) lower (x - D) / sigma    + eta lower z
    lower <  sbar:   D + sqrt(1 - eta^2) lower (ybar - D) / sbar  + eta lower z
    lower >= sbar:   (1 - eta_b) D + eta_b ybar + sqrt(lower^2 - eta_b^2 sbar^2) z

References:
    Kawar, Elad, Ermon and Song, Denoising Diffusion Restoration Models, 2022, eq. 7 and 8.
    https://arxiv.org/abs/2201.11793
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from ..covariance import Uncertainty
from ..operators.base import SVDOperator
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal, Spectrum
from .base import Sampler
from .ranges import Within
from .walk import Step

AT_ONCE = 2**20
"""Coefficients that a step works on at once, to keep what it needs beside the state small."""


@dataclass(frozen=True)
class DDRM(Sampler[Tensor]):
    """Draws by a variational posterior that is diagonal in the basis of the operator.

    One network evaluation a step and no gradient. Equality counts as ``lower >= sbar``, so
    data without noise are met exactly at the end. The method is under-dispersed by design:
    where nothing is observed, the variance tends to (1 + sqrt(1 - eta^2)) / 2 of the prior's.
    Where noisy coefficients are observed it is far too narrow, and the more so the more steps
    it takes (docs/trust.md has the numbers).

    Attributes:
        eta: Share of fresh noise in [0, 1]. This is DDRM's own eta: at 1 a step forgets
            x completely, which DDIM's does not. Left open, it is 1 for exact data, 0.5 dB closer
            in PSNR, and 0.85 with noise, which keeps to the data.
        eta_b: How far an observed coefficient goes to the data, in [0, 1].
    """

    needs = SVDOperator
    instead = "PiGDM, or DPS for an operator that is only differentiable"
    begins = 2.0
    begins_open = 0.5

    eta: Annotated[float | None, Within(0, 1, "a share of the noise", 1)] = None  # pyright: ignore[reportIncompatibleVariableOverride]
    eta_b: Annotated[float, Within(0, 1, "a share", 1)] = 1.0

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "DDRM":
        own = self.eta is None
        return replace(self, eta=0.85 if problem.sigma_y > 0 else 1.0) if own else self

    def caveat(self, problem: Problem) -> str:
        noisy = problem.sigma_y > 0
        return "DDRM's error bars are far too narrow where data have noise." if noisy else ""

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Spectrum:
        data = problem.spectral
        known = data.s_bar <= sigma
        spread = torch.where(known, sigma**2 - data.s_bar**2, sigma**2).sqrt()
        z = noise(tuple(data.y_bar.shape))
        return torch.where(known, data.y_bar, 0).addcmul_(spread, z)

    def advance(
        self, x: Spectrum, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Spectrum:
        data = problem.spectral
        D = data.H.Vt(prior(data.H.V(x), step.sigma))
        z = noise(tuple(D.shape))
        moved = torch.empty_like(D)
        for part in slices(D.shape[1], AT_ONCE):
            away, pull, spread = self._branches(data.s_bar[..., part], step)
            clean = D[:, part]
            piece = torch.addcmul(clean, away, x[:, part] - clean)
            piece.addcmul_(pull, data.y_bar[:, part] - clean)
            moved[:, part] = piece.addcmul_(spread, z[:, part])
        return moved

    def _branches(self, s_bar: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """The factors of x - D, of ybar - D and of z for each noise on the data."""
        lower, eta = step.lower, step.eta
        stay = (1 - eta**2) ** 0.5 * lower
        missing, clear = s_bar.isinf(), lower >= s_bar
        away = torch.where(missing, stay / step.sigma, 0.0)
        pull = torch.where(clear, self.eta_b, torch.where(missing, 0.0, stay / s_bar))
        variance = torch.where(clear, lower**2 - (self.eta_b * s_bar) ** 2, (eta * lower) ** 2)
        return away, pull, variance.sqrt()

    def finish(self, x: Spectrum, /, problem: Problem) -> Signal:
        return problem.spectral.H.V(x)


def slices(count: int, at_once: int) -> Iterator[slice]:
    """0 to ``count`` in parts."""
    return (slice(first, first + at_once) for first in range(0, count, at_once))
