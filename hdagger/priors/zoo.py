"""The priors that come with hdagger, and those a user has trained, each with its card."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError, SettingError
from .base import Denoiser
from .tiles import Tiled
from .unet import UNetDenoiser

BUNDLED = Path(__file__).with_name("bundled")


@dataclass(frozen=True)
class Card:
    """What is known of a prior.

    Attributes:
        name: What ``--prior`` calls it.
        weights: Its file.
        sha256: Of the file, checked at every load; empty for a user's own file.
        subject: What its signals are.
        channels: Channels of a signal.
        sigma_min: The lowest noise level that it was trained on.
        sigma_max: The highest.
        data_variance: Variance of one element of a clean signal.
        licence: Of the weights.
        data: What it was trained on, with licences.
        recipe: How it was trained, and how long.
        evaluation: Held-out figures, and the command that made them.
    """

    name: str
    weights: Path
    sha256: str = ""
    subject: str = "pictures in [-1, 1]"
    channels: int = 3
    sigma_min: float = 0.002
    sigma_max: float = 100.0
    data_variance: float = 0.25
    licence: str = ""
    data: str = ""
    recipe: str = ""
    evaluation: str = ""


def cards() -> list[Card]:
    """The cards of the bundled priors."""
    return [_read(path) for path in sorted(BUNDLED.glob("*.toml"))]


def card(name: str) -> Card:
    """The card of a bundled prior, or of a file that ``hdagger train`` wrote.

    Raises:
        SettingError: There is no prior of this name.
    """
    bundled = {card.name: card for card in cards()}
    if name in bundled:
        return bundled[name]
    if name.endswith(".safetensors"):
        return Card(name, Path(name))
    raise SettingError(
        f"Wanted a prior, {' or '.join(bundled)}, or a .safetensors file, but got {name!r}. "
        "See hdagger priors."
    )


def load(card: Card, device: str = "cpu") -> Denoiser:
    """The denoiser of a card, for pictures of any size.

    Raises:
        FileError: The file is missing, is no prior, or is not the one of the card.
    """
    return Tiled(UNetDenoiser.load(checked_weights(card)).to(device))


def checked_weights(card: Card) -> Path:
    """The file with the weights of a card.

    Raises:
        FileError: It is missing, or is not the one of the card.
    """
    if not card.weights.is_file():
        raise FileError(
            f"Wanted the weights of {card.name}, but {card.weights} does not exist. "
            "Check the name, or install hdagger again."
        )
    if card.sha256:
        found = hashlib.sha256(card.weights.read_bytes()).hexdigest()
        if found != card.sha256:
            raise FileError(
                f"Wanted weights with sha256 {card.sha256[:12]}..., as the card of {card.name} "
                f"says, but {card.weights} has {found[:12]}.... Install hdagger again."
            )
    return card.weights


def _read(path: Path) -> Card:
    table = tomllib.loads(path.read_text())
    return Card(**table | {"name": path.stem, "weights": path.with_suffix(".safetensors")})
