"""Latent diffusion: a prior of the codes of an autoencoder, with a text that was chosen before.

The signal is the code z; a measurement of the picture is one of z through the decoder. The text
encoder is used once, when the prior is added: what is kept is what it made of the prompt, and of
no words at all. So a latent prior has one class, 0, the prompt; no label stands for no words.

References:
    Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022.
    https://arxiv.org/abs/2112.10752
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import FileError, SettingError
from ..files import brief
from ..tensors import Data, Label, Signal
from . import checkpoint
from .base import check_label
from .conventions import Convention, from_table, to_table
from .huggingface import convention_in, diffusers, empty, read_json, settings, weights_in


class LatentDenoiser(nn.Module):
    """D(z, sigma) of a ``UNet2DConditionModel``, and the autoencoder whose codes z are.

    Args:
        net: The network.
        autoencoder: From pictures in [-1, 1] to codes and back.
        convention: How the network was trained.
        words: What the text encoder made of no words and of the prompt, ``(2, tokens, width)``.
    """

    kind = "latent"
    classes = 1
    words: Tensor

    def __init__(
        self,
        net: Any,
        autoencoder: Any,
        convention: Convention,
        words: Float[Tensor, "2 tokens width"],
    ) -> None:
        super().__init__()
        self.net = net
        self.autoencoder = autoencoder
        self.convention = convention
        self.register_buffer("words", words)
        self.sigma_range = convention.sigma_range
        self.channels: int = autoencoder.config["in_channels"]
        self.stride = 2 ** (len(autoencoder.config["block_out_channels"]) - 1)
        self.size = int(net.config["sample_size"] or 0) * self.stride
        self.scaling = float(autoencoder.config["scaling_factor"])

    def forward(
        self, x: Signal, sigma: Float[Tensor, "*rows"], label: Label | None = None
    ) -> Signal:
        """E[z0 | z], in the precision of z; the network computes in its own.

        Args:
            x: Noisy codes z, ``(batch, code channels, height, width)``.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
            label: 0, the prompt, for each; None for no words.
        """
        check_label(label, self.classes)
        level = sigma.to(x).expand(len(x))
        inner = x * self.convention.scale(level.view(-1, 1, 1, 1))
        said = self.words[:1].expand(len(x), -1, -1) if label is None else self.words[1 + label]
        time = self.convention.time(level).to(self.net.dtype)
        out = self.net(inner.to(self.net.dtype), time, said).sample
        return self.convention.clean(x, level.view(-1, 1, 1, 1), out.to(x))

    def decode(self, z: Data) -> Signal:
        """The pictures of codes, in the precision of z."""
        inner = (z / self.scaling).to(self.autoencoder.dtype)
        return self.autoencoder.decode(inner).sample.to(z)

    def encode(self, x: Signal) -> Data:
        """The codes of pictures, the mean where the encoder is unsure."""
        inner = x.to(self.autoencoder.dtype)
        return self.scaling * self.autoencoder.encode(inner).latent_dist.mean.to(x)

    def code_shape(self, picture: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the code of a picture of this shape.

        Raises:
            SettingError: The autoencoder does not take such a picture.
        """
        whole = self.stride * 2 ** (len(self.net.config["block_out_channels"]) - 1)
        if picture[1] % whole or picture[2] % whole:
            raise SettingError(
                f"Wanted sides that are multiples of {whole}, but got {picture[1]} x "
                f"{picture[2]}. Crop or resize the picture."
            )
        side = (picture[1] // self.stride, picture[2] // self.stride)
        return (int(self.autoencoder.config["latent_channels"]), *side)

    def save(self, path: Path) -> None:
        """Writes weights and configurations to one safetensors file."""
        parts = {"net": self.net, "autoencoder": self.autoencoder}
        build: dict[str, Any] = {name: settings(part.config) for name, part in parts.items()}
        build["convention"] = to_table(self.convention)
        checkpoint.write(path, self.kind, build, self.state_dict())

    @classmethod
    def load(cls, path: Path) -> "LatentDenoiser":
        """Reads what ``save`` wrote; the file holds no code.

        Raises:
            FileError: It is not such a file.
        """
        _, build, state = checkpoint.read(path)
        library = diffusers()
        made = cls(
            empty(library.UNet2DConditionModel, build["net"]),
            empty(library.AutoencoderKL, build["autoencoder"]),
            from_table(build["convention"]),
            state.get("words", torch.zeros(2, 0, 0)).float(),
        )
        checkpoint.fit(made, state, path)
        return made.eval().requires_grad_(False)


def from_folder(folder: Path, prompt: str = "") -> LatentDenoiser:
    """The denoiser of a pipeline's folder, of the class of Stable Diffusion.

    Args:
        folder: With ``unet``, ``vae``, ``text_encoder``, ``tokenizer`` and ``scheduler``.
        prompt: The text that label 0 stands for.

    Raises:
        FileError: Something is missing or broken, or weights do not fit.
        SettingError: A part is of a kind that is not known.
    """
    library, parts = diffusers(), {}
    for name, kind in (("unet", "UNet2DConditionModel"), ("vae", "AutoencoderKL")):
        config = read_json(folder / name / "config.json")
        if config.get("_class_name") != kind:
            raise SettingError(
                f"Wanted a {kind} in {folder / name}, but got {config.get('_class_name')}."
            )
        part = empty(getattr(library, kind), settings(config))
        checkpoint.fit(part, checkpoint.read_state(weights_in(folder / name)), folder / name)
        parts[name] = part
    made = LatentDenoiser(
        parts["unet"], parts["vae"], convention_in(folder), _said(folder, ["", prompt])
    )
    return made.eval().requires_grad_(False)


@torch.no_grad()
def _said(folder: Path, texts: list[str]) -> Tensor:
    """What a folder's text encoder makes of texts, ``(texts, tokens, width)``."""
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise SettingError(
            "Wanted transformers to read the prompt, but it is not installed. "
            "Run: pip install 'hdagger[diffusers]'"
        ) from error
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True)
        most = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        tokens = tokenizer(
            texts, padding="max_length", max_length=most, truncation=True, return_tensors="pt"
        )
        return encoder(tokens.input_ids)[0].float()
    except Exception as error:  # transformers has no common error
        raise FileError(
            f"Wanted a CLIP text encoder and its tokenizer, but {folder} has none that can be "
            f"read ({brief(error)}). Download the whole pipeline."
        ) from error
