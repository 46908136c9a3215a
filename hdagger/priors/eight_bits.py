"""Weights in eight bits: twice as many in a file as in sixteen.

The numbers of a large tensor W, in groups of 64 in the order in which they lie, become whole
numbers of -127 to 127 and a scale for each group,

    W ~ scale * round(W / scale),    scale = max |W| / 127.

Small tensors stay as they are: they are few, and among them are the layers that touch the picture
and those of the finest level, which are the first to miss what is rounded away.
``scripts/bundle_prior.py`` packs; every reader of hdagger's own files unpacks.

References:
    Dettmers et al., 8-bit Optimizers via Block-wise Quantization, ICLR 2022, section 2.1: a scale
    for each block, so that a large weight spoils few others. https://arxiv.org/abs/2110.02861
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import FileError

GROUP = 64
"""Weights that share a scale; docs/prior.md says what it costs."""

SMALL = 40_000
"""Numbers of a tensor below which it stays as it is."""

LARGEST = 127

LEAST = 1e-6
"""Of a scale, so that sixteen bits hold it and zeros stay zeros."""

SCALE = ".scale"
"""How the name of the scales ends, after the name of what they scale."""


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Large tensors in eight bits, and their scales in sixteen; the others as they are.

    Args:
        state: Weights, of any float dtype.
    """
    small: dict[str, Tensor] = {}
    for name, weight in state.items():
        if weight.numel() < SMALL or not weight.is_floating_point():
            small[name] = weight
            continue
        grouped = _grouped(weight.float())
        scale = (grouped.abs().amax(1, keepdim=True) / LARGEST).clamp(min=LEAST).half()
        whole = (grouped / scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)
        small[name] = _as_before(whole, weight)
        small[name + SCALE] = scale.flatten()
    return small


def unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights again, in float32, to half a step of their group; the others as they are.

    Raises:
        FileError: A tensor of eight bits has no scales, or not one for each group.
    """
    scales = {name + SCALE for name, weight in state.items() if weight.dtype == torch.int8}
    return {
        name: _scaled(name, weight, state.get(name + SCALE))
        if weight.dtype == torch.int8
        else weight
        for name, weight in state.items()
        if name not in scales
    }


def _scaled(name: str, weight: Tensor, scale: Tensor | None) -> Tensor:
    grouped = _grouped(weight.float())
    if scale is None or scale.shape != grouped.shape[:1]:
        found = "none" if scale is None else f"{scale.numel()}"
        raise FileError(
            f"Wanted a scale for each {GROUP} of the {weight.numel()} numbers of {name}, which "
            f"has eight bits, but got {found}. Download the file again."
        )
    return _as_before(grouped * scale.float()[:, None], weight)


def _grouped(weight: Tensor) -> Tensor:
    """The numbers of a tensor, ``(groups, GROUP)``, with zeros at the end."""
    return pad(weight.flatten(), (0, -weight.numel() % GROUP)).view(-1, GROUP)


def _as_before(grouped: Tensor, weight: Tensor) -> Tensor:
    return grouped.flatten()[: weight.numel()].view_as(weight)
