"""How to draw samples, in names and numbers: what a command line or a TOML file can say.

Light to import, so that what is wrong with a recipe is said at once.
:func:`hdagger.restoration.restore` turns it into objects.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import FileError, SettingError
from .files import brief, check_file, toml_string
from .samplers import METHODS, Plain
from .samplers.declared import declared

if TYPE_CHECKING:
    from .samplers.base import Sampler

KINDS: Mapping[str, Any] = {
    "settings": dict,
    "steps": int,
    "samples": int,
    "seed": int,
    "label": int | str,
    "guidance": int | float,
    "save_memory": bool,
}
"""Of the values in a file; any other is a text."""


CHOSEN = ("auto", "quick")
"""Methods that a recipe leaves to the problem: error bars that hold, or one picture at once."""


@dataclass(frozen=True)
class Recipe:
    """How to draw samples.

    Attributes:
        method: A name in ``METHODS``; ``"auto"`` is drawn where the prior's covariances were
            measured and the operator is linear, else what ``"quick"`` is: cells where the data
            are rounded (a JPEG), ddrm where the operator has a singular value decomposition,
            pigdm where it has a pseudoinverse, else dps.
        settings: Of the method, beyond its defaults.
        steps: Noise levels to walk down; 0 for the method's own number.
        samples: How many to draw; the mean of 8 is half a decibel from that of many.
        seed: Of the noise.
        prior: A prior that is bundled or was added, or a .safetensors file.
        label: The class to restore towards, by number or by name, for a prior with classes;
            None for any.
        guidance: How far: p(x) p(label | x)^guidance.
        save_memory: Compute a large network's blocks twice under a gradient, and keep less.
    """

    method: str = "auto"
    settings: Mapping[str, Plain] = field(default_factory=dict)
    steps: int = 0
    samples: int = 8
    seed: int = 0
    prior: str = "photo"
    label: int | str | None = None
    guidance: float = 1.0
    save_memory: bool = False

    def __post_init__(self) -> None:
        if self.method not in CHOSEN:
            if self.method not in METHODS:
                raise SettingError(
                    f"Wanted a method, one of {', '.join((*CHOSEN, *METHODS))}, but got "
                    f"{self.method!r}. Leave it out for the best one."
                )
            if self.settings:
                if found := declared(self.method):
                    found.check(self.method, self.settings)
                self.sampler()
        elif self.settings:
            raise SettingError(
                f"Wanted a method to set {', '.join(self.settings)} of, but got {self.method}. "
                "Name one, as in --method ddrm."
            )
        for name, low, high, mend in (
            ("samples", 1, 1000, 8),
            ("steps", 0, 10_000, 20),
            ("seed", 0, 2**63 - 1, 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or value != int(value) or not low <= value <= high:
                raise SettingError(
                    f"Wanted {name}, a whole number from {low} to {high}, but got {value}. "
                    f"Try {mend}."
                )
        if not 0 <= self.guidance <= 100:
            raise SettingError(f"Wanted a guidance of 0 to 100, but got {self.guidance}. Try 1.")
        if self.guidance != 1 and self.label is None:
            raise SettingError(
                f"Wanted a label for a guidance of {self.guidance:g}, but got none. "
                "Say which class, as in --label 3."
            )

    def sampler(self) -> "Sampler[Any]":
        """The method with its settings; one that is left to the problem has none yet."""
        from .settings import with_settings

        return with_settings(METHODS[self.method], self.settings)

    def to_toml(self) -> str:
        """The recipe as TOML; :meth:`from_toml` gives it back."""
        said = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        settings = said.pop("settings")
        lines = [f"{name} = {plain(v)}" for name, v in said.items() if v is not None]
        lines += ["", "[settings]", *(f"{plain(n)} = {plain(v)}" for n, v in settings.items())]
        return "\n".join(lines if settings else lines[:-2]) + "\n"

    @classmethod
    def from_toml(cls, path: Path) -> "Recipe":
        """Reads what ``to_toml`` wrote; tables other than ``settings`` are not looked at.

        Raises:
            FileError: It is no TOML.
            SettingError: It names a setting that does not exist, or one out of range.
        """
        said = {
            name: value
            for name, value in read_toml(path, "a recipe").items()
            if name == "settings" or not isinstance(value, dict)
        }
        kinds = {entry.name: KINDS.get(entry.name, str) for entry in fields(cls)}
        for name, value in said.items():
            if name not in kinds:
                raise SettingError(
                    f"Wanted the settings {', '.join(kinds)}, but {path} has {name!r}. Remove it."
                )
            if not isinstance(value, kinds[name]) or isinstance(value, bool) != (
                kinds[name] is bool
            ):
                raise SettingError(
                    f"Wanted another kind of value for {name}, but {path} has {value!r}. Mend it."
                )
        return cls(**said)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file of at most a megabyte.

    Raises:
        FileError: It is missing, too long, or no TOML.
    """
    check_file(path, what)
    try:
        if path.stat().st_size > 1_000_000:
            raise ValueError("it is too long")
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise FileError(
            f"Wanted TOML of {what}, but {path} is not ({brief(error)}). Mend it."
        ) from error


def settings_said(words: Sequence[str]) -> dict[str, Plain]:
    """Settings as a command line has them: ``["eta=0.5", "solver=heun"]``.

    Raises:
        SettingError: One is not of this form.
    """
    settings: dict[str, Plain] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise SettingError(f"Wanted NAME=VALUE for --set, as in eta=0.5, but got {word!r}.")
        settings[name.strip()] = value.strip()
    return settings


def plain(value: Plain) -> str:
    """A word or a number as TOML has it."""
    return toml_string(value) if isinstance(value, str) else json.dumps(value)
