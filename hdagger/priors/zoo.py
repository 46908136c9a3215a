"""The priors that come with hdagger, and those a user has added or trained, each with its card.

A prior is two files of one name: its card, ``NAME.toml``, and its weights, ``NAME.safetensors``.
Bundled ones lie in the package, a user's own in ``hdagger/priors`` under ``XDG_DATA_HOME``
(``~/.local/share`` where that is not set).
"""

import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import FileError, HDaggerError, SettingError
from ..files import whole_folder
from ..verdicts import fingerprint
from . import adm, checkpoint, edm, huggingface, latent
from .adm import ADMClassifier
from .base import Denoiser, LabelledDenoiser
from .classes import Classifier, ClassifierFree, ClassifierGuided
from .classifier import NoisyClassifier
from .edm import ClonedDenoiser
from .huggingface import NetworkDenoiser
from .latent import LatentDenoiser
from .tiles import Tiled
from .unet import UNetDenoiser

BUNDLED = Path(__file__).with_name("bundled")
LARGEST_CARD = 100_000

PRIORS: dict[str, Callable[[Path], nn.Module]] = {
    "unet": UNetDenoiser.load,
    "unet2d": NetworkDenoiser.load,
    "latent": LatentDenoiser.load,
    "edm": ClonedDenoiser.load,
}
CLASSIFIERS: dict[str, Callable[[Path], Classifier]] = {
    "classifier": NoisyClassifier.load,
    "adm-classifier": ADMClassifier.load,
}


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
        sigma_min: The lowest noise level that it was trained on.
        sigma_max: The highest.
        data_variance: Variance of one element of a clean signal.
        classifier: Name of the card of a classifier that can guide it; empty for none.
        licence: Of the weights.
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
    sigma_min: float = 0.002
    sigma_max: float = 100.0
    data_variance: float = 0.25
    classifier: str = ""
    licence: str = ""
    source: str = ""
    data: str = ""
    recipe: str = ""
    evaluation: str = ""

    def to_toml(self) -> str:
        """What the card's file says: the name is the file's, and so is that of the weights."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        return "".join(
            f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
            for name, value in settings.items()
            if name not in ("name", "weights") and value != ""
        )


def home() -> Path:
    """The user's own folder of priors."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "hdagger" / "priors"


def cards() -> list[Card]:
    """The cards of the bundled priors, then of the user's own."""
    return [_read(path) for folder in (BUNDLED, home()) for path in sorted(folder.glob("*.toml"))]


def card(name: str) -> Card:
    """The card of a prior that is bundled or was added, or of a file of weights.

    Raises:
        SettingError: There is no prior of this name.
        FileError: Its card is broken.
    """
    if name.endswith(".safetensors"):
        _, build = checkpoint.read_kind(Path(name))
        said = {key: build[key] for key in ("channels", "classes") if key in build}
        return Card(name, Path(name), **said)
    for folder in (BUNDLED, home()):
        if re.fullmatch(r"[\w.-]+", name) and (folder / f"{name}.toml").is_file():
            return _read(folder / f"{name}.toml")
    known = " or ".join(card.name for card in cards())
    raise SettingError(
        f"Wanted a prior, {known}, or a .safetensors file, but got {name!r}. See hdagger priors."
    )


def load(card: Card, device: str = "cpu", save_memory: bool = False) -> LabelledDenoiser:
    """The denoiser of a card; where it can, it sees pictures larger than it in tiles.

    Args:
        card: Which.
        device: Where to compute.
        save_memory: Let a gradient compute the network's blocks again on the way back, which
            takes a third more time and a fraction of the memory, if the network can.

    Raises:
        FileError: The file is missing, is no prior, or is not the one of the card.
    """
    network = _load(card, PRIORS, "a prior").to(device)
    if save_memory and hasattr(getattr(network, "net", None), "enable_gradient_checkpointing"):
        network.net.enable_gradient_checkpointing()
    if isinstance(network, LatentDenoiser):
        return network
    return Tiled(network, tile=card.size, overlap=card.size // 4) if card.size else Tiled(network)


def towards(
    prior: LabelledDenoiser, card: Card, label: int | None, guidance: float, device: str = "cpu"
) -> Denoiser:
    """The prior of one class: p(x) p(label | x)^guidance, by whatever the card offers.

    Args:
        prior: What ``load`` gave, perhaps counted.
        card: Of the prior.
        label: None for the prior as it is.
        guidance: 1 for the plain conditional prior.
        device: Where to compute.

    Raises:
        SettingError: The prior knows no labels, or not how to be guided.
    """
    if label is None:
        return prior
    if not card.classes and not card.classifier:
        raise SettingError(
            f"Wanted a prior with classes for label {label}, but {card.name} has none, and no "
            "classifier. Leave --label out."
        )
    if not 0 <= label < (card.classes or label + 1):
        raise SettingError(
            f"Wanted a label of 0 to {card.classes - 1}, but got {label}. See hdagger priors."
        )
    if not card.classifier:
        return ClassifierFree(prior, label, guidance)
    guide = load_classifier(card.classifier, device)
    if not card.classes:
        return ClassifierGuided(prior, guide, label, guidance)
    return ClassifierGuided(ClassifierFree(prior, label), guide, label, guidance - 1)


def load_classifier(name: str, device: str = "cpu") -> Classifier:
    """The classifier of noisy pictures of this name.

    Raises:
        FileError: The file is missing, is no classifier, or is not the one of the card.
    """
    return _load(card(name), CLASSIFIERS, "a classifier").to(device)


def add(
    name: str,
    source: str,
    licence: str = "",
    clone: Path | None = None,
    prompt: str = "",
    any_label: int | None = None,
    classifier: str = "",
) -> Card:
    """Puts a checkpoint among the user's own priors: nothing at all if anything is wrong with it.

    Args:
        name: What to call it.
        source: A file or folder, or a hub id: see docs/checkpoints.md.
        licence: Of the weights, for the card.
        clone: The authors' repository, for a pickle, whose code is then run.
        prompt: The text of a latent prior.
        any_label: The label of a diffusers network that stands for "any".
        classifier: The name of a classifier, already added, that can guide it.

    Raises:
        HDaggerError: The name is taken, or the checkpoint is nothing that hdagger reads.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith(".safetensors"):
        raise SettingError(
            f"Wanted a name of letters, digits, dots and dashes, but got {name!r}. Try my-prior."
        )
    if name in {known.name for known in cards()}:
        raise SettingError(
            f"Wanted a new name, but there is a prior {name} already. Choose another, or remove "
            f"{home() / name}.toml and .safetensors."
        )
    if classifier:
        card(classifier)
    network = _convert(source, clone, prompt, any_label)
    with whole_folder(home()) as folder:
        weights = folder / f"{name}.safetensors"
        network.save(weights)
        added = Card(
            name,
            home() / weights.name,
            sha256=fingerprint(weights),
            classifier=classifier,
            licence=licence or "not stated; see where the weights come from",
            source=source,
            **_facts(network),
        )
        (folder / f"{name}.toml").write_text(added.to_toml())
    return added


def _convert(source: str, clone: Path | None, prompt: str, any_label: int | None) -> Any:
    path = Path(source).expanduser()
    if clone is not None:
        return edm.convert(path, clone)
    if path.suffix == ".pkl":
        raise SettingError(
            f"Wanted weights without code, but {path} is a pickle, which can do anything. If you "
            "trust it: --trust-pickle CLONE, the folder of the authors' code."
        )
    if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not path.suffix:
        path = huggingface.fetched(source)
    if path.is_dir():
        latents = (path / "vae").is_dir()
        return (
            latent.from_folder(path, prompt)
            if latents
            else huggingface.from_folder(path, any_label)
        )
    if path.suffix == ".safetensors" and checkpoint.is_own(path):
        return _open(path, PRIORS | CLASSIFIERS, "a prior")
    state = checkpoint.read_state(path)
    return (
        ADMClassifier.convert(state, path)
        if adm.is_classifier(state)
        else adm.denoiser(state, path)
    )


def _facts(network: Any) -> dict[str, Any]:
    """What a card says of a network beyond its name."""
    low, high = network.sigma_range
    facts = {name: getattr(network, name) for name in ("channels", "classes", "size")}
    facts |= {"sigma_min": float(f"{low:.4g}"), "sigma_max": float(f"{high:.4g}")}
    if isinstance(network, LatentDenoiser):
        facts |= {"subject": "codes of pictures in [-1, 1]", "data_variance": 1.0}
    elif isinstance(network, NoisyClassifier | ADMClassifier):
        facts |= {"subject": "classifier of noisy pictures"}
    return facts


def _load(card: Card, loaders: dict[str, Callable[[Path], Any]], what: str) -> Any:
    return _open(checked_weights(card), loaders, what)


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
    if card.sha256 and (found := fingerprint(card.weights)) != card.sha256:
        raise FileError(
            f"Wanted weights with sha256 {card.sha256[:12]}..., as the card of {card.name} says, "
            f"but {card.weights} has {found[:12]}.... Install hdagger, or add the prior, again."
        )
    return card.weights


def _open(path: Path, loaders: dict[str, Callable[[Path], Any]], what: str) -> Any:
    kind, _ = checkpoint.read_kind(path)
    if kind not in loaders:
        raise FileError(
            f"Wanted {what}, but {path} holds {kind!r}, not one of {', '.join(loaders)}. "
            "See hdagger priors."
        )
    try:
        return loaders[kind](path)
    except HDaggerError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(
            f"Wanted {what}, but the description in {path} does not hold together ({error}). "
            "Add it again."
        ) from error


def _read(path: Path) -> Card:
    try:
        if path.stat().st_size > LARGEST_CARD:
            raise ValueError("it is too long")
        table = tomllib.loads(path.read_text())
        return Card(**table | {"name": path.stem, "weights": path.with_suffix(".safetensors")})
    except (OSError, ValueError, TypeError) as error:
        raise FileError(
            f"Wanted the card of a prior, but {path} is not one ({error}). "
            "Remove it, and add the prior again."
        ) from error
