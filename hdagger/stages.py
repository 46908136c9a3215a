"""The text form of operators: words joined by ``|``, the first applied first.

    blur:2 | mask           first a blur, then holes

Names alone are looked at here, so that a wrong one is refused at once.
"""

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal

from .errors import SettingError

GROUP = "hdagger.operators"
"""The entry points by which packages add words."""

Boundary = Literal["unknown", "mirror", "circular"]
"""What lies around a signal that was blurred."""


@dataclass(frozen=True)
class Stage:
    """One word of a text form, ``name:argument``."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name


def added_words() -> list[str]:
    """The words that other packages add."""
    return [entry.name for entry in entry_points(group=GROUP)]


def parse(text: str, words: Collection[str]) -> tuple[Stage, ...]:
    """The stages of a text form; their ``str``, joined by ``|``, is the text again.

    Raises:
        SettingError: A word names no operator.
    """
    stages = []
    for place, word in enumerate(text.split("|"), 1):
        name, _, argument = (part.strip() for part in word.partition(":"))
        if name not in words:
            raise SettingError(
                f"Wanted an operator, one of {', '.join(words)}, but got {name!r}, word {place} "
                f"of {text!r}. Join several with |, as in average:4 | mask."
            )
        stages.append(Stage(name, argument))
    return tuple(stages)
