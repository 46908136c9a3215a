"""What judges a table beside arithmetic: a classifier, features, a perceptual distance.

Each is one of hdagger's classifiers by its name, ``efficientnet-lite0`` where that is installed,
or a file of the user in TorchScript, which is code: it runs only if the user says that it is
trusted. Pictures go in as float32, in three
channels whatever the prior's.

    a classifier    pictures in [0, 1], (n, 3, h, w) -> (n, classes)
    features        pictures in [0, 1], (n, 3, h, w) -> (n, d)
    a distance      two pictures in [-1, 1], (n, 3, h, w) each -> (n, ...)

What a network of ImageNet wants beside, such as its own size and colours, is the file's to do.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ...errors import FileError, SettingError
from ...files import brief, check_file, fingerprint
from ...priors import zoo
from ...priors.classifier import NoisyClassifier
from . import efficientnet
from .efficientnet import EfficientNetLite

Pictures: TypeAlias = Float[Tensor, "n channels height width"]
Model: TypeAlias = Callable[..., Tensor]

SCRIPTS = (".pt", ".ts", ".torchscript")

CLEAN = 0.05
"""The level of noise at which a classifier of noisy pictures reads a clean one."""


def sha256_of(name: str) -> str:
    """Of a model's weights; empty for none."""
    if not name:
        return ""
    if name == efficientnet.NAME:
        return fingerprint(efficientnet.weights_file())
    return fingerprint(Path(name)) if name.endswith(SCRIPTS) else zoo.sha256_of(zoo.card(name))


@cache
def classifier(name: str, trusted: bool) -> Model:
    """Pictures in [-1, 1] -> scores of the labels.

    Raises:
        HDaggerError: There is no such classifier.
    """
    if (found := _of_imagenet(name, trusted, EfficientNetLite.scores)) is not None:
        return found
    own = zoo.load_classifier(name)
    return lambda x: own(x.float(), torch.tensor(CLEAN))


@cache
def features(name: str, trusted: bool) -> Model:
    """Pictures in [-1, 1] -> features, ``(n, d)``.

    Of one of hdagger's classifiers they are the mean over space of its last layer, each picture's
    of mean 0 and variance 1.

    Raises:
        HDaggerError: There is no such model.
    """
    if (found := _of_imagenet(name, trusted, EfficientNetLite.features)) is not None:
        return found
    own = zoo.load_classifier(name)
    if not isinstance(own, NoisyClassifier):
        raise SettingError(
            f"Wanted a classifier that tells its features, but {name} does not. Give "
            f"{efficientnet.NAME}, digits-classifier, or a TorchScript file."
        )
    return lambda x: layer_norm(own.features(x.float(), torch.tensor(CLEAN)))


@cache
def distance(name: str, trusted: bool) -> Model:
    """Two pictures in [-1, 1] -> how far apart they look.

    Raises:
        HDaggerError: The file is missing, or no TorchScript.
    """
    network = _script(Path(name), trusted)
    return lambda x, y: network(_three(x), _three(y)).flatten()


def layer_norm(x: Tensor) -> Tensor:
    """Each row in mean 0 and variance 1."""
    return functional.layer_norm(x, x.shape[1:])


def _of_imagenet(
    name: str, trusted: bool, lite: Callable[[EfficientNetLite, Tensor], Tensor]
) -> Model | None:
    """A model of pictures in three colours, in [0, 1]; None for one of hdagger's.

    Args:
        name: A TorchScript file, or the network that pip can fetch.
        trusted: Whether the file may run.
        lite: What is asked of that network.
    """
    if name.endswith(SCRIPTS):
        network = _script(Path(name), trusted)
    elif name == efficientnet.NAME:
        network = partial(lite, EfficientNetLite.load())
    else:
        return None
    return lambda x: network(_shown(x))


def _script(path: Path, trusted: bool) -> Model:
    check_file(path, "a TorchScript file")
    if not trusted:
        raise SettingError(
            f"Wanted a model without code, but {path} is TorchScript, which can do anything. If "
            "you trust it, say --trust-code."
        )
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # whatever a broken file makes torch raise
        raise FileError(
            f"Wanted TorchScript, but {path} cannot be read ({brief(error)}). Save it with "
            "torch.jit.save."
        ) from error


def _three(x: Pictures) -> Float[Tensor, "n 3 height width"]:
    x = x.float().clamp(-1, 1)
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def _shown(x: Pictures) -> Float[Tensor, "n 3 height width"]:
    return (_three(x) + 1) / 2
