"""Denoising diffusion restoration models: DDRM.

With ybar = (Ut y) / s and the noise sbar = sigma_y / s that it carries, every coefficient
of Vt x goes its own way from level sigma to level lower, and keeps the variance lower^2
around the truth:

    not observed:    D + sqrt(1 - eta^2) lower (x - D) / sigma    + eta lower z
    lower <  sbar:   D + sqrt(1 - eta^2) lower (ybar - D) / sbar  + eta lower z
    lower >= sbar:   (1 - eta_b) D + eta_b ybar + sqrt(lower^2 - eta_b^2 sbar^2) z

References:
    Kawar, Elad, Ermon and Song, Denoising Diffusion Restoration Models, 2022, eq. 7 and 8.
    https://arxiv.org/abs/2201.11793
"""

import torch

from ..errors import SettingError
from ..operators.base import SVDOperator
from ..priors.base import Denoiser
from ..tensors import Level, Noise, Signal
from .base import Problem, Sampler, Step


class DDRM(Sampler):
    """Draws by a variational posterior that is diagonal in the basis of the operator.

    One network evaluation a step and no gradient. Equality counts as ``lower >= sbar``, so
    data without noise are met exactly at the end. The method is under-dispersed by design:
    where nothing is observed, the variance tends to (1 + sqrt(1 - eta^2)) / 2 of the prior's.

    Args:
        prior: The denoiser.
        eta: Share of fresh noise in [0, 1]. This is DDRM's own eta: at 1 a step forgets
            x completely, which DDIM's does not.
        eta_b: How far an observed coefficient goes to the data, in [0, 1].
    """

    needs = SVDOperator
    instead = "PiGDM, or DPS for an operator that is only differentiable"

    def __init__(self, prior: Denoiser, eta: float = 0.85, eta_b: float = 1.0) -> None:
        super().__init__(prior, eta)
        if not 0 <= eta_b <= 1:
            raise SettingError(f"eta_b is a share in [0, 1], but got {eta_b}. Try 1.")
        self.eta_b = eta_b

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        H, (y_bar, s_bar) = _svd(problem), problem.spectral
        z = noise(tuple(y_bar.shape))
        known = y_bar + (sigma**2 - s_bar**2).clamp(min=0).sqrt() * z
        return H.V(torch.where(s_bar <= sigma, known, sigma * z))

    def advance(self, x: Signal, problem: Problem, step: Step, noise: Noise) -> Signal:
        H, (y_bar, s_bar) = _svd(problem), problem.spectral
        lower = step.lower
        prediction = self.prior(x, step.sigma)
        D, eps = H.Vt(prediction), H.Vt(x - prediction) / step.sigma
        z = noise(tuple(D.shape))
        stay = (1 - self.eta**2) ** 0.5 * lower
        missing = D + stay * eps + self.eta * lower * z
        noisy = D + stay * (y_bar - D) / s_bar + self.eta * lower * z
        spread = (lower**2 - (self.eta_b * s_bar) ** 2).clamp(min=0).sqrt()
        clear = (1 - self.eta_b) * D + self.eta_b * y_bar + spread * z
        observed = torch.where(lower >= s_bar, clear, noisy)
        return H.V(torch.where(s_bar.isinf(), missing, observed))


def _svd(problem: Problem) -> SVDOperator:
    assert isinstance(problem.H, SVDOperator)
    return problem.H
