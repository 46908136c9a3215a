"""Samples beside the truth that they should hold: one judgement, and the scores of many.

If samples are of the posterior, the truth is one more of them. Every score here follows from
that, and none can be won by drawing something else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from .conformal import missed
from .diagnostics import central_interval, levels_shown, student_interval
from .domain import Domain
from .errors import SettingError
from .samples import PosteriorSamples
from .scores import by_thirds, fair_crps, fair_energy, spread_and_error

LEVELS = (0.5, 0.8, 0.9, 0.95)

SETTLED = 1e-5
"""Elements that are known more closely than this have no intervals to check."""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Judged:
    """One truth beside its samples.

    Attributes:
        covered: Level -> the share of its elements that lie in their interval, of the object
            where the domain tells one from what is around it.
        thirds: That at 90 % where the least, more, and the most goes on in the samples' mean;
            None where the domain does not say.
        chi2_dof: What ``restore`` says of the residual; None for exact data.
        element: One element of the truth, ``(1,)``, and the same of the draws, ``(draws, 1)``.
        crps: The fair ranked probability score of an element.
        energy: The fair energy score of a block.
        bands: Part of a signal -> for each of its bands, from coarse to fine, what the samples
            vary by and what their mean misses: see :func:`.scores.spread_and_error`.
        texture: Mean energy of the fine texture of a sample and of the truth; None for none.
        psnr: Of one sample, on average, and of the mean; None where the domain has none.
        missed: The share of its elements that scaled intervals miss: see :mod:`.conformal`.
        nfe: Network evaluations of a sample.
        seconds: Of a sample.
    """

    covered: Mapping[float, float]
    thirds: tuple[float, float, float] | None
    chi2_dof: float | None
    element: tuple[Tensor, Tensor]
    crps: float
    energy: float
    bands: Mapping[str, Sequence[Pair]]
    texture: Pair | None
    psnr: Pair | None
    missed: Tensor
    nfe: float
    seconds: float


def judge(samples: PosteriorSamples, truth: Tensor, domain: Domain, seed: int) -> Judged:
    """Holds a truth against its samples, where these leave anything open.

    An element that the data tell exactly, in which the samples agree with each other and with
    the truth to rounding, has no interval that could hold or not.

    Intervals are central ones, between the ranks of the draws, where these show 90 %: right for
    every law. From fewer draws they are mean -+ t std sqrt(1 + 1 / draws), with Student's t: right
    for every Gaussian one.

    Args:
        samples: Of a measurement of the truth, two or more.
        truth: The clean signal.
        domain: The kind of signal.
        seed: Decides which element is ranked.

    Raises:
        SettingError: The samples leave nothing open, or are too few.
    """
    draws, truth = samples.draws.double(), truth.double()
    unsettled = open_elements(draws, truth, domain.inside(truth))
    shown = levels_shown(LEVELS, len(draws))
    by_rank = 0.9 in shown
    held: dict[float, Tensor] = {}
    for level in shown if by_rank else LEVELS:
        low, high = (central_interval if by_rank else student_interval)(draws, level)
        held[level] = ((truth >= low) & (truth <= high))[unsettled]
    mean, together = samples.mean.double(), torch.cat([draws, truth[None]])
    activity, texture = domain.activity(mean), domain.texture(together)
    dB = [found for x in (*draws, mean) if (found := domain.psnr(x, truth)) is not None]
    energies = [] if texture is None else [float(each.square().mean()) for each in texture]
    places = unsettled.flatten().nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    chosen = places[torch.randint(len(places), (1,), generator=generator)]
    return Judged(
        covered={level: float(inside.double().mean()) for level, inside in held.items()},
        thirds=None if activity is None else by_thirds(held[0.9], activity[unsettled]),
        chi2_dof=samples.provenance["chi2_dof"],
        element=(truth.flatten()[chosen], draws.flatten(1)[:, chosen]),
        crps=float(fair_crps(draws, truth).mean()),
        energy=fair_energy(draws, truth),
        bands={
            part: [spread_and_error(band[:-1], band[-1]) for band in found]
            for part, found in domain.bands(together).items()
        },
        texture=(fmean(energies[:-1]), energies[-1]) if energies else None,
        psnr=(fmean(dB[:-1]), dB[-1]) if dB else None,
        missed=missed(draws[:, unsettled], truth[unsettled]),
        nfe=samples.provenance["nfe"],
        seconds=samples.provenance["seconds"] / len(draws),
    )


def open_elements(draws: Tensor, truth: Tensor, inside: Tensor | None = None) -> Tensor:
    """True for the elements of a signal that the data do not tell exactly.

    Args:
        draws: Samples.
        truth: The clean signal.
        inside: Which elements count; all of them if that is None or there is none.

    Raises:
        SettingError: There is none.
    """
    spread = torch.maximum(draws.amax(0), truth) - torch.minimum(draws.amin(0), truth)
    unsettled = spread > SETTLED
    if inside is not None and inside.any():
        unsettled = unsettled & inside
    if not unsettled.any():
        raise SettingError(
            "Wanted data that leave something open, but every sample is the truth. "
            "Add noise with --sigma-y, or choose another --operator."
        )
    return unsettled


@dataclass(frozen=True)
class Scores:
    """What was found on many truths.

    Attributes:
        covered: Level -> how often the truth lay in its interval.
        thirds: That at 90 % where the least, more, and the most goes on in the samples' mean;
            None where the domain does not say.
        chi2_dof: |y - H x|^2 over what the noise explains, 1 if right; None for exact data.
        crps: The fair ranked probability score of an element.
        energy: The fair energy score of a block.
        bands: Part of a signal -> for each of its bands, from coarse to fine, the deviation that
            the samples show over the error of their mean, 1 if right; None where the data leave
            nothing open. Nothing where the domain has no bands.
        texture: Energy of the fine texture of samples over that of the truths, 1 if right; None
            where the domain has none.
        psnr: In dB, of one sample and of the mean; None where the domain has none.
        nfe: Network evaluations of a sample.
        seconds: Of a sample.
    """

    covered: Mapping[float, float]
    thirds: tuple[float, ...] | None
    chi2_dof: float | None
    crps: float
    energy: float
    bands: Mapping[str, Sequence[float | None]]
    texture: float | None
    psnr: Pair | None
    nfe: float
    seconds: float

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> "Scores":
        """Means over truths; of the ratios, the ratio of the sums, which is 1 if all is right."""
        levels, parts = judged[0].covered, judged[0].bands
        chi2 = [one.chi2_dof for one in judged if one.chi2_dof is not None]
        thirds = [one.thirds for one in judged if one.thirds is not None]
        textures = [one.texture for one in judged if one.texture is not None]
        psnr = [one.psnr for one in judged if one.psnr is not None]
        return cls(
            covered={level: fmean(one.covered[level] for one in judged) for level in levels},
            thirds=tuple(map(fmean, zip(*thirds, strict=True))) or None,
            chi2_dof=fmean(chi2) if chi2 else None,
            crps=fmean(one.crps for one in judged),
            energy=fmean(one.energy for one in judged),
            bands={
                part: [
                    None if (ratio := _ratio(pairs)) is None else math.sqrt(ratio)
                    for pairs in zip(*(one.bands[part] for one in judged), strict=True)
                ]
                for part in parts
            },
            texture=_ratio(textures) if textures else None,
            psnr=_means(psnr) if psnr else None,
            nfe=fmean(one.nfe for one in judged),
            seconds=fmean(one.seconds for one in judged),
        )

    def described(self) -> dict[str, str]:
        """Each score by name, for a table."""
        percent = lambda held: f"{100 * held:.1f} %"
        rows = {f"{100 * level:.0f} % covers": percent(p) for level, p in self.covered.items()}
        if self.thirds is not None:
            rows["90 % where little, more, most goes on"] = ", ".join(map(percent, self.thirds))
        if self.chi2_dof is not None:
            rows["chi2/dof"] = f"{self.chi2_dof:.2f}"
        rows["CRPS"] = f"{self.crps:.4f}"
        rows["energy score"] = f"{self.energy:.4g}"
        if self.texture is not None:
            rows["fine texture"] = f"{self.texture:.2f}"
        for part, bands in self.bands.items():
            told = ("exact" if ratio is None else f"{ratio:.2f}" for ratio in bands)
            rows[f"spread/error, {part}"] = ", ".join(told)
        if self.psnr is not None:
            rows["PSNR of one, of the mean"] = ", ".join(f"{dB:.2f}" for dB in self.psnr)
        rows["calls"] = f"{self.nfe:.4g}"
        rows["s a sample"] = f"{self.seconds:.3g}"
        return rows


def _means(pairs: Sequence[Pair]) -> Pair:
    first, second = zip(*pairs, strict=True)
    return fmean(first), fmean(second)


def _ratio(pairs: Sequence[Pair]) -> float | None:
    """Of the sums; None where the second ones are rounding."""
    found, right = _means(pairs)
    return found / right if right > SETTLED**2 else None
