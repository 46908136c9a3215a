"""What stands in a row of the talk's tables: a way to restore pictures, whatever it is made of.

A prior with a sampler is one (:class:`PriorWithSampler`), and needs no training for a task. A
model that was trained for some tasks joins by a file of weights, whose kind is a line of
``CONTENDERS``: what that names has ``load(path)``, or is a function of the path, and gives a
:class:`Contender`.

In the text form of a contender its name comes first, then ``cc`` if it is to be told the label
of each picture, then settings: ``"ddrm cc"``, ``"snips steps=100 repeats=2"``. A file of weights
stands for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...errors import FileError, SettingError
from ...files import fingerprint
from ...measurement import Measurement
from ...priors import checkpoint, zoo
from ...priors.zoo import Loaders
from ...recipe import Recipe, settings_said
from ...restoration import Prior, prepare
from ...samplers import Plain
from ...samples import PosteriorSamples
from ...specialists.base import FILE

CONTENDERS = Loaders(
    "a kind of contender",
    "hdagger.contenders",
    {
        "conditional": "hdagger.specialists.conditional:Conditional",
        "regression": "hdagger.specialists.regression:Regression",
        "gan": "hdagger.specialists.gan:GAN",
        "vae": "hdagger.specialists.vae:VAE",
    },
)
"""Kind of file -> what loads it; other packages add kinds by entry points of this group."""


@dataclass(frozen=True)
class Case:
    """One picture that was measured.

    Attributes:
        measurement: What a contender is given.
        item: Which picture it is, for noise of its own.
        label: What the picture shows, for contenders that are to be told; None for unknown.
    """

    measurement: Measurement
    item: int = 0
    label: int | None = None


@runtime_checkable
class Contender(Protocol):
    """A way to restore pictures.

    Attributes:
        name: What the table calls it.
        cost: What its training cost, in words: data, updates, hours, and for which tasks.
        made_of: All that its answers depend on beside the case: settings, sha256 of weights. A
            row is done again when it changes.
    """

    @property
    def name(self) -> str: ...

    @property
    def cost(self) -> str: ...

    @property
    def made_of(self) -> Mapping[str, Plain]: ...

    def restore(self, case: Case, samples: int, seed: int) -> PosteriorSamples:
        """Samples of what was measured.

        Args:
            case: What was measured.
            samples: How many. A contender with one answer for a measurement gives that, once.
            seed: Of its noise.

        Returns:
            ``draws`` are pictures in [-1, 1], ``(samples, channels, height, width)`` or
            ``(1, ...)``, float32 on the CPU. ``provenance["nfe"]`` counts the network's
            evaluations of one sample.

        Raises:
            OperatorAbilityError: It cannot work on such data, or was not trained for them: the
                table leaves the cell empty.
        """
        ...


@dataclass(frozen=True)
class PriorWithSampler:
    """A prior that nobody trained for the task, and a sampler.

    Attributes:
        name: What the table calls it.
        prior: The prior.
        recipe: Method, settings and steps.
        told: Whether it is told the label of each picture ("cc").
    """

    name: str
    prior: Prior
    recipe: Recipe
    told: bool = False

    @property
    def cost(self) -> str:
        return self.prior.card.recipe or "not stated by the prior's card"

    @property
    def made_of(self) -> Mapping[str, Plain]:
        recipe, covariances = self.recipe, zoo.covariances(self.prior.card)
        drawn = recipe.method in ("auto", "drawn") and covariances.is_file()
        return {
            **{f"set {name}": value for name, value in recipe.settings.items()},
            "method": recipe.method,
            "steps": recipe.steps,
            "guidance": recipe.guidance,
            "told": self.told,
            "prior_sha256": self.prior.sha256,
            "covariance_sha256": fingerprint(covariances) if drawn else "",
        }

    def restore(self, case: Case, samples: int, seed: int) -> PosteriorSamples:
        if self.told and case.label is None:
            raise SettingError(
                f"Wanted a label for each picture, which {self.name} is told, but got none. "
                "Put pictures in one folder for each label, or leave cc out."
            )
        recipe = replace(self.recipe, seed=seed, label=case.label if self.told else None)
        ready = prepare(replace(recipe, samples=samples), case.measurement, self.prior)
        if ready.method.one_answer:
            ready = replace(ready, recipe=replace(ready.recipe, samples=1))
        return ready.run(item=case.item)


PUBLISHED: Mapping[str, Recipe] = {
    "ours": Recipe("auto"),
    "ddrm": Recipe("ddrm", {"eta": 0.85}, steps=20),
    "pigdm": Recipe(
        "pigdm", {"weighting": "paper", "jacobian": "vjp", "data_variance": 1.0}, steps=100
    ),
    "reconstruction": Recipe("reconstruction", steps=100),
    "dps": Recipe("dps", {"strength": 0.3}, steps=1000),
    "red": Recipe("red"),
    "red-diff": Recipe("red-diff"),
    "snips": Recipe("snips"),
    "projection": Recipe("projection", steps=100),
    "diffpir": Recipe("diffpir"),
    "daps": Recipe("daps"),
}
"""The talk's names -> method, settings and steps as the papers and their code have them. On data
with noise ``"pigdm"`` is the talk's "PiGDM noisy"; ``"ours"`` is what ``restore`` does."""


def contender(text: str, prior: Prior) -> Contender:
    """The contender of a text form.

    Args:
        text: A name of ``PUBLISHED``, perhaps with ``cc`` and settings, or a file of weights.
        prior: The prior of those that are samplers.

    Raises:
        SettingError: There is no such contender, or no such setting.
        FileError: The file holds none.

    Example:
        >>> from hdagger.restoration import Prior
        >>> digits = Prior.of(Recipe(prior="digits"))
        >>> contender("ddrm cc steps=50", digits).recipe.steps
        50
    """
    if text.endswith(".safetensors"):
        return loaded(Path(text))
    name, *words = text.split()
    if name not in PUBLISHED:
        raise SettingError(
            f"Wanted a method, one of {', '.join(PUBLISHED)}, or a .safetensors file, but got "
            f"{name!r}. Choose one of these."
        )
    told = "cc" in words
    recipe = with_words(PUBLISHED[name], [word for word in words if word != "cc"])
    return PriorWithSampler(text, prior, replace(recipe, prior=prior.card.name), told)


def with_words(recipe: Recipe, words: Sequence[str]) -> Recipe:
    """The recipe with other settings, as a command line has them; steps may be among them."""
    said = settings_said(words)
    steps = said.pop("steps", recipe.steps)
    if not str(steps).isdecimal():
        raise SettingError(f"Wanted a whole number of steps, but got {steps!r}. Try steps=20.")
    return replace(recipe, settings={**recipe.settings, **said}, steps=int(steps))


def loaded(path: Path) -> Contender:
    """The contender in a file of weights.

    Raises:
        FileError: The file is missing or broken.
        SettingError: It is of a kind that is no contender.
    """
    kind, _ = checkpoint.read_kind(path)
    CONTENDERS.check(kind)
    load: Callable[[Path], Contender] = CONTENDERS[kind]
    return load(path)


def specialists_in(folder: Path) -> tuple[str, ...]:
    """The contenders of a folder of trainings, in their text form.

    Raises:
        FileError: There is none.
    """
    found = tuple(str(path) for path in sorted(folder.rglob(FILE)))
    if not found:
        raise FileError(
            f"Wanted a folder with files called {FILE}, but {folder} has none. Make some with "
            "hdagger train and the plans of training/specialists."
        )
    return found
