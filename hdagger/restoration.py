"""Names in, posterior samples out: a recipe and a measurement become objects, and are solved."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .conformal import Interval
from .covariance import Bands, Isotropic, SpectralTable, Uncertainty
from .domain import DOMAINS, Posed
from .errors import OperatorAbilityError
from .measurement import Measurement
from .operators.quantisation import Quantiser
from .priors import zoo
from .priors.base import Counted, LabelledDenoiser
from .problem import Problem
from .recipe import Plain, Recipe
from .samplers import METHODS
from .samplers.base import Sampler
from .samplers.drawn import Drawn
from .samples import PosteriorSamples
from .settings import settings_of
from .solving import Watch, solve, unwatched
from .verdicts import Subject, found_on

PREFERRED = ("cells", "ddrm", "pigdm", "dps")
"""What ``"auto"`` stands for: the first of these that can work on the problem; before them
``"drawn"``, if the prior's covariances were measured."""


def best_for(problem: Problem, uncertainty: Uncertainty) -> Sampler[Any]:
    """The method that ``"auto"`` stands for: the first that can work on the problem."""
    refusals: list[OperatorAbilityError] = []
    measured = not isinstance(uncertainty, Isotropic)
    for name in ("drawn", *PREFERRED) if measured else PREFERRED:
        method = METHODS[name]
        try:
            method.require(problem)
        except OperatorAbilityError as error:
            refusals.append(error)
        else:
            return method
    raise refusals[-1]


def measure(
    x: Tensor,
    text: str,
    arrays: Mapping[str, Tensor],
    sigma_y: float,
    seed: int = 0,
    domain: str = "pictures",
) -> Measurement:
    """Simulates a measurement of one clean signal: see :meth:`Domain.measure`."""
    return DOMAINS[domain].measure(x, text, arrays, sigma_y, seed)


def how_to_check(subject: Subject, settings: Mapping[str, Plain], prior: str) -> str:
    """The command that checks a method as it was run, with these settings beyond its defaults."""
    said = "".join(f" --set {name}={value}" for name, value in settings.items())
    if subject.label is not None:
        said += f" --label {subject.label} --guidance {subject.guidance:g}"
    return (
        f"hdagger check --prior {shlex.quote(prior)} --method {subject.method}{said} "
        f"--steps {subject.steps} --operator {shlex.quote(subject.operator)} "
        f"--sigma-y {subject.sigma_y:.4g} --store"
    )


LARGE = 3 * 2**20
"""Numbers of a signal above which the state of the walk is in float32, half of the memory. Data
without noise are then met to 1e-6 instead of 1e-12; the samples' file has float32 anyway. Rounded
data keep float64: their cells' borders are as fine."""


@dataclass(frozen=True)
class Prior:
    """A prior at hand.

    Attributes:
        card: What is known of it.
        network: Its denoiser, on ``device``.
        sha256: Of its weights.
        device: Where it computes.
    """

    card: zoo.Card
    network: LabelledDenoiser
    sha256: str
    device: str = "cpu"

    @classmethod
    def of(cls, recipe: Recipe) -> "Prior":
        """The prior that a recipe names, loaded."""
        card = zoo.card(recipe.prior)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        network = zoo.load(card, device, recipe.save_memory)
        return cls(card, network, zoo.sha256_of(card), device)

    def uncertainty(self, bands: Bands | None) -> Uncertainty:
        """What was measured of its covariances, for signals with these bands.

        Raises:
            FileError: The file of them is broken, or belongs to other weights.
        """
        path = zoo.covariances(self.card)
        if bands is None or not path.is_file():
            return Isotropic(self.card.data_variance)
        table = SpectralTable.load(path, self.sha256, bands)
        return replace(table, data_variance=self.card.data_variance)


@dataclass(frozen=True)
class Restoration:
    """A recipe put to a measurement: every name has become an object, and nothing has run yet.

    Attributes:
        recipe: As it will run: with the method that ``"auto"`` stands for and every setting.
        measurement: What was measured.
        prior: The prior.
        posed: The measurement, put to it.
        method: The sampler.
        uncertainty: What is known of the prior's covariances.
        levels: Noise levels to walk down.
        subject: What a verdict on this would be about.
        checked: What the verdicts that are kept say of it.
        interval: What one of them promises of the samples; None for nothing.
    """

    recipe: Recipe
    measurement: Measurement
    prior: Prior
    posed: Posed
    method: Sampler[Any]
    uncertainty: Uncertainty
    levels: Tensor
    subject: Subject
    checked: str
    interval: Interval | None

    def run(self, watch: Watch = unwatched, item: int = 0) -> PosteriorSamples:
        """Draws the samples: see :func:`restore`."""
        recipe, card = self.recipe, self.prior.card
        counted = Counted(self.prior.network)
        towards = zoo.towards(counted, card, recipe.label, recipe.guidance, self.prior.device)
        drawn = solve(
            towards,
            self.posed.problem,
            self.method,
            levels=self.levels,
            uncertainty=self.uncertainty,
            samples=recipe.samples,
            seed=recipe.seed,
            item=item,
            watch=watch,
        )
        x, told = self.posed.finish(drawn.draws)
        provenance = drawn.provenance | {
            "recipe": asdict(recipe),
            "domain": self.subject.domain,
            "operator": self.measurement.operator,
            "sigma_y": self.subject.sigma_y,
            "prior": card.name,
            "prior_sha256": self.prior.sha256,
            "nfe": counted.nfe // -(-recipe.samples // drawn.provenance["batch"]),
            "checked": self.checked,
            "interval_90": None if self.interval is None else self.interval.reach,
            **told,
        }
        return replace(drawn, draws=x.float().cpu(), provenance=provenance)


def prepare(recipe: Recipe, measurement: Measurement, prior: Prior) -> Restoration:
    """Puts a recipe to a measurement, with any prior at hand; what does not fit is refused here.

    Args:
        recipe: How to draw; its ``prior`` is the name by which ``prior`` is told of.
        measurement: What was measured.
        prior: The prior.

    Raises:
        HDaggerError: Something in the recipe or the measurement does not fit the other.
    """
    DOMAINS.check(measurement.domain)
    domain, card = DOMAINS[measurement.domain], prior.card
    posed = domain.posed(measurement, card, prior.network)
    H = posed.problem.H
    uncertainty = prior.uncertainty(domain.basis(H.signal_shape))
    chosen = recipe.method != "auto"
    method = recipe.sampler() if chosen else best_for(posed.problem, uncertainty)
    is_large = math.prod(H.signal_shape) > LARGE
    light = (is_large or method.rough_calls) and not isinstance(H, Quantiser)
    precision = torch.float32 if light else torch.float64
    posed = replace(posed, problem=posed.problem.to(prior.device, precision))
    method = posed.fitted(method)
    method.require(posed.problem)
    method = method.fitted(posed.problem, uncertainty)
    steps = recipe.steps or method.enough
    levels = domain.levels(posed.problem, method, steps, card)
    ran = replace(
        recipe,
        method=METHODS.name_of(method),
        settings=settings_of(method),
        steps=steps,
        samples=math.ceil(recipe.samples / method.group) * method.group,
    )
    spelled = domain.spelled(measurement)
    subject = Subject(
        prior_sha256=prior.sha256,
        domain=domain.name,
        operator=spelled.operator,
        sigma_y=measurement.noise,
        method=ran.method,
        settings=dict(ran.settings),
        steps=steps,
        arrays_sha256=spelled.arrays_sha256,
        covariance_sha256=uncertainty.sha256 if isinstance(method, Drawn) else "",
        label=None if recipe.label is None else card.number(recipe.label),
        guidance=recipe.guidance,
    )
    found = found_on(subject)
    checked = found.words(how_to_check(subject, recipe.settings, card.name))
    interval = Interval.of(found.same, ran.samples)
    if interval is not None:
        checked = f"{checked} {interval}"
    return Restoration(
        ran, measurement, prior, posed, method, uncertainty, levels, subject, checked, interval
    )


def restore(
    recipe: Recipe, measurement: Measurement, watch: Watch = unwatched, item: int = 0
) -> PosteriorSamples:
    """Draws posterior samples of what was measured.

    Args:
        recipe: How.
        measurement: What was measured.
        watch: Called as (steps done, steps in all) after every step.
        item: Which measurement this is, for noise of its own.

    Returns:
        The samples, in float32 on the CPU. Their provenance holds the recipe that was run, with
        the method that ``"auto"`` stands for and every setting.

    Raises:
        HDaggerError: Something in the recipe or the measurement does not fit the other.
    """
    return prepare(recipe, measurement, Prior.of(recipe)).run(watch, item)
