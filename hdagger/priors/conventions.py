"""The conventions that networks are trained under, seen from x = x0 + sigma * noise.

A variance-preserving network was trained on sqrt(abar_t) x0 + sqrt(1 - abar_t) noise at whole
timesteps t. That is x / sqrt(1 + sigma^2) at sigma_t = sqrt((1 - abar_t) / abar_t), and no alpha
and no t passes this wall.

Some networks learned the variance of a step from t to t - 1, too. It is what the step would have
if x0 were known, and what is not known of x0: so it tells Var[x0 | x].

References:
    Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models, 2020.
    https://arxiv.org/abs/2006.11239
    Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, eq. 17: the
    cosine, and eq. 15: learned variances. https://arxiv.org/abs/2102.09672
    Peng et al., Improving Diffusion Models for Inverse Problems Using Optimal Posterior
    Covariance, 2024: from the variance of a step to that of x0. https://arxiv.org/abs/2402.02149
    Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022,
    section 4: v. https://arxiv.org/abs/2202.00512
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
    table 1. https://arxiv.org/abs/2206.00364
"""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from ..tensors import Signal

BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")

LEAST_SHARE = math.exp(-8)
"""The least f of a learned range: about the variance over sigma^2 / (1 + sigma^2)."""


@dataclass(frozen=True)
class VariancePreserving:
    """DDPM's convention, with the noise levels sigma_t of t = 0 ... steps - 1.

    Attributes:
        beta_schedule: ``"linear"``; ``"scaled_linear"``, linear in sqrt(beta); or
            ``"squaredcos_cap_v2"``, the cosine, which has no ends.
        beta_start: The first beta.
        beta_end: The last.
        steps: How many there are.
        prediction: What the network says: ``"epsilon"``, the noise; ``"sample"``, x0; or
            ``"v_prediction"``, v = (noise - sigma x0) / sqrt(1 + sigma^2).
        learned_range: Whether it also says, in as many channels more, where from -1 to 1 between
            log beta~_t and log beta_t the logarithm of a step's variance is.

    Raises:
        SettingError: Something is of another kind, or out of range.

    Example:
        >>> ddpm = VariancePreserving()
        >>> ddpm.time(ddpm.sigmas[[0, 500, 999]])
        tensor([  0., 500., 999.], dtype=torch.float64)
    """

    beta_schedule: str = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    steps: int = 1000
    prediction: str = "epsilon"
    learned_range: bool = False

    def __post_init__(self) -> None:
        _check("beta_schedule", self.beta_schedule, BETAS)
        _check("prediction_type", self.prediction, ("epsilon", "v_prediction", "sample"))
        if not (0 < self.beta_start <= self.beta_end < 1 and 2 <= self.steps <= 100_000):
            raise SettingError(
                f"Wanted 0 < beta_start <= beta_end < 1 and 2 to 100000 steps, but got "
                f"{self.beta_start}, {self.beta_end}, {self.steps}. Check scheduler_config.json."
            )

    @cached_property
    def sigmas(self) -> Float[Tensor, " steps"]:
        """sigma_t, rising, in float64."""
        if self.beta_schedule == "squaredcos_cap_v2":
            t = torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)
            angle = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
            beta = (1 - angle[1:] / angle[:-1]).clamp(max=0.999)
        else:
            power = 2 if self.beta_schedule == "scaled_linear" else 1
            first, last = self.beta_start ** (1 / power), self.beta_end ** (1 / power)
            beta = torch.linspace(first, last, self.steps, dtype=torch.float64) ** power
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        return ((1 - alpha_bar) / alpha_bar).sqrt()

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest level that the network was trained at."""
        return float(self.sigmas[0]), float(self.sigmas[-1])

    def time(self, sigma: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
        """t of a level: exact at every sigma_t, linear in ln sigma between, held at the ends."""
        known = self.sigmas.log().to(sigma.device)
        level = sigma.double().log()
        after = torch.searchsorted(known, level).clamp(1, self.steps - 1)
        low, high = known[after - 1], known[after]
        return (after - 1 + (level - low) / (high - low)).clamp(0, self.steps - 1)

    def scale(self, level: Tensor) -> Tensor:
        """What x is multiplied with before the network sees it."""
        return (1 + level**2).rsqrt()

    def clean(self, x: Signal, level: Tensor, out: Signal) -> Signal:
        """E[x0 | x] from what the network says; ``level`` is ``(batch, 1, ...)``."""
        if self.prediction == "epsilon":
            return x - level * out
        if self.prediction == "v_prediction":
            return x / (1 + level**2) - level * (1 + level**2).rsqrt() * out
        return out

    @cached_property
    def _reverse(self) -> Float[Tensor, "3 steps"]:
        """log K, log R and m of each t, with which Var[x0 | x] = K (R^f - 1 + m).

        The step to t - 1, at s = sigma_(t-1), has the variance beta~ R^f, R = beta / beta~; with
        x0 known it has beta~, and the rest is c^2 Var[x0 | x], c being what it takes of x0:

            K = beta~ / c^2 = s^2 sigma^2 / (sigma^2 - s^2),
            R = 1 + (sigma^2 - s^2) / (s^2 (1 + sigma^2)),  m = 0.

        The step from t = 0 ends at x0 itself, and has no beta~ but that of t = 1: there m = 1,
        and K is this beta~.
        """
        square = self.sigmas**2
        s2, sigma2, apart = square[:-1], square[1:], square.diff()
        log_K, log_R = (s2 * sigma2 / apart).log(), (apart / (s2 * (1 + sigma2))).log1p()
        beta, next_beta = square[:1] / (1 + square[:1]), apart[:1] / (1 + sigma2[:1])
        first = next_beta.log() - log_R[:1]
        at_end = torch.zeros(self.steps, dtype=torch.float64)
        at_end[0] = 1
        return torch.stack(
            [torch.cat([first, log_K]), torch.cat([beta.log() - first, log_R]), at_end]
        )

    def variance(self, level: Tensor, out: Signal) -> Signal:
        """Var[x0 | x], pixel by pixel, from what a network of a learned range says of its step.

        Args:
            level: sigma, ``(batch, 1, ...)``; between two timesteps the formula is interpolated.
            out: From -1 to 1 between log beta~ and log beta.
        """
        t, steps = self.time(level), self._reverse.to(level.device)
        before = t.floor().long().clamp(max=self.steps - 2)
        log_K, log_R, m = torch.lerp(steps[:, before], steps[:, before + 1], t - before).to(out)
        f = ((out + 1) / 2).clamp(LEAST_SHARE, 1)
        return log_K.exp() * (torch.expm1(f * log_R) + m)


@dataclass(frozen=True)
class EDM:
    """EDM's preconditioning: D = c_skip x + c_out net(c_in x, ln(sigma) / 4).

    Attributes:
        sigma_data: Standard deviation of the data.
        sigma_min: The lowest level that the network was trained at.
        sigma_max: The highest.
        prediction: ``"epsilon"``, as in the paper, or ``"v_prediction"``, with c_out negated.
    """

    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    prediction: str = "epsilon"

    def __post_init__(self) -> None:
        _check("prediction_type", self.prediction, ("epsilon", "v_prediction"))
        if not (self.sigma_data > 0 and 0 < self.sigma_min < self.sigma_max):
            raise SettingError(
                f"Wanted sigma_data > 0 and 0 < sigma_min < sigma_max, but got {self.sigma_data}, "
                f"{self.sigma_min}, {self.sigma_max}. Check scheduler_config.json."
            )

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest level that the network was trained at."""
        return self.sigma_min, self.sigma_max

    def time(self, sigma: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
        """ln(sigma) / 4."""
        return sigma.double().log() / 4

    def scale(self, level: Tensor) -> Tensor:
        """c_in."""
        return (level**2 + self.sigma_data**2).rsqrt()

    def clean(self, x: Signal, level: Tensor, out: Signal) -> Signal:
        """E[x0 | x] from what the network says; ``level`` is ``(batch, 1, ...)``."""
        total = level**2 + self.sigma_data**2
        c_out = level * self.sigma_data * total.rsqrt()
        sign = 1 if self.prediction == "epsilon" else -1
        return self.sigma_data**2 / total * x + sign * c_out * out


Convention = VariancePreserving | EDM
KINDS: dict[str, type[Convention]] = {"vp": VariancePreserving, "edm": EDM}


def to_table(convention: Convention) -> dict[str, Any]:
    """The convention as JSON has it."""
    (kind,) = (kind for kind, made in KINDS.items() if isinstance(convention, made))
    return {kind: asdict(convention)}


def from_table(table: dict[str, Any]) -> Convention:
    """What ``to_table`` gave."""
    ((kind, settings),) = table.items()
    return KINDS[kind](**settings)


def _check(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise SettingError(
            f"Wanted a {name}, one of {', '.join(known)}, but got {given!r}. "
            "Convert the checkpoint to one of them."
        )
