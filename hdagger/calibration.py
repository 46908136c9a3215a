"""Do a method's error bars hold? A check by simulation, and the verdict in words.

Truths are measured, and ``restore`` is run on the measurements, with a recipe. If what it draws
are posterior samples, the truth is one more of them. Nothing is built beside ``restore``: what
is checked is what is run.
"""

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from .conformal import FEWEST, Interval, least_factors
from .diagnostics import sbc, student
from .domain import DOMAINS, Domain
from .errors import SettingError
from .judging import Scores, judge
from .measurement import Measurement
from .operators.quantisation import Quantiser
from .priors import zoo
from .priors.analytic import GaussianField
from .priors.cards import FIELD, check_field
from .recipe import Recipe
from .restoration import Prior, Restoration, prepare
from .samplers.ddim import DDIM
from .samplers.walk import karras_levels
from .solving import HIGHEST, Watch, solve, unwatched
from .tensors import SampleNoise
from .verdicts import DRAWN, Subject, Verdict

TELLING = 0.05
"""The most that chance may move the coverage for intervals to be called right."""

LEAST_OFF = 0.02
"""Coverage this near to its level is right, however many simulations were made."""

TRUTHS_ITEM = 2**31
"""The item whose noise draws the truths, far from those that are measured."""

MOST = 100_000
"""Simulations in one check."""


@dataclass(frozen=True)
class Calibration:
    """What a simulation found.

    Attributes:
        subject: What was checked.
        truths: What was measured, in words.
        shape: Of a truth.
        simulations: How many were measured.
        draws: Samples of each.
        scores: Of all of them.
        chance: How far chance alone moves the coverage at 90 %, in 95 of 100 such checks.
        p_value: Of the ranks of one element of each truth.
        factors: By which intervals from 2, 3, ... samples are scaled to hold by construction; none
            if that was not asked for.
        plain_factors: Those that hold of these truths, without a promise for others.
        part: Of what the intervals were judged, such as "the head"; empty for whole signals.
    """

    subject: Subject
    truths: str
    shape: tuple[int, ...]
    simulations: int
    draws: int
    scores: Scores
    chance: float
    p_value: float
    factors: tuple[float | None, ...] = ()
    plain_factors: tuple[float | None, ...] = ()
    part: str = ""

    @property
    def holds(self) -> bool:
        """Whether the 90 % intervals cover what they should, but for what chance explains."""
        return abs(self.scores.covered[0.9] - 0.9) <= max(self.chance, LEAST_OFF)

    @property
    def words(self) -> str:
        """The finding as one line."""
        held = self.scores.covered[0.9]
        if not self.holds:
            judged = "over-confident" if held < 0.9 else "under-confident"
        elif self.chance > TELLING:
            judged = f"too few simulations to judge, chance alone is {100 * self.chance:.0f} %"
        else:
            judged = "as they should"
        part = f" of {self.part}" if self.part else ""
        return f"the 90 % intervals cover {100 * held:.0f} %{part}: {judged}"

    @property
    def verdict(self) -> Verdict:
        """What is kept of it."""
        return Verdict(
            subject=self.subject,
            truths=self.truths,
            shape=self.shape,
            simulations=self.simulations,
            draws=self.draws,
            coverage_90=self.scores.covered[0.9],
            chi2_dof=self.scores.chi2_dof,
            words=self.words,
            factors=self.factors,
        )

    @property
    def promise(self) -> str:
        """What intervals hold by construction, as one line; empty if that was not asked for."""
        interval = Interval.of(self.verdict, self.draws)
        if interval is not None:
            plain = self.plain_factors[-1]
            return f"{interval} Of these {self.simulations} alone the factor is {plain:.2f}."
        return "no intervals hold by construction, however wide" if self.factors else ""

    def svg(self) -> str:
        """Coverage against level as a picture: right is the diagonal."""
        points = " ".join(
            f"{300 * level:.1f},{300 * (1 - held):.1f}"
            for level, held in ((0.0, 0.0), *self.scores.covered.items(), (1.0, 1.0))
        )
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-50 -30 380 390" '
            'font-family="sans-serif" font-size="14"><rect x="-50" y="-30" width="380" '
            'height="390" fill="white"/><rect width="300" height="300" fill="none" '
            'stroke="#999"/><path d="M0 300 300 0" stroke="#999" stroke-dasharray="4"/>'
            f'<polyline points="{points}" fill="none" stroke="#b2182b" stroke-width="2"/>'
            f'<text x="0" y="-10">{html.escape(self.words)}</text>'
            '<text x="90" y="325">nominal level, 0 to 1</text>'
            '<text transform="translate(-12 210) rotate(-90)">truth inside, 0 to 1</text></svg>\n'
        )


@dataclass(frozen=True)
class Plan:
    """A check that is ready to run: what is measured, and how it is restored.

    Attributes:
        recipe: How each measurement is restored; its ``samples`` are the draws.
        prior: The prior.
        domain: The kind of signal.
        shape: Of a truth; of one that is blurred, its unknown surroundings too.
        operator: What is measured, in text form.
        sigma_y: Standard deviation of the noise on the data.
        arrays: What the operator needs beyond its text.
        simulations: How many truths are measured.
        folder: Whose files give the truths; None for draws of the prior.
        conformal: Whether intervals are to hold by construction: see :mod:`.conformal`.
    """

    recipe: Recipe
    prior: Prior
    domain: Domain
    shape: tuple[int, ...]
    operator: str
    sigma_y: float
    arrays: Mapping[str, Tensor]
    simulations: int
    folder: Path | None = None
    conformal: bool = False

    @property
    def origin(self) -> str:
        """What the truths are, in words."""
        return DRAWN if self.folder is None else self.domain.truths_are

    def restoration(self, truth: Tensor, item: int) -> Restoration:
        """What ``restore`` makes of the recipe and a measurement of one truth."""
        measurement = self.domain.measure(
            truth, self.operator, self.arrays, self.sigma_y, self.recipe.seed, item
        )
        return prepare(self.recipe, measurement, self.prior)

    @cached_property
    def promised(self) -> Verdict:
        """The verdict that would be kept, with nothing found yet; no network has run.

        Raises:
            HDaggerError: The method cannot work on this.
        """
        nothing = torch.zeros(self.shape, dtype=torch.float64)
        restoration = self.restoration(nothing, 0)
        told = nothing[restoration.posed.frame]
        return Verdict(
            subject=restoration.subject,
            truths=self.origin,
            shape=tuple(told.shape),
            simulations=self.simulations,
            draws=restoration.recipe.samples,
            coverage_90=0.0,
            chi2_dof=None,
            words="",
            factors=(1.0,) * (restoration.recipe.samples - 1) if self.conformal else (),
        )

    def truths(self) -> Tensor:
        """Clean signals, ``(simulations, *signal)``."""
        seed, count = self.recipe.seed, self.simulations
        if self.folder is not None:
            return self.domain.truths(self.folder, self.shape, count, seed).double()
        network, card = self.prior.network, self.prior.card
        if isinstance(network, GaussianField):
            return network.sample(
                count, SampleNoise(seed, [(TRUTHS_ITEM, k) for k in range(count)])
            )
        nothing = torch.zeros(self.shape, dtype=torch.float64)
        posed = self.domain.posed(
            Measurement(nothing, "none", 0.0, {}, self.shape, self.domain.name), card, network
        )
        drawn = solve(
            zoo.towards(network, card, self.recipe.label, self.recipe.guidance, self.prior.device),
            posed.problem.to(self.prior.device),
            DDIM(eta=0.0, solver="heun"),
            levels=karras_levels(50, low=card.sigma_min, high=min(HIGHEST, card.sigma_max)),
            samples=count,
            seed=seed,
            item=TRUTHS_ITEM,
        )
        return posed.finish(drawn.draws)[0].double().cpu()

    def run(self, watch: Watch = unwatched) -> Calibration:
        """Measures every truth, restores it, and asks where it stands among the samples."""
        promised, total = self.promised, self.simulations
        judged = []
        for item, truth in enumerate(self.truths()):
            part: Watch = lambda done, steps, item=item: watch(item * steps + done, total * steps)
            restoration = self.restoration(truth, item)
            samples = restoration.run(part, item)
            told = truth[restoration.posed.frame]
            judged.append(judge(samples, told, self.domain, self.recipe.seed + item))
        held = torch.tensor([one.covered[0.9] for one in judged], dtype=torch.float64)
        shares = torch.stack([one.missed for one in judged])
        places, beside = zip(*(one.element for one in judged), strict=True)
        bins = min(5, promised.draws + 1)
        return Calibration(
            subject=promised.subject,
            truths=promised.truths,
            shape=promised.shape,
            simulations=total,
            draws=promised.draws,
            scores=Scores.of(judged),
            chance=student(total - 1, 0.95) * float(held.std()) / math.sqrt(total),
            p_value=sbc(torch.stack(places), torch.stack(beside), bins).p_value,
            factors=least_factors(shares) if self.conformal else (),
            plain_factors=least_factors(shares, correction=0.0) if self.conformal else (),
            part=self.domain.object_is,
        )


def plan(
    recipe: Recipe,
    operator: str = "average:4",
    sigma_y: float | None = None,
    simulations: int = 40,
    folder: Path | None = None,
    side: int | None = None,
    domain: str = "pictures",
    conformal: bool = False,
    prior: Prior | None = None,
) -> Plan:
    """A check, from names; what is wrong with it is refused here, before any work.

    Args:
        recipe: How each measurement is restored. Its ``samples`` are the draws of each, 2 or
            more; its prior may be ``"field"``, a Gaussian random field.
        operator: What is measured, in text form; its words may name files.
        sigma_y: Standard deviation of the noise on the data; by default 0.1, and 0 for data that
            are rounded.
        simulations: How many truths are measured, 2 or more.
        folder: Whose files give the truths, which judges sampler and prior together; by default
            draws of the prior, which judge the sampler.
        side: Of a truth; by default what suits the prior.
        domain: The kind of signal.
        conformal: Whether intervals are to hold by construction: see :mod:`.conformal`.
        prior: The prior that the recipe names, if it is at hand.

    Raises:
        HDaggerError: Something is out of range, or does not fit the rest.
    """
    if not 2 <= simulations <= MOST:
        raise SettingError(
            f"Wanted 2 to {MOST} simulations, but got {simulations}. Try --simulations 40."
        )
    if conformal and simulations < FEWEST:
        raise SettingError(
            f"Wanted {FEWEST} simulations or more, below which nothing can be promised, but got "
            f"{simulations}. Try --simulations 40."
        )
    if recipe.samples < 2:
        raise SettingError(
            f"Wanted 2 draws or more, which show a spread, but got {recipe.samples}. "
            "Try --draws 19."
        )
    if sigma_y is not None and not 0 <= sigma_y < math.inf:
        raise SettingError(f"Wanted noise of 0 or more, but got {sigma_y}. Try --sigma-y 0.1.")
    DOMAINS.check(domain)
    chosen = DOMAINS[domain]
    is_field = recipe.prior == FIELD
    if is_field:
        check_field(folder)
    card = field_card(side or 32) if is_field else zoo.card(recipe.prior)
    shape = chosen.truth_shape(card, side)
    operator, given = chosen.with_files(operator)
    arrays = chosen.arrays(operator, shape, given, recipe.seed)
    rounded = isinstance(chosen.operator(operator, shape, arrays), Quantiser)
    sigma_y = (0.0 if rounded else 0.1) if sigma_y is None else sigma_y
    if prior is None:
        prior = Prior(card, GaussianField(card.size), FIELD) if is_field else Prior.of(recipe)
    made = Plan(
        recipe, prior, chosen, shape, operator, sigma_y, arrays, simulations, folder, conformal
    )
    assert made.promised
    return made


def field_card(side: int) -> zoo.Card:
    """What is known of a Gaussian random field of this side."""
    return zoo.Card(FIELD, Path(), channels=1, size=side, data_variance=1.0)
