"""What a planted bug is: see scripts/mutations.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A bug.

    Attributes:
        name: What it is.
        file: Where, under ``hdagger/``.
        right: The text that is right, found exactly once.
        wrong: What takes its place.
        tests: What should turn red, as pytest names it.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str
