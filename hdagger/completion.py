"""The words that a shell completes. Names alone are looked at, so that it is quick."""

from .priors import cards
from .recipe import CHOSEN
from .samplers import METHODS
from .signals import DOMAINS


def methods(incomplete: str) -> list[str]:
    """Methods, and those that are left to the problem."""
    return _begun(incomplete, [*CHOSEN, *METHODS])


def priors(incomplete: str) -> list[str]:
    """Priors that are bundled or were added."""
    folders = cards.BUNDLED, cards.home()
    return _begun(incomplete, [card.stem for folder in folders for card in folder.glob("*.toml")])


def domains(incomplete: str) -> list[str]:
    """Kinds of signals."""
    return _begun(incomplete, [*DOMAINS])


def _begun(incomplete: str, names: list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
