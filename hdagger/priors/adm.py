"""Checkpoints of guided-diffusion (ADM): its networks as diffusers' ``UNet2DModel``.

What the shapes of a state dictionary tell (widths, depth, attention, classes) is read off them;
what they cannot tell (size, heads, the order of queries, keys and values, the schedule) comes
with the channel multipliers, which differ from one release to the next.

References:
    Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021.
    https://arxiv.org/abs/2105.05233, https://github.com/openai/guided-diffusion
    Chung et al., Diffusion Posterior Sampling, 2023, whose FFHQ network has the same layout.
    https://arxiv.org/abs/2209.14687
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import FileError
from ..tensors import Signal
from . import checkpoint
from .conventions import VariancePreserving, from_table, to_table
from .huggingface import NetworkDenoiser, empty_unet, settings


@dataclass(frozen=True)
class Layout:
    """What the shapes of a state dictionary do not say.

    Attributes:
        multipliers: The width of each level, in units of the network's own width.
        size: Side of the pictures that it was trained on.
        heads: Heads of every attention; 0 for one head for each 64 channels.
        split_first: Whether q, k and v are split before the heads are (guided-diffusion's "new
            attention order"), as only the network of 64 pixels does.
        schedule: Of the betas, in the words of diffusers.
    """

    multipliers: tuple[float, ...]
    size: int
    heads: int = 0
    split_first: bool = False
    schedule: str = "linear"


LAYOUTS = (
    Layout((1, 2, 3, 4), 64, split_first=True, schedule="squaredcos_cap_v2"),
    Layout((1, 1, 2, 3, 4), 128, heads=4),
    Layout((1, 1, 2, 2, 4, 4), 256),
    Layout((0.5, 1, 1, 2, 2, 4, 4), 512),
)


@dataclass(frozen=True)
class Plan:
    """The shape of a network, read off its state dictionary.

    Attributes:
        layout: What the shapes do not say.
        width: Channels of the time embedding's sines.
        blocks: Residual blocks at each level, on the way down.
        attention: Whether each level attends.
        channels: Of the picture.
        out_channels: Twice as many where the variance was learned.
        classes: Labels; 0 for none.
        shifts_only: Whether the time embedding is added, and does not scale.
    """

    layout: Layout
    width: int
    blocks: int
    attention: tuple[bool, ...]
    channels: int
    out_channels: int
    classes: int
    shifts_only: bool

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(int(m * self.width) for m in self.layout.multipliers)

    def config(self) -> dict[str, Any]:
        """What makes the ``UNet2DModel``: see ``empty_unet``."""
        names = {True: "Attn{}Block2D", False: "Resnet{}sampleBlock2D"}
        kinds = [names[attends] for attends in self.attention]
        config = {
            "sample_size": self.layout.size,
            "in_channels": self.channels,
            "out_channels": self.out_channels,
            "block_out_channels": list(self.widths),
            "down_block_types": [kind.format("Down") for kind in kinds],
            "up_block_types": [kind.format("Up") for kind in reversed(kinds)],
            "layers_per_block": self.blocks,
            "downsample_type": "resnet",
            "upsample_type": "resnet",
            "resnet_time_scale_shift": "default" if self.shifts_only else "scale_shift",
            "attn_norm_num_groups": 32,
            "attention_head_dim": 1 if self.layout.heads else 64,
            "time_embedding_dim": 4 * self.width,
            "num_class_embeds": self.classes or None,
        }
        if self.layout.heads:
            config["heads"] = self.layout.heads
        if self.widths[0] != self.width:
            config["sines"] = self.width
        return config


def plan_of(state: dict[str, Tensor], source: Path | str = "it") -> Plan:
    """The shape of the network that a state dictionary of guided-diffusion belongs to.

    Raises:
        FileError: It is of none of the known layouts.
    """
    try:
        blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("input_blocks"))
        widths = [
            state[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in range(1, blocks)
        ]
        attention = [f"input_blocks.{i}.1.qkv.weight" in state for i in range(1, blocks)]
        width = state["time_embed.0.weight"].shape[1]
        embedding = state["input_blocks.1.0.emb_layers.1.weight"].shape[0]
        channels = state["input_blocks.0.0.weight"].shape[1]
    except (ValueError, KeyError, IndexError) as error:
        wanted = str(error) if isinstance(error, KeyError) else "input_blocks.*"
        raise checkpoint.misfit(source, [f"{wanted} missing"], state) from error
    for layout in LAYOUTS:
        levels = len(layout.multipliers)
        every, rest = divmod(blocks, levels)
        expected = [int(m * width) for m in layout.multipliers for _ in range(every)][: blocks - 1]
        if rest == 0 and every > 1 and widths == expected:
            return Plan(
                layout=replace(layout, split_first=layout.split_first and "out.2.weight" in state),
                width=width,
                blocks=every - 1,
                attention=tuple(attention[level * every] for level in range(levels)),
                channels=channels,
                out_channels=len(state["out.2.weight"]) if "out.2.weight" in state else channels,
                classes=len(state["label_emb.weight"]) if "label_emb.weight" in state else 0,
                shifts_only=embedding == widths[0],
            )
    raise FileError(
        f"Wanted a network of guided-diffusion with levels of the widths "
        f"{' or '.join(str(list(layout.multipliers)) for layout in LAYOUTS)} times its own, but "
        f"{source} has the width {width} and blocks of {widths}. "
        "Convert it to a diffusers UNet2DModel, and add that folder."
    )


INSIDE_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
    "norm": "group_norm",
    "proj_out": "to_out.0",
}
OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def homes(plan: Plan) -> dict[str, str]:
    """Where each block of guided-diffusion lives in a ``UNet2DModel``."""
    found, levels, every = dict(OUTSIDE), len(plan.attention), plan.blocks + 1
    for level in range(levels):
        first = 1 + level * every
        for j in range(plan.blocks):
            found[f"input_blocks.{first + j}.0"] = f"down_blocks.{level}.resnets.{j}"
            found[f"input_blocks.{first + j}.1"] = f"down_blocks.{level}.attentions.{j}"
        found[f"input_blocks.{first + plan.blocks}.0"] = f"down_blocks.{level}.downsamplers.0"
        last = (level + 1) * every - 1
        for j in range(every):
            found[f"output_blocks.{last - plan.blocks + j}.0"] = f"up_blocks.{level}.resnets.{j}"
            found[f"output_blocks.{last - plan.blocks + j}.1"] = (
                f"up_blocks.{level}.attentions.{j}"
            )
        place = 2 if plan.attention[levels - 1 - level] else 1
        found[f"output_blocks.{last}.{place}"] = f"up_blocks.{level}.upsamplers.0"
    return found


def converted(state: dict[str, Tensor], plan: Plan) -> dict[str, Tensor]:
    """The state dictionary under diffusers' names; a key that has no home keeps its name."""
    found, places = {}, homes(plan)
    for key, value in state.items():
        owner = next((old for old in _prefixes(key) if old in places), "")
        inside, _, leaf = key.removeprefix(f"{owner}.").rpartition(".")
        home = places.get(owner, "")
        if home and inside == "qkv":
            for name, part in zip("qkv", _split(value, plan.layout), strict=True):
                found[f"{home}.to_{name}.{leaf}"] = part
        elif home and (not inside or inside in INSIDE_BLOCK):
            parts = (home, INSIDE_BLOCK.get(inside, ""), leaf)
            flat = value.squeeze(-1) if inside == "proj_out" else value
            found[".".join(part for part in parts if part)] = flat
        else:
            found[key] = value
    return found


def _prefixes(key: str) -> list[str]:
    """Of a.b.c.d: a, a.b, a.b.c."""
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _split(qkv: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """q, k and v, which lie head by head unless they were split first."""
    heads = 1 if layout.split_first else layout.heads or len(qkv) // 3 // 64
    parts = qkv.squeeze(-1).unflatten(0, (heads, 3, -1)).unbind(1)
    return tuple(part.flatten(0, 1) for part in parts)


def denoiser(state: dict[str, Tensor], source: Path | str = "it") -> NetworkDenoiser:
    """The prior in a state dictionary of guided-diffusion.

    Raises:
        FileError: It is of no known layout, or a key does not fit.
    """
    plan = plan_of(state, source)
    net = empty_unet(plan.config())
    checkpoint.fit(net, converted(state, plan), source, state)
    learned = plan.out_channels == 2 * plan.channels
    convention = VariancePreserving(plan.layout.schedule, learned_range=learned)
    return NetworkDenoiser(net, convention).eval().requires_grad_(False)


class AttentionPool(nn.Module):
    """Every place and their mean attend to each other; what the mean learns is the answer."""

    def __init__(self, width: int, places: int, classes: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(width, places + 1))
        self.qkv_proj = nn.Conv1d(width, 3 * width, 1)
        self.c_proj = nn.Conv1d(width, classes, 1)

    def forward(self, h: Tensor) -> Tensor:
        h = h.flatten(2)
        h = torch.cat([h.mean(dim=2, keepdim=True), h], dim=2) + self.positional_embedding
        qkv = self.qkv_proj(h).unflatten(1, (3, h.shape[1] // 64, 64)).transpose(-1, -2)
        seen = functional.scaled_dot_product_attention(*qkv.unbind(1))
        return self.c_proj(seen.transpose(-1, -2).flatten(1, 2))[:, :, 0]


class ADMClassifier(nn.Module):
    """log p(label | x) by guided-diffusion's classifier of noisy pictures.

    Args:
        net: A network whose way up is not used, and is removed.
        size: Side of the pictures.
        classes: How many labels there are.
        convention: How it was trained.
    """

    kind = "adm-classifier"

    def __init__(self, net: Any, size: int, classes: int, convention: VariancePreserving) -> None:
        super().__init__()
        net.up_blocks = nn.ModuleList()
        del net.conv_out
        widths = net.config["block_out_channels"]
        with net.conv_in.weight.device:
            net.conv_norm_out = nn.GroupNorm(32, widths[-1])
            places = (size // 2 ** (len(widths) - 1)) ** 2
            self.pool = AttentionPool(widths[-1], places, classes)
        self.net, self.size, self.classes, self.convention = net, size, classes, convention
        self.channels: int = net.config["in_channels"]
        self.sigma_range = convention.sigma_range

    def forward(self, x: Signal, sigma: Float[Tensor, "*rows"]) -> Float[Tensor, "batch classes"]:
        """Logarithms of probabilities, ``(batch, classes)``, in the precision of x.

        Args:
            x: Noisy pictures, ``(batch, 3, size, size)``.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
        """
        net, level = self.net, sigma.to(x).expand(len(x))
        h = (x * self.convention.scale(level.view(-1, 1, 1, 1))).to(net.dtype)
        time = net.time_embedding(net.time_proj(self.convention.time(level)).to(net.dtype))
        h = net.conv_in(h)
        for block in net.down_blocks:
            h, _ = block(h, time)
        h = net.conv_act(net.conv_norm_out(net.mid_block(h, time)))
        return self.pool(h).to(x).log_softmax(dim=1)

    @classmethod
    def convert(cls, state: dict[str, Tensor], source: Path | str = "it") -> "ADMClassifier":
        """The classifier in a state dictionary of guided-diffusion.

        Raises:
            FileError: It is of no known layout, or a key does not fit.
        """
        plan = plan_of(state, source)
        classes, places = (
            state[key].shape[axis]
            for key, axis in (("out.2.c_proj.weight", 0), ("out.2.positional_embedding", 1))
        )
        size = math.isqrt(places - 1) * 2 ** (len(plan.attention) - 1)
        convention = VariancePreserving(plan.layout.schedule)
        made = cls(empty_unet(plan.config()), size, classes, convention)
        body = {key: value for key, value in state.items() if not key.startswith("out.2.")}
        head = {
            key.replace("out.2.", "pool."): value
            for key, value in state.items()
            if key.startswith("out.2.")
        }
        renamed = {f"net.{key}": value for key, value in converted(body, plan).items()}
        checkpoint.fit(made, renamed | head, source, state)
        return made.eval().requires_grad_(False)

    def save(self, path: Path) -> None:
        """Writes weights and configuration to one safetensors file."""
        build = {
            "config": settings(self.net.config),
            "size": self.size,
            "classes": self.classes,
            "convention": to_table(self.convention),
        }
        checkpoint.write(path, self.kind, build, self.state_dict())

    @classmethod
    def load(cls, path: Path) -> "ADMClassifier":
        """Reads what ``save`` wrote; the file holds no code.

        Raises:
            FileError: It is not such a file.
        """
        _, build, state = checkpoint.read(path)
        build["convention"] = from_table(build["convention"])
        made = cls(empty_unet(build.pop("config")), **build)
        checkpoint.fit(made, state, path)
        return made.eval().requires_grad_(False)


def is_classifier(state: dict[str, Tensor]) -> bool:
    return "out.2.positional_embedding" in state
