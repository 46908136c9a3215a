"""Names in, posterior samples out: a recipe and a measurement become objects, and are solved."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .conformal import Interval
from .covariance import Bands, ExactField, Isotropic, Uncertainty
from .domain import DOMAINS, Domain, Posed
from .errors import FileError, OperatorAbilityError, SettingError
from .files import whole_file, whole_folder
from .measurement import Measurement
from .operators.quantisation import Quantiser
from .priors import zoo
from .priors.analytic import GaussianField
from .priors.base import Counted, LabelledDenoiser, Look, unseen
from .priors.latent import LatentDenoiser
from .problem import Problem
from .recipe import CHOSEN, Plain, Recipe
from .samplers import METHODS
from .samplers.base import Sampler
from .samplers.drawn import Drawn
from .samples import PosteriorSamples
from .settings import settings_of
from .signals import check_truths
from .solving import BFLOAT16, Network, Watch, solve, unwatched
from .spectra import SpectralTable
from .tensors import device_at_hand
from .verdicts import Subject, found_on

PREFERRED = ("cells", "ddrm", "pigdm", "dps")
"""What ``"quick"`` stands for: the first of these that can work on the problem. ``"auto"`` stands
for ``"drawn"`` before them, if the prior's covariances were measured."""

QUICK_STEPS = {"pigdm": 20}
"""Levels that ``"quick"`` walks down by methods for which it takes fewer than enough."""


def best_for(problem: Problem, uncertainty: Uncertainty, quick: bool = False) -> Sampler[Any]:
    """The method that ``"auto"`` or ``"quick"`` stands for: the first that can do the problem."""
    refusals: list[OperatorAbilityError] = []
    measured = not isinstance(uncertainty, Isotropic)
    for name in ("drawn", *PREFERRED) if measured and not quick else PREFERRED:
        method = METHODS[name]
        try:
            method.require(problem)
        except OperatorAbilityError as error:
            refusals.append(error)
        else:
            return method
    raise refusals[-1]


def can_draw(problem: Problem, domain: Domain) -> bool:
    """Whether ``"drawn"`` would work on a problem, were the prior's covariances measured."""
    try:
        METHODS["drawn"].require(problem)
    except OperatorAbilityError:
        return False
    return domain.basis(problem.H.signal_shape) is not None


def given_up(asked: str, method: Sampler[Any], problem: Problem, uncertainty: Uncertainty) -> str:
    """What the error bars of a method lack, and what has better ones; empty for nothing known.

    Args:
        asked: The method as the recipe has it.
        method: What it stands for.
        problem: What is solved.
        uncertainty: What is known of the prior's covariances.
    """
    name, said = METHODS.name_of(method), method.caveat(problem)
    if asked == "quick":
        said = f"This is the quick way, by {name}: its error bars are far too narrow."
    if not said:
        return ""
    best = METHODS.name_of(best_for(problem, uncertainty))
    return said if best == name else f"{said} The default, {best}, has better ones."


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
        f"{'' if subject.domain == 'pictures' else f'--domain {subject.domain} '}"
        f"--sigma-y {subject.sigma_y:.4g} --store"
    )


LARGE = 3 * 2**20
"""Numbers of a signal above which the state of the walk is in float32, half of the memory. Data
without noise are then met to 1e-6 instead of 1e-12; the samples' file has float32 anyway. Rounded
data keep float64, their cells' borders being as fine, but for methods whose network computes
roughly: what they draw is moved into its cells at the end, in float64."""


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
        device = device_at_hand()
        network = zoo.load(card, device, recipe.save_memory)
        return cls(card, network, zoo.sha256_of(card), device)

    def uncertainty(self, bands: Bands | None) -> Uncertainty:
        """What is known of its covariances, or was measured, for signals with these bands.

        Raises:
            FileError: The file of them is broken, or belongs to other weights.
        """
        if isinstance(self.network, GaussianField):
            return ExactField(self.network)
        path = zoo.covariances(self.card)
        if bands is None or not path.is_file():
            return Isotropic(self.card.data_variance)
        table = SpectralTable.load(path, self.sha256, bands)
        return replace(table, data_variance=self.card.data_variance)

    def calibrate(
        self,
        folder: Path,
        domain: str = "pictures",
        count: int = 32,
        side: int | None = None,
        seed: int = 0,
        watch: Watch = unwatched,
    ) -> tuple[Path, str]:
        """Measures its covariances on clean signals, and keeps them beside its weights.

        The signals are as the files have them, none shrunk, as many of each file, their middles
        first: what a network errs by depends on how sharp they are and on how much they show.

        Args:
            folder: Whose files give the signals; the prior should not have been trained on them.
            domain: Their kind.
            count: How many, 2 or more.
            side: Of a signal; by default the prior's own, or what suits the kind.
            seed: Of the places in the files, and of the noise.
            watch: Called after every batch of evaluations.

        Returns:
            The file, and on what was measured, in words.

        Raises:
            SettingError: The covariances of this prior cannot be told by frequency.
            FileError: There are no such signals, or the file cannot be written.
        """
        check_truths(count)
        DOMAINS.check(domain)
        kind, card = DOMAINS[domain], self.card
        if isinstance(self.network, LatentDenoiser):
            raise SettingError(
                f"Wanted a prior of signals, but {card.name} is one of codes, of which no data "
                "are linear. Its methods work without covariances."
            )
        shape = kind.truth_shape(card, side or (None if card.size else kind.sharp_side))
        bands = kind.basis(shape)
        if bands is None:
            raise SettingError(
                f"Wanted signals whose errors can be told by frequency, but {domain} has no such "
                "basis yet. Its methods work without covariances."
            )
        path = zoo.covariances(card)
        about = f"{count} {kind.truths_are}, {' x '.join(map(str, shape))}, seed {seed}"
        try:
            with whole_folder(path.parent):
                pass
        except FileError as error:
            raise FileError(
                f"Wanted to keep covariances beside the weights, but {path.parent} cannot be "
                f"written. Copy {card.weights.name} to a folder that can, and name that file."
            ) from error
        truths = kind.truths(folder, shape, count, seed, in_turn=True).float().to(self.device)
        network = Network(self.network, self.device == "cpu" and BFLOAT16)
        table = SpectralTable.measured(network, truths, bands, seed, card.levels, watch)
        with whole_file(path) as partial:
            table.save(partial, self.sha256, about)
        return path, about


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
        warning: What the error bars of the method lack; empty for nothing known.
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
    warning: str
    checked: str
    interval: Interval | None

    def run(
        self, watch: Watch = unwatched, item: int = 0, look: Look = unseen
    ) -> PosteriorSamples:
        """Draws the samples: see :func:`restore`.

        Args:
            watch: Called after every step.
            item: Which measurement this is.
            look: Called with every prediction of the network, as signals that are solved for.
        """
        recipe, card = self.recipe, self.prior.card
        counted = Counted(self.prior.network, look)
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
            batch=self.posed.batch,
            watch=watch,
        )
        x, told = self.posed.finish(drawn.draws)
        mean = drawn.expected
        if mean is not None:
            mean = self.posed.finish(mean[None])[0][0].float().cpu()
        provenance = drawn.provenance | {
            "recipe": asdict(recipe),
            "domain": self.subject.domain,
            "operator": self.measurement.operator,
            "measurement_sha256": self.measurement.sha256,
            "sigma_y": self.subject.sigma_y,
            "prior": card.name,
            "prior_sha256": self.prior.sha256,
            "nfe": counted.nfe // -(-recipe.samples // drawn.provenance["batch"]),
            "warning": self.warning,
            "checked": self.checked,
            "interval_90": None if self.interval is None else self.interval.reach,
            **told,
        }
        return replace(drawn, draws=x.float().cpu(), provenance=provenance, expected=mean)


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
    chosen = recipe.method in CHOSEN
    quick = recipe.method == "quick"
    method = best_for(posed.problem, uncertainty, quick) if chosen else recipe.sampler()
    is_large = math.prod(H.signal_shape) > LARGE
    light = method.rough_calls or (is_large and not isinstance(H, Quantiser))
    precision = torch.float32 if light else torch.float64
    posed = replace(posed, problem=posed.problem.to(prior.device, precision))
    method = posed.fitted(method)
    method.require(posed.problem)
    method = method.fitted(posed.problem, uncertainty)
    enough = QUICK_STEPS.get(METHODS.name_of(method)) if quick else None
    steps = recipe.steps or enough or posed.enough(method)
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
    said = replace(subject, operator=domain.asked(subject.operator))
    checked = found.words(how_to_check(said, recipe.settings, card.name))
    if chosen and isinstance(uncertainty, Isotropic) and can_draw(posed.problem, domain):
        checked = f"{checked} {zoo.how_to_calibrate(card)} would give it error bars that hold."
    interval = Interval.of(found.same, ran.samples)
    if interval is not None:
        checked = f"{checked} {interval}"
    return Restoration(
        recipe=ran,
        measurement=measurement,
        prior=prior,
        posed=posed,
        method=method,
        uncertainty=uncertainty,
        levels=levels,
        subject=subject,
        warning=given_up(recipe.method, method, posed.problem, uncertainty),
        checked=checked,
        interval=interval,
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
