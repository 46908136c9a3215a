"""What ``hdagger check`` found of a method with a prior, and what may be told of it elsewhere.

A verdict belongs to its :class:`Subject`: the weights, the method with all its settings and
steps, and what was measured. Where all of that is the same it is told as it is; where only the
numbers of the measurement or of the steps are a little off, it is told as a near one, with what
is off. Verdicts on bundled priors come with hdagger and are never written to; a user's own are
in the user's data folder.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import FileError, SettingError
from .files import brief, user_data, whole_file, whole_folder

MOST_BYTES = 1_000_000
SHIPPED = Path(__file__).parent / "priors" / "bundled"

DRAWN = "draws of the prior"
"""Truths that the prior made itself, which show nothing of how true the prior is."""

APART = 1.5
"""Numbers of a measurement up to this factor apart are near each other."""

STEPS_APART = 2
"""Numbers of steps up to this factor apart are near each other."""


@dataclass(frozen=True)
class Subject:
    """What a verdict is about.

    Attributes:
        prior_sha256: Of the weights.
        domain: The kind of signal.
        operator: What was measured, in text form.
        sigma_y: Standard deviation of the noise on the data.
        method: Name of the sampler.
        settings: Every setting of it.
        steps: Noise levels that it walked down.
        arrays_sha256: Of what the operator needs beyond its text, such as a mask; empty for
            nothing.
        label: The class that was drawn towards; None for any.
        guidance: How far.
        covariance_sha256: Of the prior's covariances, if the method draws from them.
    """

    prior_sha256: str
    domain: str
    operator: str
    sigma_y: float
    method: str
    settings: Mapping[str, str | int | float | bool]
    steps: int
    arrays_sha256: str = ""
    label: int | None = None
    guidance: float = 1.0
    covariance_sha256: str = ""

    def is_same(self, other: "Subject") -> bool:
        """Whether what was found of one holds for the other as it stands."""
        alike = replace(other, sigma_y=self.sigma_y)
        return self == alike and math.isclose(self.sigma_y, other.sigma_y, rel_tol=1e-3)

    def is_near(self, other: "Subject") -> bool:
        """Whether what was found of one says something of the other.

        The prior, the method and all its settings are the same, and so are the operator's words;
        their numbers, the noise and the steps are not far off.
        """
        return (
            self.is_by_the_same(other)
            and _taken_apart(self.operator)[0] == _taken_apart(other.operator)[0]
            and all(_within(a, b, APART) for a, b in self._pairs(other))
            and _within(self.steps, other.steps, STEPS_APART)
        )

    def is_by_the_same(self, other: "Subject") -> bool:
        """Whether prior, method and settings are the same, whatever was measured."""
        return self == replace(
            other,
            operator=self.operator,
            sigma_y=self.sigma_y,
            steps=self.steps,
            arrays_sha256=self.arrays_sha256,
        )

    def distance(self, other: "Subject") -> float:
        """How far off the numbers are: the logarithms of their ratios, summed.

        Other arrays count as a number that is barely near.
        """
        pairs = [*self._pairs(other), (self.steps, other.steps)]
        off = math.log(APART) * (self.arrays_sha256 != other.arrays_sha256)
        return off + sum(
            abs(math.log(abs(a / b))) if a and b else math.inf for a, b in pairs if a != b
        )

    def _pairs(self, other: "Subject") -> list[tuple[float, float]]:
        """The noise of both, and the numbers of both operators."""
        numbers, others = (_taken_apart(each.operator)[1] for each in (self, other))
        return [(self.sigma_y, other.sigma_y), *zip(numbers, others, strict=False)]

    def apart(self, other: "Subject") -> str:
        """What is not the same in a near one, in words."""
        said = []
        if self.operator != other.operator:
            said.append(f"{other.operator}, not {self.operator}")
        if self.arrays_sha256 != other.arrays_sha256:
            said.append("other arrays, such as the mask")
        if not math.isclose(self.sigma_y, other.sigma_y, rel_tol=1e-3):
            said.append(f"sigma_y {other.sigma_y:.4g}, not {self.sigma_y:.4g}")
        if self.steps != other.steps:
            said.append(f"{other.steps} steps, not {self.steps}")
        return "; ".join(said)


def _taken_apart(operator: str) -> tuple[str, list[float]]:
    """The words of a text form, a # for every number, and the numbers."""
    number = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w.:])")
    words = "|".join(part.strip() for part in operator.split("|"))
    return number.sub("#", words), [float(found) for found in number.findall(words)]


def _within(a: float, b: float, factor: float) -> bool:
    low, high = sorted((abs(a), abs(b)))
    return a * b >= 0 and high <= factor * low


@dataclass(frozen=True)
class Verdict:
    """A check, and what came out.

    Attributes:
        subject: What was checked.
        truths: What was measured: ``"crops of pictures"``, or ``DRAWN``.
        shape: Of a truth.
        simulations: How many were measured.
        draws: Samples of each.
        coverage_90: How often the truth lay in the central 90 % interval of its element.
        chi2_dof: |y - H x|^2 over what the noise explains; None for exact data.
        words: The finding as one line.
        factors: By which intervals from 2, 3, ... samples are scaled to hold by construction, None
            where no factor does it: see :mod:`hdagger.conformal`; empty if that was not asked for.
    """

    subject: Subject
    truths: str
    shape: tuple[int, ...]
    simulations: int
    draws: int
    coverage_90: float
    chi2_dof: float | None
    words: str
    factors: tuple[float | None, ...] = ()

    def __str__(self) -> str:
        s, size = self.subject, " x ".join(map(str, self.shape))
        return (
            f"{s.method} in {s.steps} steps on {self.simulations} {self.truths}, {size} "
            f"({s.operator}, sigma_y {s.sigma_y:.4g}): {self.words}"
        )

    def is_like(self, other: "Verdict") -> bool:
        """Whether both are answers to one question: the same subject, truths and shape."""
        same = self.truths == other.truths and self.shape == other.shape
        return same and self.subject.is_same(other.subject)

    def is_weaker(self, other: "Verdict") -> bool:
        """Whether it rests on fewer truths, or on fewer samples of them, or promises less."""
        return (
            self.simulations < other.simulations
            or self.draws < other.draws
            or len(self.factors) < len(other.factors)
        )

    @property
    def weight(self) -> tuple[bool, bool, int, int]:
        """What to tell first: truths from outside of the prior, a promise, then many of them."""
        size = self.draws * math.prod(self.shape)
        return self.truths != DRAWN, bool(self.factors), self.simulations, size

    @classmethod
    def of(cls, row: Any) -> "Verdict":
        """From what ``asdict`` made of one.

        Raises:
            ValueError: It made something else.
        """
        found = _table(row, cls, "factors")
        about = _table(found["subject"], Subject, "arrays_sha256", "label", "guidance")
        shape, settings = found["shape"], about["settings"]
        factors = found.get("factors", [])
        if not all(isinstance(each, list) for each in (shape, factors)):
            raise ValueError("no shape, or no factors")
        if not isinstance(settings, dict):
            raise ValueError("no settings")
        texts = ("prior_sha256", "domain", "operator", "method", "arrays_sha256")
        parts = (
            *(_is_text(about.get(name, "")) for name in texts),
            *(_is_text(found[name]) for name in ("truths", "words")),
            *(_is_text(n) and (_is_text(v) or _is_real(v)) for n, v in settings.items()),
            *(
                _is_count(n)
                for n in (about["steps"], found["simulations"], found["draws"], *shape)
            ),
            *(_is_real(about.get(name, 0)) for name in ("sigma_y", "guidance")),
            about.get("label") is None or _is_count(about["label"] + 1),
            found["chi2_dof"] is None or _is_real(found["chi2_dof"]),
            *(f is None or (_is_real(f) and f > 0) for f in factors),
            _is_real(found["coverage_90"]) and 0 <= found["coverage_90"] <= 1,
        )
        if not all(parts):
            raise ValueError("a value is out of its range")
        told = {"subject": Subject(**about), "shape": tuple(shape), "factors": tuple(factors)}
        return cls(**found | told)


def _table(row: Any, kind: type, *optional: str) -> dict[str, Any]:
    """A table with just the fields of a class."""
    names = {entry.name for entry in fields(kind)}
    if not isinstance(row, dict) or row.keys() - names or names - row.keys() - {*optional}:
        raise ValueError(f"not the fields of a {kind.__name__.lower()}")
    return row


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 1000 and value.isprintable()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e30


@dataclass(frozen=True)
class Findings:
    """What is known of a subject.

    Attributes:
        subject: What was asked about.
        same: The verdict on it that weighs most; None for none.
        near: Verdicts on near ones, the nearest first.
        others: Verdicts on the same prior and method where something else was measured, the
            nearest in noise first.
    """

    subject: Subject
    same: Verdict | None = None
    near: Sequence[Verdict] = ()
    others: Sequence[Verdict] = ()

    def words(self, how_to_check: str) -> str:
        """One or two sentences.

        Args:
            how_to_check: The command that checks just this.
        """
        if self.same is not None:
            return f"Checked: {self.same}."
        advice = f"{how_to_check} does it."
        if self.near:
            apart = self.subject.apart(self.near[0].subject)
            return (
                f"The error bars of just this have not been checked; near to it ({apart}): "
                f"{self.near[0]}. {advice}"
            )
        if self.others:
            nearest = self.others[0].subject
            return (
                "The error bars of this have not been checked; what has been, of this method and "
                f"prior, is {nearest.operator} at sigma_y {nearest.sigma_y:.4g}. {advice}"
            )
        return f"The error bars of this have not been checked. {advice}"


def found_on(subject: Subject) -> Findings:
    """What the verdicts that are kept say of a subject.

    Raises:
        FileError: A file of verdicts holds something else.
    """
    kept = sorted(_kept(subject.prior_sha256), key=lambda verdict: verdict.weight, reverse=True)
    same = [verdict for verdict in kept if subject.is_same(verdict.subject)]
    by_it = [v for v in kept if v not in same and subject.is_by_the_same(v.subject)]
    by_it.sort(key=lambda verdict: subject.distance(verdict.subject))
    near = [verdict for verdict in by_it if subject.is_near(verdict.subject)]
    others = [verdict for verdict in by_it if verdict not in near]
    return Findings(subject, same[0] if same else None, tuple(near), tuple(others))


def check_place(verdict: Verdict) -> None:
    """Refuses a verdict that could not be stored, whatever comes out.

    Raises:
        SettingError: One that rests on more is there.
        FileError: The user's data folder cannot be written, or its file holds something else.
    """
    for other in _kept(verdict.subject.prior_sha256):
        if verdict.is_like(other) and verdict.is_weaker(other):
            raise SettingError(
                f"Wanted a check that rests on no less than the one that is kept of the same, "
                f"{other.simulations} simulations of {other.draws} draws, but got "
                f"{verdict.simulations} of {verdict.draws}. "
                f"Try --simulations {other.simulations} --draws {other.draws}"
                f"{' --conformal' if other.factors else ''}."
            )
    folder = verdict_file(verdict.subject.prior_sha256).parent
    try:
        with whole_folder(folder):
            pass
    except FileError as error:
        raise FileError(
            f"Wanted to keep a verdict in {folder}, but that cannot be written. "
            "Set XDG_DATA_HOME to a folder that can, or leave --store out."
        ) from error


def store(verdict: Verdict) -> Path:
    """Keeps a verdict for the reports of ``restore``, in the place of an earlier one like it.

    Returns:
        The file.

    Raises:
        SettingError: One that rests on more is there.
        FileError: It cannot be written, or holds something else.
    """
    check_place(verdict)
    path = verdict_file(verdict.subject.prior_sha256)
    others = [other for other in _read(path) if not verdict.is_like(other)]
    rows = [json.dumps(asdict(each), allow_nan=False) for each in (*others, verdict)]
    with whole_file(path) as partial:
        partial.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
    return path


def verdict_file(prior_sha256: str) -> Path:
    """Where the user's verdicts on the weights with this SHA-256 are."""
    assert re.fullmatch(r"\w+", prior_sha256)
    return user_data() / "verdicts" / f"{prior_sha256}.json"


def _kept(prior_sha256: str) -> list[Verdict]:
    files = [verdict_file(prior_sha256), *sorted(SHIPPED.glob("*.verdicts.json"))]
    every = [verdict for path in files for verdict in _read(path)]
    return [verdict for verdict in every if verdict.subject.prior_sha256 == prior_sha256]


def _read(path: Path) -> list[Verdict]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        rows = json.loads(content)
        if not isinstance(rows, list):
            raise ValueError("no list")
        return [Verdict.of(row) for row in rows]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise FileError(
            f"Wanted verdicts of hdagger check, but {path} holds something else ({brief(error)}). "
            "Move it away."
        ) from error
