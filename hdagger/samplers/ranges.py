"""What a setting may be, as a note on its type: ``eta: Annotated[float, Within(0, 1, ...)]``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from ..errors import SettingError


@dataclass(frozen=True)
class Within:
    """A number in [low, high].

    Attributes:
        low: The least.
        high: The most.
        what: What it is, in words.
        mend: One to try.
    """

    low: float
    high: float
    what: str
    mend: float

    def check(self, name: str, value: Any) -> None:
        """Raises SettingError where a setting is outside; None is left open."""
        if value is not None and not self.low <= value <= self.high:
            raise SettingError(
                f"{name} is {self.what} in [{self.low:g}, {self.high:g}], but got {value}. "
                f"Try {self.mend:g}."
            )


@dataclass(frozen=True)
class AboveZero:
    """A number above 0.

    Attributes:
        mend: One to try.
    """

    mend: float = 1

    def check(self, name: str, value: Any) -> None:
        """Raises SettingError where a setting is 0 or less; None is left open."""
        if value is not None and not value > 0:
            raise SettingError(f"{name} is above 0, but got {value}. Try {self.mend:g}.")


@dataclass(frozen=True)
class Scheduled:
    """The text of a :class:`Schedule`."""

    def check(self, name: str, value: str) -> None:
        """Raises SettingError where it is none."""
        Schedule(value)


@dataclass(frozen=True)
class Schedule:
    """At which steps to project.

    Attributes:
        text: ``all``; ``last:K``, which PhysDiff calls ``end:K``; ``start:K``; ``uniform:K``,
            whose last projection is at the last step; ``below:SIGMA``, where the noise is at
            most that.

    Example:
        >>> Schedule("last:4").fires(index=16, count=20, sigma=0.1)
        True
    """

    text: str = "all"

    def __post_init__(self) -> None:
        try:
            self.fires(0, 1, 0.0)
        except (ValueError, KeyError) as error:
            raise SettingError(
                "A schedule is all, last:K (or end:K), start:K, uniform:K or below:SIGMA, but got "
                f"{self.text!r}. Try last:4."
            ) from error

    def fires(self, index: int, count: int, sigma: float) -> bool:
        """Whether step ``index`` of ``count``, at the level ``sigma``, is one."""
        name, _, value = self.text.partition(":")
        match name:
            case "all" if not value:
                return True
            case "last" | "end":
                return index >= count - int(value)
            case "start":
                return index < int(value)
            case "uniform":
                return (index + 1) * int(value) // count > index * int(value) // count
            case "below":
                return sigma <= float(value)
        raise KeyError(name)


Range = Within | AboveZero | Scheduled

Share = Annotated[float, Within(0, 1, "a share of the noise", 1)]


def ranges_of(kind: Any) -> Iterator[Range]:
    """What is noted on a type."""
    if get_origin(kind) is Annotated:
        yield from (note for note in get_args(kind)[1:] if isinstance(note, Range))
