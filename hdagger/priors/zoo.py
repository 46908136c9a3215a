"""The priors that come with hdagger, and those a user has added or trained, as networks.

What is known of them without their networks is in hdagger/priors/cards.py.
"""

import shlex
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import FileError, HDaggerError, SettingError
from ..files import brief, check_name, fingerprint, whole_folder
from ..registry import Registry
from . import adm, checkpoint, edm, huggingface, latent
from .adm import ADMClassifier
from .base import Denoiser, LabelledDenoiser
from .cards import WEIGHTS, Card, check_new, checked_source, home, is_hub_id, named
from .classes import Classifier, ClassifierFree, ClassifierGuided
from .classifier import NoisyClassifier
from .latent import LatentDenoiser
from .tiles import Tiled

MOST_KEPT = 2
"""How many networks stay in memory between calls: a prior, and the classifier that guides it."""

CHECKPOINTING = "enable_gradient_checkpointing"
"""What diffusers' networks call it to compute blocks again on a gradient's way back."""

Loader = Callable[[Path], Any]

FACTS: dict[str, Any] = {
    "channels": int,
    "classes": int,
    "labels": list,
    "sigma_min": float,
    "sigma_max": float,
    "data_variance": float,
}
"""What a card takes from a file of weights that says so itself, and of what kind it may be."""


class Loaders(Registry[Loader]):
    """Kind of file -> what loads it: the method ``load`` of a class, or a function."""

    def _made(self, found: Any) -> Loader:
        return getattr(found, "load", found)


PRIORS = Loaders(
    "a kind of prior",
    "hdagger.priors",
    {
        "unet": "hdagger.priors.unet:UNetDenoiser",
        "unet2d": "hdagger.priors.huggingface:NetworkDenoiser",
        "latent": "hdagger.priors.latent:LatentDenoiser",
        "edm": "hdagger.priors.edm:ClonedDenoiser",
        "motion": "hdagger.domains.motion.prior:MotionPrior",
    },
)
"""Other packages add kinds by entry points of the group ``hdagger.priors``."""

CLASSIFIERS = Loaders(
    "a kind of classifier",
    "hdagger.classifiers",
    {
        "classifier": "hdagger.priors.classifier:NoisyClassifier",
        "adm-classifier": "hdagger.priors.adm:ADMClassifier",
    },
)
"""The entry points by which other packages add kinds: kind -> what loads its file."""


def card(name: str) -> Card:
    """The card of a prior that is bundled or was added, or of a file of weights.

    Raises:
        SettingError: There is no prior of this name, or it is no line of plain text.
        FileError: Its card is broken, or the file is.
    """
    check_name(name, "a prior")
    if not name.endswith(WEIGHTS):
        return named(name)
    _, build = checkpoint.read_kind(Path(name))
    said: dict[str, Any] = {
        key: build[key] for key, kind in FACTS.items() if isinstance(build.get(key), kind)
    }
    return Card(name, Path(name), **said)


def load(card: Card, device: str = "cpu", save_memory: bool = False) -> LabelledDenoiser:
    """The denoiser of a card; where it can, it sees pictures larger than it in tiles.

    The network is kept for the next call, which neither hashes nor loads the file again unless
    it has changed.

    Args:
        card: Which.
        device: Where to compute.
        save_memory: Let a gradient compute the network's blocks again on the way back, which
            takes a third more time and a fraction of the memory, if the network can.

    Raises:
        FileError: The file is missing, is no prior, or is not the one of the card.
    """
    network = _load(card, PRIORS, device, save_memory)
    if isinstance(network, LatentDenoiser) or not getattr(network, "in_tiles", True):
        return network
    if card.size:
        return Tiled(network, card.size, overlap=card.size // 4, only=True)
    return Tiled(network)


def towards(
    prior: LabelledDenoiser,
    card: Card,
    label: int | str | None,
    guidance: float,
    device: str = "cpu",
) -> Denoiser:
    """The prior of one class: p(x) p(label | x)^guidance, by whatever the card offers.

    Args:
        prior: What ``load`` gave, perhaps counted.
        card: Of the prior.
        label: A number, or a name that the card has; None for the prior as it is.
        guidance: 1 for the plain conditional prior.
        device: Where to compute.

    Raises:
        SettingError: The prior knows no labels, or not how to be guided; or there is guidance
            without a label, or one that is no number from 0 to 100.
    """
    if not 0 <= guidance <= 100:
        raise SettingError(f"Wanted a guidance from 0 to 100, but got {guidance:g}. Try 1.5.")
    if label is None and guidance != 1:
        raise SettingError(
            f"Wanted a label for a guidance of {guidance:g}, but got none. Say --label, or leave "
            "--guidance out."
        )
    if label is None:
        return prior
    label = card.checked(label)
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
    return _load(card(name), CLASSIFIERS, device)


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
    check_new(name)
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
    path = checked_source(source, trusted=clone is not None)
    if clone is not None:
        return edm.convert(path, clone)
    if is_hub_id(source):
        path = huggingface.fetched(source)
    if path.is_dir():
        latents = (path / "vae").is_dir()
        return (
            latent.from_folder(path, prompt)
            if latents
            else huggingface.from_folder(path, any_label)
        )
    if path.suffix == ".safetensors" and checkpoint.is_own(path):
        return _open(path, PRIORS, CLASSIFIERS)
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
    facts |= {"labels": list(getattr(network, "labels", ()))}
    if isinstance(network, LatentDenoiser):
        facts |= {"subject": "codes of pictures in [-1, 1]", "data_variance": 1.0}
    elif isinstance(network, NoisyClassifier | ADMClassifier):
        facts |= {"subject": "classifier of noisy pictures"}
    return facts


_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_loading = Lock()


def _load(card: Card, kinds: Loaders, device: str, save_memory: bool = False) -> Any:
    """A network on its device, from those that are kept, or from its file."""
    weights = checked_weights(card)
    about = weights.stat()
    key = (weights.resolve(), about.st_mtime_ns, about.st_size, kinds.group, device, save_memory)
    with _loading:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
        while len(_kept) >= MOST_KEPT:
            _kept.popitem(last=False)
        network = _open(weights, kinds).to(device)
        if save_memory and hasattr(getattr(network, "net", None), CHECKPOINTING):
            getattr(network.net, CHECKPOINTING)()
        _kept[key] = network
        return network


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


def covariances(card: Card) -> Path:
    """The file with the covariances of a prior, which may not be there."""
    return card.weights.parent / f"{card.weights.stem}.covariance.safetensors"


def is_calibrated(card: Card) -> bool | None:
    """Whether its covariances were measured; None where that is not for its kind."""
    if covariances(card).is_file():
        return True
    kind, _ = checkpoint.read_kind(card.weights)
    return None if kind in ("latent", "motion") or kind in CLASSIFIERS else False


def how_to_calibrate(card: Card) -> str:
    """The command that measures the covariances of a prior."""
    return f"hdagger priors calibrate {shlex.quote(card.name)} --pictures FOLDER"


def sha256_of(card: Card) -> str:
    """Of the weights: what the card says, else that of the file."""
    return card.sha256 or fingerprint(card.weights)


def _open(path: Path, *tables: Loaders) -> Any:
    kind, _ = checkpoint.read_kind(path)
    table = next((table for table in tables if kind in table), None)
    if table is None:
        what = "a classifier" if tables == (CLASSIFIERS,) else "a prior"
        known = [name for table in tables for name in table]
        raise FileError(
            f"Wanted {what}, but {path} holds {brief(repr(kind), 40)}, not one of "
            f"{', '.join(known)}. See hdagger priors."
        )
    try:
        return table[kind](path)
    except HDaggerError:
        raise
    except Exception as error:  # whatever a description that does not hold together leads to
        raise FileError(
            f"Wanted a prior, but the description in {path} does not hold together "
            f"({brief(error)}). Add it again."
        ) from error
