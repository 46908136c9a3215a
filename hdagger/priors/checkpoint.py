"""Files of weights: opened without running what they hold, and kept with what tells them apart.

hdagger's own files are safetensors whose metadata say in JSON which kind of prior they hold and
how to build it. Anything else is converted once, when it is added.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import FileError
from ..files import brief, check_file
from .eight_bits import unpacked

LARGEST_HEADER = 20_000_000
"""Bytes of what stands before the tensors of a safetensors file: names, shapes, metadata."""

LARGEST_BUILD = 200_000
"""Characters of the description of one of hdagger's own files."""

LARGEST_NUMBER = 1_000_000
"""What a whole number in a description may be."""

SIGNS = {
    "time_embed.0.weight": "a guided-diffusion (ADM) network",
    "time_embedding.linear_1.weight": "a diffusers UNet2DModel: give its folder",
    "model.diffusion_model.time_embed.0.weight": "an original Stable Diffusion checkpoint: "
    "convert it with diffusers, and give the folder",
    "model.map_layer0.weight": "an EDM network: give the .pkl with --trust-pickle",
    "module.all_modules.0.W": "a score_sde (NCSN++) checkpoint: convert it with diffusers",
    "stem.weight": "a prior of `hdagger train`, without its shape",
}
"""A key of a state dictionary, and the layout that has it."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of one that ``torch.save`` wrote; no code is run.

    Raises:
        FileError: It is missing, broken, holds other things than tensors, or code.
    """
    check_file(path, "a checkpoint")
    try:
        if path.suffix == ".safetensors":
            _metadata(path)
            state: Any = load_file(path)
        else:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    unpacked = sum(entry.file_size for entry in archive.infolist())
                if unpacked > path.stat().st_size:
                    raise ValueError("it is packed, and larger than its file")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file makes the reader do
        code = "GLOBAL" in str(error)
        why = "holds code beside its tensors" if code else "is no whole checkpoint"
        raise FileError(
            f"Wanted a checkpoint of tensors, but {path} {why} (nothing in it was run). "
            "Download it again, or save its state_dict() as safetensors."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        inside = type(state).__name__
        if isinstance(state, dict):
            inside = "a dictionary with the keys " + ", ".join(map(str, list(state)[:4]))
        raise FileError(
            f"Wanted a dictionary of tensors, but {path} holds {inside}. "
            "Save the network's state_dict() alone."
        )
    size = sum(value.numel() * value.element_size() for value in state.values())
    if size > path.stat().st_size:
        raise FileError(
            f"Wanted tensors that the file has room for, but {path} of "
            f"{path.stat().st_size} bytes promises {size}. Download it again."
        )
    return state


def fit(
    net: nn.Module,
    state: dict[str, Tensor],
    source: Path | str,
    original: dict[str, Tensor] | None = None,
) -> None:
    """Gives a network, which may be on the meta device, its weights, all of them and no others.

    Args:
        net: The network.
        state: The weights under its names.
        source: Where they come from, for the message.
        original: The weights as they came, if their names were others.

    Raises:
        FileError: Keys or shapes differ; the message names the first three, and the layout that
            the keys look like.
    """
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    odd = [
        f"{name} {given.get(name, 'missing')} for {wanted.get(name, 'nothing')}"
        for name in [*wanted, *(name for name in given if name not in wanted)]
        if wanted.get(name) != given.get(name)
    ]
    if odd:
        raise misfit(source, odd, original or state)
    net.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)


def misfit(source: Path | str, odd: list[str], state: dict[str, Tensor]) -> FileError:
    """What to say of a checkpoint whose keys do not fit."""
    looks = next((layout for key, layout in SIGNS.items() if key in state), "nothing known")
    return FileError(
        f"Wanted a checkpoint whose every key fits, but {source} has {len(odd)} that do not: "
        f"{'; '.join(odd[:3])}. It looks like {looks}."
    )


def write(path: Path, kind: str, build: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Writes one of hdagger's own files.

    Args:
        path: Where.
        kind: Which loader reads it.
        build: What that needs beside the weights, as JSON has it.
        state: The weights.
    """
    tensors = {name: value.detach().contiguous() for name, value in state.items()}
    save_file(tensors, path, {"hdagger": json.dumps({kind: build})})


def read(path: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """What ``write`` wrote: kind, build, state; weights in eight bits are unpacked.

    Raises:
        FileError: It is not such a file.
    """
    kind, build = read_kind(path)
    return kind, build, unpacked(read_state(path))


def read_kind(path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of one of hdagger's own files, and how to build it, without its weights.

    Raises:
        FileError: It is not such a file, or its description is too long, or not plain.
    """
    check_file(path, "a prior")
    try:
        text = _metadata(path)["hdagger"]
        if len(text) > LARGEST_BUILD:
            raise ValueError(f"its description has {len(text)} characters")
        ((kind, build),) = json.loads(text, parse_constant=_no_number).items()
        if not isinstance(build, dict):
            raise ValueError(f"its description is {type(build).__name__}")
        _check_numbers(build)
    except Exception as error:  # whatever a broken file makes the reader do
        raise FileError(
            f"Wanted a prior written by `hdagger train` or `hdagger priors add`, but {path} is "
            f"not one ({brief(error)}). Point at the prior.safetensors of a "
            "training, or add the checkpoint."
        ) from error
    return str(kind), build


def is_own(path: Path) -> bool:
    """Whether a safetensors file says that it is hdagger's."""
    try:
        return "hdagger" in _metadata(path)
    except (OSError, ValueError, SafetensorError):
        return False


def _metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; the length of that is looked at before the rest."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise ValueError(f"its header has {length} bytes")
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def _check_numbers(value: Any) -> None:
    """Refuses whole numbers that no network has, of which one alone could fill the memory."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_numbers(part)
    elif isinstance(value, int) and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError(f"its description has the number {str(value)[:20]}")


def _no_number(word: str) -> float:
    raise ValueError(f"its description has the number {word}")
