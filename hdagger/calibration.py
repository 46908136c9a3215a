"""Do a method's error bars hold? A check by simulation, and the verdict in words.

A truth is drawn from the prior and measured; samples are drawn from the measurement. If they
are posterior samples, the truth is one more of them.
"""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .diagnostics import coverage, residual_chi2, sbc
from .domains.pictures.dataset import Photographs
from .domains.pictures.words import operator_for_signal
from .errors import SettingError
from .operators.base import Operator
from .operators.spectral import Identity
from .priors import zoo
from .priors.analytic import GaussianField
from .priors.base import Denoiser
from .restoration import METHODS, levels_for
from .samplers.base import Problem, Sampler, karras_levels
from .samplers.ddim import DDIM
from .samplers.integrators import Heun
from .tensors import Noise, Signal

LEVELS = (0.5, 0.8, 0.9, 0.95)

TELLING = 0.05
"""The most that chance may move the coverage for intervals to be called right."""


@dataclass(frozen=True)
class Calibration:
    """What a simulation found.

    Attributes:
        covered: How often the truth lay in the central interval of each of ``LEVELS``.
        chance: 1.96 standard errors of the coverage at 90 %.
        chi2_dof: |y - H x|^2 / (rank sigma_y^2), 1 if right; None for exact data.
        p_value: Of the ranks of one element of each truth.
    """

    covered: tuple[float, ...]
    chance: float
    chi2_dof: float | None
    p_value: float

    @property
    def verdict(self) -> str:
        """The finding as one line."""
        held = self.covered[LEVELS.index(0.9)]
        if abs(held - 0.9) > max(self.chance, 0.02):
            judged = "over-confident" if held < 0.9 else "under-confident"
        elif self.chance > TELLING:
            judged = f"too few simulations to judge, chance alone is {100 * self.chance:.0f} %"
        else:
            judged = "as they should"
        return f"the 90 % intervals cover {100 * held:.0f} %: {judged}"

    def svg(self) -> str:
        """Coverage against level as a picture: right is the diagonal."""
        points = " ".join(
            f"{300 * level:.1f},{300 * (1 - held):.1f}"
            for level, held in zip((0.0, *LEVELS, 1.0), (0.0, *self.covered, 1.0), strict=True)
        )
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-50 -30 380 390" '
            'font-family="sans-serif" font-size="14"><rect x="-50" y="-30" width="380" '
            'height="390" fill="white"/><rect width="300" height="300" fill="none" '
            'stroke="#999"/><path d="M0 300 300 0" stroke="#999" stroke-dasharray="4"/>'
            f'<polyline points="{points}" fill="none" stroke="#b2182b" stroke-width="2"/>'
            f'<text x="0" y="-10">{html.escape(self.verdict)}</text>'
            '<text x="90" y="325">nominal level, 0 to 1</text>'
            '<text transform="translate(-12 210) rotate(-90)">truth inside, 0 to 1</text></svg>\n'
        )


@dataclass(frozen=True)
class Subject:
    """A prior, and truths to measure.

    Attributes:
        prior: The denoiser.
        variance: Of one element of a clean signal.
        truths: ``(simulations, *signal)``.
        origin: What the truths are, in words.
    """

    prior: Denoiser
    variance: float
    truths: Signal
    origin: str

    @classmethod
    def field(cls, count: int, side: int, noise: Noise) -> "Subject":
        """Exact draws of a Gaussian random field, whose denoiser is exact too."""
        field = GaussianField(side)
        return cls(field, 1.0, field.sample(count, noise), f"{count} draws of the field")

    @classmethod
    def drawn(cls, card: zoo.Card, count: int, side: int, noise: Noise) -> "Subject":
        """Draws that the prior itself makes, in 50 steps of Heun's method.

        They show what the sampler does with this prior, and nothing of how true the prior is.
        """
        prior = zoo.load(card)
        H = Identity((card.channels, side, side))
        nothing = Problem(torch.zeros(count, *H.data_shape, dtype=torch.float64), H)
        levels = karras_levels(50, low=card.sigma_min, high=card.sigma_max)
        truths = Heun(DDIM(prior, eta=0.0)).sample(nothing, levels, noise)
        return cls(prior, card.data_variance, truths, f"{count} draws of the prior")

    @classmethod
    def pictured(cls, card: zoo.Card, count: int, side: int, folder: Path, seed: int) -> "Subject":
        """Random crops of the pictures in a folder: they judge sampler and prior together.

        Raises:
            FileError: No picture there is as large as a crop.
        """
        truths = Photographs(folder, side).draw(count, seed).double()
        return cls(zoo.load(card), card.data_variance, truths, f"{count} crops of pictures")


def check_method(
    subject: Subject,
    method: str,
    steps: int,
    operator: str,
    sigma_y: float,
    draws: int,
    generator: torch.Generator,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Calibrates a method as ``hdagger restore`` runs it, with its levels and its settings.

    Args:
        subject: The prior and the truths.
        method: A name in ``restoration.METHODS``.
        steps: Noise levels to walk down.
        operator: What is measured, in text form.
        sigma_y: Standard deviation of the noise on the data.
        draws: Samples of each measurement.
        generator: Draws the noise.
        watch: Called as (simulations done, in all).
    """
    H = operator_for_signal(operator, tuple(subject.truths.shape[1:]), {})
    levels = levels_for(METHODS[method], steps, H, sigma_y)
    sampler = METHODS[method].make(subject.prior, subject.variance, sigma_y)
    return calibrate(subject.truths, sampler, H, sigma_y, levels, draws, generator, watch)


def calibrate(
    truths: Signal,
    sampler: Sampler,
    H: Operator,
    sigma_y: float,
    levels: Tensor,
    draws: int,
    generator: torch.Generator,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Measures every truth and asks where it stands among the samples.

    Args:
        truths: Draws of the prior, ``(simulations, *signal)``.
        sampler: The method.
        H: The operator.
        sigma_y: Standard deviation of the noise.
        levels: Noise levels to walk down.
        draws: Samples of each measurement.
        generator: Draws the noise.
        watch: Called as (simulations done, in all).
    """
    if draws < 19 or len(truths) < 2:
        raise SettingError(
            f"A check wants 19 draws or more of 2 truths or more, but got {draws} draws of "
            f"{len(truths)}. Try --draws 39 --simulations 40."
        )

    def noise(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    samples, chi2 = [], []
    for done, truth in enumerate(truths, 1):
        clean = H(truth[None])
        y = (clean + sigma_y * noise(tuple(clean.shape))).expand(draws, *clean.shape[1:])
        problem = Problem(y, H, sigma_y)
        x = sampler.sample(problem, levels, noise)
        samples.append(x.flatten(1))
        if sigma_y > 0:
            chi2.append(residual_chi2(x, problem).mean())
        watch(done, len(truths))
    drawn, flat = torch.stack(samples), truths.flatten(1)
    each = [coverage(flat[i : i + 1], drawn[i : i + 1], 0.9) for i in range(len(flat))]
    spread = float(torch.tensor(each).std()) / math.sqrt(len(each))
    element = torch.randint(flat.shape[1], (1,), generator=generator)
    return Calibration(
        covered=tuple(coverage(flat, drawn, level) for level in LEVELS),
        chance=1.96 * spread,
        chi2_dof=float(torch.stack(chi2).mean()) if chi2 else None,
        p_value=sbc(flat[:, element], drawn[:, :, element], bins=5).p_value,
    )
