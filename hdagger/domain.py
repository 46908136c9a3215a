"""What a domain is: all that knows what a signal means, behind one small interface.

A domain is a folder of ``hdagger/domains`` and one line in ``hdagger/signals.py``, or a package of
its own with an entry point of the group ``hdagger.domains``. The core sees signals as tensors; a
domain reads files, builds operators from their text form, says where a walk starts, and draws.
"""

import abc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import EllipsisType
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from . import signals
from .covariance import Bands
from .errors import FileError, HDaggerError, SettingError
from .files import brief, whole_file
from .measurement import Measurement
from .operators.base import Operator
from .priors.cards import Card
from .problem import Problem, check_noise
from .registry import Registry
from .report import Page, heat_map, nearly_largest, write_page
from .samplers import METHODS
from .samplers.base import Sampler
from .samples import PosteriorSamples
from .saved import RECIPE, REPORT, SAMPLES, SUMMARY, Saved
from .tensors import SampleNoise

GIVEN, MEAN, STD = "given.png", "mean.png", "std.png"
"""What there is to look at of a restoration, beside pictures of its samples."""

ROUNDING = 1e-6
"""Share of the brightness below which deviations are rounding."""


def as_drawn(x: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Samples that are signals of the domain already."""
    return x, {}


def not_seen() -> None:
    """There is nothing to look at before it is restored."""


def not_finer(folder: Path, samples: PosteriorSamples) -> None:
    """The answer is written without loss already."""


@dataclass(frozen=True)
class Job:
    """A file to restore.

    Attributes:
        measurement: What was measured.
        write: Writes all that a restoration leaves into a folder, and returns the summary.
        notes: What was found out beyond what was said, a sentence each.
        show: Draws one signal, ``(*signal)``, to look at while it is restored.
        given: Draws what was given, upright, to look at; None where it is nothing to look at.
        write_finely: Writes the answer with more bits than the file had, to work on with.
    """

    measurement: Measurement
    write: Callable[[Path, PosteriorSamples], dict[str, Any]]
    show: Callable[[Tensor], Image.Image]
    notes: Sequence[str] = ()
    given: Callable[[], Image.Image | None] = not_seen
    write_finely: Callable[[Path, PosteriorSamples], None] = not_finer


def is_open(method: Sampler[Any], name: str) -> bool:
    """Whether a method has such a setting, and leaves it open."""
    return hasattr(method, name) and getattr(method, name) is None


@dataclass(frozen=True)
class Posed:
    """A measurement put to a prior.

    Attributes:
        problem: What is solved, one row.
        finish: From samples of it to signals of the domain, and what is to be told of them.
        frame: Where in a signal that is measured the one lies that ``finish`` tells of; by
            default it is all of it.
        suits: What suits these signals, of settings that a method may leave open, by name.
        steps: How many noise levels are enough, by method, where it is not its own number.
        batch: How many samples to draw at once, where the operator is cheaper for several; by
            default as many as keep a batch small.
    """

    problem: Problem
    finish: Callable[[Tensor], tuple[Tensor, dict[str, Any]]] = as_drawn
    frame: tuple[EllipsisType | slice, ...] = (...,)
    suits: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None

    def fitted(self, method: Sampler[Any]) -> Sampler[Any]:
        """The method, what it left open set as the domain wants it."""
        left = {name: value for name, value in self.suits.items() if is_open(method, name)}
        return replace(method, **left)

    def enough(self, method: Sampler[Any]) -> int:
        """How many noise levels a method walks down where nobody says."""
        return self.steps.get(METHODS.name_of(method), method.enough)


def check_said(what: str, known: Sequence[str], said: Mapping[str, Any]) -> None:
    """Refuses what a job of :meth:`Domain.job` is told by names that nobody knows."""
    if others := sorted(set(said) - set(known)):
        raise SettingError(
            f"Wanted {what} told by {', '.join(known)}, but got {', '.join(others)[:200]}."
        )


class Domain(abc.ABC):
    """A kind of signals."""

    name: ClassVar[str]
    """What measurements, recipes and verdicts call it."""

    prior: ClassVar[str] = "photo"
    """The prior that suits most of its files."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """How the names of files end that :meth:`job` reads; none where files cannot be listed."""

    words: ClassVar[tuple[str, ...]] = ()
    """The words of its operators' text form, where a person may write them."""

    named: ClassVar[tuple[str, ...]] = ()
    """Of what a job is told, the options whose values are names of files."""

    truths_are: ClassVar[str] = "signals from files"
    """What :meth:`truths` gives, in words."""

    scale: ClassVar[str] = ""
    """How :meth:`drawn` shows a signal, such as "magnitude"; empty where that needs no word."""

    object_is: ClassVar[str] = ""
    """What :meth:`inside` tells from what is around it, such as "the head"; empty for none."""

    sharp_side: ClassVar[int | None] = None
    """Side of the signals on which a prior of any size is calibrated; None where there is none."""

    @abc.abstractmethod
    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> Operator:
        """The operator of a text form, for signals of this shape.

        Raises:
            HDaggerError: The text names no operator, or does not fit the shape.
        """

    @abc.abstractmethod
    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        """A measurement put to a prior, whose signals may differ from the domain's.

        Args:
            measurement: What was measured.
            card: Of the prior.
            network: The prior.

        Raises:
            ShapeError: The prior is for other signals.
        """

    @abc.abstractmethod
    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """The noise levels to walk down, none wasted where nothing is left to decide."""

    def measure(
        self,
        x: Tensor,
        text: str,
        arrays: Mapping[str, Tensor],
        sigma_y: float,
        seed: int = 0,
        item: int = 0,
    ) -> Measurement:
        """Simulates a measurement of one clean signal, with Gaussian noise where it is seen.

        Args:
            x: The signal, ``(*signal)``.
            text: The operator's text form.
            arrays: What the operator needs beyond its text.
            sigma_y: Standard deviation of the noise, in the units of the data.
            seed: Of the noise.
            item: Which measurement this is, for noise of its own.
        """
        H = self.operator(text, tuple(x.shape), arrays)
        check_noise(H, sigma_y)
        clean = H(x[None].double())
        draw = SampleNoise(seed, [(item,)])
        noise = draw(tuple(clean.shape))
        if clean.is_complex():
            noise = torch.complex(noise, draw(tuple(clean.shape)))
        y = H.seen(clean + sigma_y * noise)[0]
        return Measurement(y, text, sigma_y, dict(arrays), H.signal_shape, self.name)

    def job(self, source: Path, said: Mapping[str, Any]) -> Job:
        """What a file holds, and how its restoration is written.

        Args:
            source: The file.
            said: What the domain's command says by options, by their names.

        Raises:
            HDaggerError: The file cannot be read, or what is said does not fit it.
        """
        raise SettingError(f"Wanted a domain whose files can be listed, but got {self.name}.")

    def located(self, said: Mapping[str, Any], place: Callable[[str], Path]) -> dict[str, Any]:
        """What a job is told by someone who sends files along: each name is where its file lies.

        Args:
            said: As for :meth:`job`.
            place: From a name to the file; refuses a name that was not sent.
        """
        return {
            name: str(place(str(value))) if name in self.named else value
            for name, value in said.items()
        }

    def look(self, source: Path) -> tuple[Job | None, str]:
        """What a file tells by itself: its job, and what has to be said first, empty for nothing.

        Raises:
            FileError: It cannot be read.
        """
        try:
            return self.job(source, {}), ""
        except SettingError as error:
            return None, str(error)

    def pixels_in(self, source: Path) -> int | None:
        """How many pixels a picture has, told without unpacking it; None for another file.

        Raises:
            FileError: It cannot be read.
        """
        return None

    def spelled(self, measurement: Measurement) -> Measurement:
        """The same measurement with as much as can be said in its text, and fewer arrays."""
        return measurement

    def asked(self, text: str) -> str:
        """A text form as a command takes it, FILE where it takes a file that is not known."""
        return text

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        """The shape of the signals that a check simulates, given a side if one is asked for.

        Raises:
            SettingError: There are no such signals.
        """
        raise SettingError(f"Wanted a domain that can be checked, but {self.name} cannot be yet.")

    def with_files(self, text: str) -> tuple[str, dict[str, Tensor]]:
        """A text form without the names of files, and the arrays that those files hold.

        Raises:
            HDaggerError: A file cannot be read.
        """
        return text, {}

    def arrays(
        self, text: str, signal_shape: tuple[int, ...], given: Mapping[str, Tensor], seed: int
    ) -> dict[str, Tensor]:
        """All that an operator needs beyond its text, for a check: what is given, and some of
        what is not."""
        return dict(given)

    def truths(
        self,
        folder: Path,
        signal_shape: tuple[int, ...],
        count: int,
        seed: int,
        in_turn: bool = False,
    ) -> Tensor:
        """Clean signals from a folder of files, ``(count, *signal)``.

        Args:
            folder: Where the files are.
            signal_shape: Of one.
            count: How many.
            seed: Which ones.
            in_turn: Whether each file gives as many, as it is and its middle first, on which a
                prior is calibrated; else they lie anywhere, and may be shrunk.

        Raises:
            FileError: There are none.
        """
        raise SettingError(f"Wanted a domain with files to check on, but {self.name} has none.")

    def basis(self, signal_shape: tuple[int, ...]) -> Bands | None:
        """In what a prior's errors are about independent; None where nobody has looked."""
        return None

    def inside(self, x: Tensor) -> Tensor | None:
        """True for the elements of a clean signal that belong to what was measured, and not to
        the empty air or sky around it, ``(*signal)``: intervals are judged there. None for all."""
        return None

    def activity(self, x: Tensor) -> Tensor | None:
        """How much goes on around each element of a signal, ``(*signal)``; None if that says
        nothing in this domain."""
        return None

    def bands(self, x: Tensor) -> Mapping[str, Sequence[Tensor]]:
        """Signals, ``(rows, *signal)``, taken apart by an orthonormal transform.

        Returns:
            Name of a part, such as a colour -> its coefficients in each band of frequencies,
            from coarse to fine, ``(rows, count)`` each; nothing where the domain has none.
        """
        return {}

    def texture(self, x: Tensor) -> Tensor | None:
        """What of signals, ``(rows, *signal)``, is fine texture; None for none."""
        return None

    def psnr(self, x: Tensor, truth: Tensor) -> float | None:
        """How close a signal is to the truth, in dB; None where there is no whole range."""
        return None

    def page(self, saved: Saved) -> Page:
        """The report on what a restoration left.

        Raises:
            FileError: Something that it shows is not there any more.
        """
        raise SettingError(f"Wanted a domain with a report, but {self.name} has none.")

    def draws(self, folder: Path) -> PosteriorSamples:
        """The samples of a restoration, as signals of the domain.

        Raises:
            FileError: They are not there.
        """
        return PosteriorSamples.load(folder / SAMPLES)

    def truth(self, path: Path, shape: tuple[int, ...]) -> Tensor:
        """What was measured, as a signal of this shape, from a file.

        Raises:
            HDaggerError: The file holds another one.
        """
        raise SettingError(f"Wanted a domain whose truths are in files, but got {self.name}.")

    def brightness(self, x: Tensor) -> float:
        """The value up to which a signal like this one is drawn; 1 where all have one range."""
        return 1.0

    def drawn(self, x: Tensor, top: float) -> Image.Image:
        """A signal as a picture, on a scale up to ``top``."""
        raise SettingError(f"Wanted a domain whose signals can be drawn, but got {self.name}.")

    def spread(self, draws: Tensor) -> Tensor:
        """How far samples vary, where, ``(rows, columns)``."""
        raise SettingError(f"Wanted a domain whose signals can be drawn, but got {self.name}.")

    def deviation(self, value: float) -> str:
        """A standard deviation in the units that people read."""
        return f"{value:.3g}"


DOMAINS: Registry[Domain] = signals.DOMAINS
"""Name -> the domain."""


@dataclass(frozen=True)
class Before:
    """What the answer is looked at beside: what one had without it, of the same frame.

    Attributes:
        name: What it is, in words.
        x: As :meth:`Domain.drawn` takes it.
    """

    name: str
    x: Tensor


def write_pictures(
    folder: Path,
    samples: PosteriorSamples,
    before: Before | None = None,
    write: Callable[[Path, Tensor], None] | None = None,
) -> dict[str, str]:
    """Writes what anybody can look at, the page too.

    *mean.png* is the answer and *samples/\\*.png* what else it may have been, *std.png* is where
    several samples disagree, and *given.png* what was before, all of them on one scale.

    Args:
        folder: Where to.
        samples: Signals of the domain that their provenance names.
        before: What the answer is looked at beside; None for nothing.
        write: Writes a signal; by default as :meth:`Domain.drawn` shows it.

    Returns:
        What the pictures show, for captions: ``scale`` of signals, ``spread`` of *std.png*, and
        ``before``; without those that are not there.
    """
    domain, draws = DOMAINS[samples.provenance["domain"]], samples.draws
    top = domain.brightness(samples.mean)

    def write_drawn(path: Path, x: Tensor) -> None:
        domain.drawn(x, top).save(path)

    write, told = write or write_drawn, {"scale": domain.scale}
    write(folder / MEAN, samples.mean)
    (folder / "samples").mkdir()
    for k, draw in enumerate(draws):
        write(folder / "samples" / f"{k:03}.png", draw)
    if len(draws) > 1:
        spread = domain.spread(draws)
        pale = max(nearly_largest(spread), ROUNDING * top)
        heat_map(spread, pale).save(folder / STD)
        told["spread"] = f"black 0, pale {domain.deviation(pale)}"
    if before is not None:
        write_drawn(folder / GIVEN, before.x)
        told["before"] = before.name
    return told


def write_saved(saved: Saved, page_of: Callable[[Saved], Page]) -> None:
    """Writes the summary, the recipe and the report of a restoration into its folder.

    Args:
        saved: The restoration; what else the report is made of lies in the folder already.
        page_of: The report of its domain.
    """
    (saved.folder / SUMMARY).write_text(json.dumps(saved.summary, indent=2) + "\n")
    (saved.folder / RECIPE).write_text(saved.recipe)
    write_page(saved.folder / REPORT, page_of(saved))


def write_report(folder: Path) -> Path:
    """Makes the report of a restoration again, from what lies in its folder; returns the page.

    Raises:
        FileError: It is no such folder, or something in it is missing or broken.
    """
    saved = Saved.read(folder)
    DOMAINS.check(saved.domain)
    try:
        page = DOMAINS[saved.domain].page(saved)
    except HDaggerError:
        raise
    except Exception as error:  # whatever numbers and samples that were changed make it raise
        raise FileError(
            f"Wanted a restoration whose report can be made again, but {folder} lacks something "
            f"({brief(error)}). Restore again."
        ) from error
    with whole_file(folder / REPORT) as path:
        write_page(path, page)
    return folder / REPORT
