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

import torch
from torch import Tensor

from ..errors import SettingError
from ..operators.base import SVDOperator
from ..priors.base import Denoiser
from ..tensors import Level, Noise, Signal, Spectrum
from .base import Problem, Sampler, Step


class DDRM(Sampler[Tensor]):
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

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Spectrum:
        data = problem.spectral
        known = data.s_bar <= sigma
        spread = torch.where(known, sigma**2 - data.s_bar**2, sigma**2).sqrt()
        z = noise(tuple(data.y_bar.shape))
        return known.to(z)[data.kind] * data.y_bar + spread[data.kind] * z

    def advance(self, x: Spectrum, problem: Problem, step: Step, noise: Noise) -> Spectrum:
        data = problem.spectral
        D = data.H.Vt(self.prior(data.H.V(x), step.sigma))
        away, pull, spread = (part[data.kind] for part in self._branches(data.s_bar, step))
        x = torch.addcmul(D, away, x - D).addcmul_(pull, data.y_bar - D)
        return x.addcmul_(spread, noise(tuple(D.shape)))

    def _branches(self, s_bar: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """The factors of x - D, of ybar - D and of z for each noise on the data."""
        lower = step.lower
        stay = (1 - self.eta**2) ** 0.5 * lower
        missing, clear = s_bar.isinf(), lower >= s_bar
        away = torch.where(missing, stay / step.sigma, 0.0)
        pull = torch.where(clear, self.eta_b, torch.where(missing, 0.0, stay / s_bar))
        variance = torch.where(
            clear, lower**2 - (self.eta_b * s_bar) ** 2, (self.eta * lower) ** 2
        )
        return away, pull, variance.sqrt()

    def finish(self, x: Spectrum, problem: Problem) -> Signal:
        return problem.spectral.H.V(x)
