"""Priors in the formats of diffusers: a folder, or a hub id, with a ``UNet2DModel``.

The folder holds ``unet/config.json`` and its weights as safetensors (or both beside each other),
and the scheduler's config, which says how the network was trained.

References:
    von Platen et al., Diffusers, 2022. https://github.com/huggingface/diffusers
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import FileError, SettingError, ShapeError
from ..files import brief, check_file
from ..tensors import Label, Signal
from . import checkpoint
from .base import check_label
from .conventions import EDM, Convention, VariancePreserving, from_table, to_table

MOST_PARAMETERS = 5_000_000_000
LARGEST_CONFIG = 1_000_000
MOST_LAYERS = 100
"""The longest list in a configuration, and the most layers in a block."""


class NetworkDenoiser(nn.Module):
    """D(x, sigma) of a ``UNet2DModel`` and the convention that it was trained under.

    Args:
        net: The network; channels beyond those of its input are a learned variance, which is
            dropped where the convention does not say what it means.
        convention: How it was trained.
        null: The label that stands for "any", for a network that learned one; None if a network
            with classes always wants a label.
    """

    kind = "unet2d"

    def __init__(self, net: Any, convention: Convention, null: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.convention = convention
        self.null = null
        self.channels: int = net.config["in_channels"]
        self.size = int(net.config["sample_size"] or 0)
        self.sigma_range = convention.sigma_range
        self._variance = _learned(net, convention)
        self.stride = 2 ** (len(net.config["block_out_channels"]) - 1)
        known = net.config["num_class_embeds"] or 0
        self.classes: int = known - (null is not None)

    def forward(
        self, x: Signal, sigma: Float[Tensor, "*rows"], label: Label | None = None
    ) -> Signal:
        """E[x0 | x], in the precision of x; the network computes in its own.

        Args:
            x: Noisy pictures, ``(batch, channels, height, width)``; the sides are multiples of
                the network's stride.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
            label: The class of each, ``(batch,)``.

        Raises:
            ShapeError: The network does not take pictures of this size.
            SettingError: The label is out of range, or missing.
        """
        level, out = self._told(x, sigma, label)
        return self.convention.clean(x, level, out[:, : x.shape[1]])

    def moments(
        self, x: Signal, sigma: Float[Tensor, "*rows"], label: Label | None = None
    ) -> tuple[Signal, Signal | None]:
        """E[x0 | x] and, pixel by pixel, the variance of x0 about it given x.

        The second is None where the network learned none. Its training weighs it little at high
        noise, where its size may be several times off: see docs/checkpoints.md.
        """
        level, out = self._told(x, sigma, label)
        D = self.convention.clean(x, level, out[:, : x.shape[1]])
        return D, self._variance and self._variance(level, out[:, x.shape[1] :])

    def _told(
        self, x: Signal, sigma: Float[Tensor, "*rows"], label: Label | None
    ) -> tuple[Tensor, Tensor]:
        """sigma, ``(batch, 1, 1, 1)``, and all that the network says, in the precision of x."""
        height, width = x.shape[2:]
        if height % self.stride or width % self.stride:
            raise ShapeError(
                f"The prior works on sides that are multiples of {self.stride}, but got "
                f"{height} x {width}. Crop or resize the picture."
            )
        level = sigma.to(x).expand(len(x)).view(-1, 1, 1, 1)
        out = self.net(
            (x * self.convention.scale(level)).to(self.net.dtype),
            self.convention.time(level.flatten()).to(self.net.dtype),
            self._class(label, x),
        ).sample
        return level, out.to(x)

    def _class(self, label: Label | None, x: Signal) -> Label | None:
        check_label(label, self.classes)
        if label is None and self.classes:
            if self.null is None:
                raise SettingError(
                    f"Wanted a label, since the prior knows nothing but its {self.classes} "
                    "classes, but got none. Say --label, such as --label 0."
                )
            return torch.full((len(x),), self.null, device=x.device)
        return label

    def save(self, path: Path) -> None:
        """Writes weights, configuration and convention to one safetensors file."""
        build = {
            "config": settings(self.net.config),
            "convention": to_table(self.convention),
            "null": self.null,
        }
        checkpoint.write(path, self.kind, build, self.net.state_dict())

    @classmethod
    def load(cls, path: Path) -> "NetworkDenoiser":
        """Reads what ``save`` wrote; the file holds no code.

        Raises:
            FileError: It is not such a file.
        """
        _, build, state = checkpoint.read(path)
        net = empty_unet(build["config"])
        checkpoint.fit(net, state, path)
        made = cls(net, from_table(build["convention"]), build["null"])
        return made.eval().requires_grad_(False)


def _learned(net: Any, convention: Convention) -> Callable[[Tensor, Signal], Signal] | None:
    """From sigma and the other half of a network's channels to its variance; None for none."""
    if not (isinstance(convention, VariancePreserving) and convention.learned_range):
        return None
    twice = net.config["out_channels"] == 2 * net.config["in_channels"]
    return convention.variance if twice else None


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What builds the model, without diffusers' notes about the file (``_class_name``...)."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def empty_unet(config: dict[str, Any]) -> Any:
    """A ``UNet2DModel`` without memory for its weights.

    Beside diffusers' own settings, ``heads`` gives every attention so many heads, and ``sines``
    the time embedding another width than the first level's.

    Raises:
        SettingError: diffusers makes no network of this, or one too large.
    """
    own = {k: v for k, v in config.items() if k not in ("heads", "sines")}
    net = empty(diffusers().UNet2DModel, own)
    if "sines" in config:
        net.time_proj.num_channels = config["sines"]
        with torch.device("meta"):
            net.time_embedding.linear_1 = nn.Linear(
                config["sines"], net.time_embedding.linear_2.in_features
            )
    if "heads" in config:
        for module in net.modules():
            if hasattr(module, "heads"):
                module.heads = config["heads"]
                module.scale = (module.to_q.out_features / config["heads"]) ** -0.5
    net.register_to_config(**config)
    return net


def empty(kind: Any, config: dict[str, Any]) -> Any:
    """One of diffusers' models without memory for its weights.

    Raises:
        SettingError: diffusers makes no model of this, or one too large.
    """
    for name, value in config.items():
        count = len(value) if isinstance(value, list | tuple) else value if "layers" in name else 0
        if isinstance(count, int) and count > MOST_LAYERS:
            raise SettingError(
                f"Wanted at most {MOST_LAYERS} for {brief(name, 40)}, but got {count}. "
                "Check config.json."
            )
    try:
        with torch.device("meta"):
            made = kind(**config)
    except Exception as error:  # diffusers checks little, so anything may go wrong
        raise SettingError(
            f"Wanted the configuration of a {kind.__name__}, but diffusers refuses it "
            f"({brief(error)}). Check config.json."
        ) from error
    size = sum(weight.numel() for weight in made.parameters())
    if size > MOST_PARAMETERS:
        raise SettingError(
            f"Wanted at most {MOST_PARAMETERS:,} parameters, but the network has {size:,}."
        )
    return made


def from_folder(folder: Path, null: int | None = None) -> NetworkDenoiser:
    """The denoiser of a diffusers folder.

    Args:
        folder: With ``unet/config.json`` or ``config.json``, and the weights beside it.
        null: The label that stands for "any", if the network learned one.

    Raises:
        FileError: Something is missing or broken, or the weights do not fit.
        SettingError: The scheduler or the network is of a kind that is not known.
    """
    place = folder / "unet" if (folder / "unet").is_dir() else folder
    config = read_json(place / "config.json")
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise SettingError(
            f"Wanted a UNet2DModel, but {place} holds a {kind}. Give a pipeline's folder."
        )
    if config.get("time_embedding_type", "positional") != "positional":
        raise SettingError(
            f"Wanted a network with a positional time embedding, but {place} has "
            f"{config['time_embedding_type']!r}. Convert it first."
        )
    net = empty_unet(settings(config))
    checkpoint.fit(net, checkpoint.read_state(weights_in(place)), place)
    return NetworkDenoiser(net, convention_in(folder), null).eval().requires_grad_(False)


def convention_in(folder: Path) -> Convention:
    """The convention that a folder's scheduler states.

    Raises:
        FileError: There is none.
        SettingError: It is of a kind that is not known.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    path = path if path.exists() else folder / "scheduler_config.json"
    table = read_json(path)
    prediction = table.get("prediction_type", "epsilon")
    name = str(table.get("_class_name", ""))
    try:
        if name.startswith("EDM"):
            return EDM(
                table.get("sigma_data", 0.5),
                table.get("sigma_min", 0.002),
                table.get("sigma_max", 80.0),
                prediction,
            )
        if "num_train_timesteps" not in table or "beta_schedule" not in table:
            raise SettingError(
                f"Wanted a scheduler with betas, or an EDM one, but {path} is "
                f"{name or 'of no kind'}. "
                "Put the config of the scheduler that it was trained with there."
            )
        if table.get("trained_betas") or table.get("rescale_betas_zero_snr"):
            raise SettingError(
                f"Wanted betas of a known schedule, but {path} has its own (trained_betas or "
                "rescale_betas_zero_snr). Convert the checkpoint first."
            )
        return VariancePreserving(
            table["beta_schedule"],
            table.get("beta_start", 1e-4),
            table.get("beta_end", 0.02),
            table["num_train_timesteps"],
            prediction,
            table.get("variance_type") == "learned_range",
        )
    except TypeError as error:
        raise SettingError(f"Wanted numbers in {path}, but {error}. Mend the file.") from error


def fetched(source: str) -> Path:
    """The folder of a hub id, downloaded once by huggingface_hub: configs and safetensors alone.

    Raises:
        FileError: The hub cannot be reached, or has nothing of this name.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
    except Exception as error:  # of huggingface_hub, httpx, requests: there is no common one
        raise FileError(
            f"Wanted a checkpoint, but {source} is neither here nor at the hub "
            f"({brief(error)}). Check the name, or download it and give the folder."
        ) from error


def weights_in(place: Path) -> Path:
    """The one safetensors file of a model's folder."""
    path = place / "diffusion_pytorch_model.safetensors"
    path = path if path.exists() else place / "model.safetensors"
    if not path.exists():
        raise FileError(
            f"Wanted weights as safetensors, but {place} has none. Convert them with "
            "save_pretrained(..., safe_serialization=True)."
        )
    return path


def read_json(path: Path) -> dict[str, Any]:
    check_file(path, "a diffusers config")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError("it is too long")
        table = json.loads(path.read_text())
        if not isinstance(table, dict):
            raise ValueError("it is no table")
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(
            f"Wanted JSON, but {path} is not ({brief(error)}). Download it again."
        ) from error
    return table


def diffusers() -> Any:
    """The library, which is optional and takes two seconds to import.

    Raises:
        SettingError: It is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise SettingError(
            "Wanted diffusers for this prior, but it is not installed. "
            "Run: pip install 'hdagger[diffusers]'"
        ) from error
    return diffusers
