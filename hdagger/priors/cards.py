"""What is known of each prior: its card, which is read without its network.

A prior is two files of one name: its card, ``NAME.toml``, and its weights, ``NAME.safetensors``.
Bundled ones lie in the package, a user's own in ``hdagger/priors`` under ``XDG_DATA_HOME``
(``~/.local/share`` where that is not set).
"""

import json
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from ..errors import FileError, SettingError
from ..files import brief, check_file, check_name, toml_string, user_data

BUNDLED = Path(__file__).with_name("bundled")
LARGEST_CARD = 100_000

FIELD = "field"
"""What stands for a prior that is a Gaussian random field, whose denoiser is exact."""

WEIGHTS = ".safetensors"
"""How the name of a file of weights ends, which needs no card."""


def check_field(folder: Path | None) -> None:
    """Refuses a folder of signals to check ``FIELD`` by."""
    if folder is not None:
        raise SettingError(
            "Wanted the field's own draws, for which its denoiser is exact, but got a folder. "
            "Try --prior photo."
        )


@dataclass(frozen=True)
class Card:
    """What is known of a prior.

    Attributes:
        name: What ``--prior`` calls it.
        weights: Its file.
        sha256: Of the file, checked at every load; empty for a user's own file.
        subject: What its signals are.
        channels: Channels of a signal.
        size: Side of the pictures that it was trained on; 0 if it takes any.
        classes: How many labels it knows.
        labels: What the labels are called, in the order of their numbers; empty if they have
            no names.
        units: What one unit of a signal is, where that is not told by the kind of signal.
        sigma_min: The lowest noise level that it was trained on.
        sigma_max: The highest.
        data_variance: Variance of one element of a clean signal.
        classifier: Name of the card of a classifier that can guide it; empty for none.
        licence: Of the weights.
        unfit_for: What it must not be used for; empty where nobody has said.
        source: Where the weights come from.
        data: What it was trained on, with licences.
        recipe: How it was trained, and how long.
        evaluation: Held-out figures, and the command that made them.
    """

    name: str
    weights: Path
    sha256: str = ""
    subject: str = "pictures in [-1, 1]"
    channels: int = 3
    size: int = 0
    classes: int = 0
    labels: list[str] = field(default_factory=list)
    units: str = ""
    sigma_min: float = 0.002
    sigma_max: float = 100.0
    data_variance: float = 0.25
    classifier: str = ""
    licence: str = ""
    unfit_for: str = ""
    source: str = ""
    data: str = ""
    recipe: str = ""
    evaluation: str = ""

    @property
    def levels(self) -> tuple[float, float]:
        """The noise levels that it was trained on, from the lowest to the highest."""
        return self.sigma_min, self.sigma_max

    def to_toml(self) -> str:
        """What the card's file says: the name is the file's, and so is that of the weights."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        return "".join(
            f"{name} = {toml_string(value) if isinstance(value, str) else json.dumps(value)}\n"
            for name, value in settings.items()
            if name not in ("name", "weights") and value not in ("", (), [])
        )

    def checked(self, label: int | str) -> int:
        """The number of a label that the prior can be told, or be guided to.

        Raises:
            SettingError: It knows no labels, or not this one.
        """
        if not self.classes and not self.classifier:
            raise SettingError(
                f"Wanted a prior with classes for label {label}, but {self.name} has none, and no "
                "classifier. Leave --label out."
            )
        label = self.number(label)
        if not 0 <= label < (self.classes or label + 1):
            raise SettingError(
                f"Wanted a label of 0 to {self.classes - 1}, but got {label}. See hdagger priors."
            )
        return label

    def number(self, label: int | str) -> int:
        """The number of a label, which may be given by its name.

        Raises:
            SettingError: No label is called so.
        """
        if isinstance(label, int):
            return label
        if label not in self.labels:
            known = ", ".join(self.labels) or f"a number below {self.classes}"
            raise SettingError(
                f"Wanted a label of {self.name}, one of {known}, but got {label!r}. "
                "Leave it out for any."
            )
        return self.labels.index(label)


def home() -> Path:
    """The user's own folder of priors."""
    return user_data() / "priors"


def known() -> list[Card]:
    """The cards of the bundled priors, then of the user's own."""
    return [_read(path) for folder in (BUNDLED, home()) for path in sorted(folder.glob("*.toml"))]


def named(name: str) -> Card:
    """The card of a prior that is bundled or was added.

    Raises:
        SettingError: There is no prior of this name, or it is no line of plain text.
        FileError: Its card is broken.
    """
    check_name(name, "a prior")
    for folder in (BUNDLED, home()):
        if re.fullmatch(r"[\w.-]+", name) and (folder / f"{name}.toml").is_file():
            return _read(folder / f"{name}.toml")
    raise SettingError(
        f"Wanted a prior, {' or '.join(card.name for card in known())}, or a {WEIGHTS} file, but "
        f"got {brief(repr(name))}. See hdagger priors."
    )


def check_new(name: str) -> None:
    """Refuses what a prior that is added cannot be called.

    Raises:
        SettingError: It is no plain name, or another prior has it.
    """
    if not re.fullmatch(r"\w[\w.-]{,99}", name) or name.endswith(WEIGHTS):
        raise SettingError(
            f"Wanted a name of letters, digits, dots and dashes, but got {name!r}. Try my-prior."
        )
    if name in {card.name for card in known()}:
        raise SettingError(
            f"Wanted a new name, but there is a prior {name} already. Choose another, or remove "
            f"{home() / name}.toml and {WEIGHTS}."
        )


def checked_source(source: str, trusted: bool) -> Path:
    """Where a checkpoint lies: a file, a folder, or no path at all but a hub id.

    Args:
        source: As it was said.
        trusted: Whether the code in a pickle may be run.

    Raises:
        SettingError: It is a pickle that nobody trusts.
        FileError: It is not there, and is no hub id.
    """
    check_name(source, "a source")
    path = Path(source).expanduser()
    if path.suffix == ".pkl" and not trusted:
        raise SettingError(
            f"Wanted weights without code, but {path} is a pickle, which can do anything. If you "
            "trust it: --trust-pickle CLONE, the folder of the authors' code."
        )
    if not path.is_dir() and not is_hub_id(source):
        check_file(path, "a checkpoint")
    return path


def is_hub_id(source: str) -> bool:
    """Whether a source that lies nowhere is ``owner/name`` on a hub."""
    path = Path(source).expanduser()
    plain = re.fullmatch(r"[\w.-]+/[\w.-]+", source)
    return not path.exists() and plain is not None and not path.suffix


def _read(path: Path) -> Card:
    try:
        if path.stat().st_size > LARGEST_CARD:
            raise ValueError("it is too long")
        table = tomllib.loads(path.read_text())
        kinds: dict[str, Any] = {f.name: f.type for f in fields(Card)}
        for name, value in table.items():
            wanted = get_origin(kinds.get(name)) or kinds.get(name)
            right = isinstance(value, int | float if wanted is float else wanted or str)
            if not right or isinstance(value, bool):
                raise ValueError(f"{name} is {brief(repr(value), 40)}")
        return Card(**table | {"name": path.stem, "weights": path.with_suffix(".safetensors")})
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise FileError(
            f"Wanted the card of a prior, but {path} is not one ({brief(error)}). "
            "Remove it, and add the prior again."
        ) from error
