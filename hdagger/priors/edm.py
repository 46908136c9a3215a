"""Networks of EDM, EDM2 and NCSN++, whose code stays in the user's own clone.

NVIDIA's checkpoints are pickles that carry code, and that code's licence forbids commercial use:
hdagger holds none of it. A pickle is opened once, on the user's word; what is kept is the weights
as safetensors, and which class of the clone they belong to. A load imports that class again, and
refuses if its file has changed.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022.
    https://arxiv.org/abs/2206.00364, https://github.com/NVlabs/edm
    Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024.
    https://arxiv.org/abs/2312.02696, https://github.com/NVlabs/edm2
"""

import hashlib
import importlib
import math
import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import FileError, ShapeError
from ..files import check_file
from ..tensors import Label, Signal
from . import checkpoint
from .base import check_label

PACKAGES = ("training", "torch_utils", "dnnlib")
"""What a clone puts on the path."""


@dataclass(frozen=True)
class Origin:
    """Where a network's code is.

    Attributes:
        clone: The user's clone.
        module: Its module, such as ``training.networks``.
        name: The class.
        sha256: Of the module's file when the network was added.
        args: What the class was made with, by place.
        kwargs: By name.
    """

    clone: str
    module: str
    name: str
    sha256: str
    args: list[Any]
    kwargs: dict[str, Any]

    def make(self) -> nn.Module:
        """A network of the class, with weights as they come.

        Raises:
            FileError: The clone is gone or has changed, or its code fails.
        """
        file = Path(self.clone, *self.module.split(".")).with_suffix(".py")
        check_file(file, "the code of the network")
        if hashlib.sha256(file.read_bytes()).hexdigest() != self.sha256:
            raise FileError(
                f"Wanted the code that the prior was added with, but {file} has changed since. "
                "Look at the change, and add the prior again."
            )
        with _on_path(Path(self.clone)):
            try:
                made = getattr(importlib.import_module(self.module), self.name)
                return made(*self.args, **self.kwargs)
            except Exception as error:  # the clone's code may fail in any way
                raise FileError(
                    f"Wanted {self.name} from {file}, but its code fails "
                    f"({type(error).__name__}: {str(error).splitlines()[:1]}). "
                    "Install what the clone needs."
                ) from error


class ClonedDenoiser(nn.Module):
    """D(x, sigma) of a network that preconditions itself: net(x, sigma, one-hot label).

    Args:
        net: The network.
        origin: Where its code is.
    """

    kind = "edm"

    def __init__(self, net: nn.Module, origin: Origin) -> None:
        super().__init__()
        self.net, self.origin = net, origin
        settings: Any = net
        self.size: int = int(settings.img_resolution)
        self.channels: int = int(settings.img_channels)
        self.classes: int = int(settings.label_dim or 0)
        low, high = (float(getattr(net, name, 0) or 0) for name in ("sigma_min", "sigma_max"))
        self.sigma_range = (max(low, 0.002), high if 0 < high < math.inf else 80.0)

    def forward(
        self, x: Signal, sigma: Float[Tensor, "*rows"], label: Label | None = None
    ) -> Signal:
        """E[x0 | x], in the precision of x; the network computes in its own.

        Args:
            x: Noisy pictures, ``(batch, channels, size, size)``.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
            label: The class of each, ``(batch,)``.
        """
        if x.shape[2:] != (self.size, self.size):
            raise ShapeError(
                f"The prior works on pictures of {self.size} x {self.size}, but got "
                f"{x.shape[2]} x {x.shape[3]}. Crop or resize the picture."
            )
        check_label(label, self.classes)
        rows = None
        if self.classes:
            rows = torch.zeros(len(x), self.classes, device=x.device)
            rows = rows if label is None else functional.one_hot(label, self.classes).to(rows)
        return self.net(x.float(), sigma.to(x).float().expand(len(x)), rows).to(x)

    def save(self, path: Path) -> None:
        """Writes weights and origin to one safetensors file."""
        checkpoint.write(path, self.kind, asdict(self.origin), self.net.state_dict())

    @classmethod
    def load(cls, path: Path) -> "ClonedDenoiser":
        """Reads what ``save`` wrote, and imports the network's class from the clone.

        Raises:
            FileError: The file or the clone is not what it was.
        """
        _, build, state = checkpoint.read(path)
        origin = Origin(**build)
        net = origin.make()
        checkpoint.fit(net, state, path)
        return cls(net, origin).eval().requires_grad_(False)


def convert(path: Path, clone: Path) -> ClonedDenoiser:
    """The denoiser in a pickle. This runs the code in the pickle, and that in the clone.

    Args:
        path: The pickle: a network, or a dictionary with one under ``"ema"``.
        clone: The repository that it was trained with.

    Raises:
        FileError: It is no such pickle or clone, or the clone's class differs from the pickle's.
    """
    check_file(path, "an EDM network")
    with _on_path(clone):
        try:
            with path.open("rb") as file:
                held = pickle.load(file)
            net = (held["ema"] if isinstance(held, dict) else held).float().eval()
            made_with = list(net.init_args), dict(net.init_kwargs)
        except Exception as error:  # a pickle may fail in any way
            raise FileError(
                f"Wanted a network of EDM, but {path} with the clone {clone} does not give one "
                f"({type(error).__name__}: {error}). Give the repository that it was made with."
            ) from error
    name = type(net).__name__
    file = _defining(name, clone)
    origin = Origin(
        str(clone.resolve()),
        ".".join(file.relative_to(clone).with_suffix("").parts),
        name,
        hashlib.sha256(file.read_bytes()).hexdigest(),
        *made_with,
    )
    again = origin.make()
    checkpoint.fit(again, net.state_dict(), path)
    made, carried = (ClonedDenoiser(n.eval().requires_grad_(False), origin) for n in (again, net))
    x, sigma = torch.randn(1, made.channels, made.size, made.size), torch.tensor(0.7)
    if not torch.allclose(made(x, sigma), carried(x, sigma), atol=1e-5):
        raise FileError(
            f"Wanted the code that {path} was made with, but {file} computes something else. "
            "Check out the version that made it."
        )
    return made


def _defining(name: str, clone: Path) -> Path:
    """The file of a clone that defines a class."""
    for folder in (clone / "training", clone):
        for file in sorted(folder.glob("*.py")):
            if re.search(rf"^class {re.escape(name)}\b", file.read_text(), re.MULTILINE):
                return file
    raise FileError(
        f"Wanted the code of {name}, but no file of {clone} or {clone / 'training'} has it. "
        "Give the repository that the pickle was made with."
    )


@contextmanager
def _on_path(clone: Path) -> Iterator[None]:
    """The clone's modules can be imported, and no other clone's are in their place."""
    if not clone.is_dir():
        raise FileError(f"Wanted a clone of the authors' code, but {clone} is no folder.")
    for module in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        del sys.modules[module]
    sys.path.insert(0, str(clone.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(clone.resolve()))
