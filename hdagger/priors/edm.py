"""Networks of EDM, EDM2 and NCSN++, whose code stays in the user's own clone.

NVIDIA's checkpoints are pickles that carry code, and that code's licence forbids commercial use:
hdagger holds none of it. A pickle is opened once, on the user's word, in a process of its own;
what is kept is the weights as safetensors. What was trusted then is noted outside that file, in
``trusted`` in the user's own folder: for the SHA-256 of the weights, the clone, the class, and the
SHA-256 of every file of the clone that it imported. A file of weights has no say in this: without
such a note it is refused, and a load runs the noted files of the clone and no others.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022.
    https://arxiv.org/abs/2206.00364, https://github.com/NVlabs/edm
    Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024.
    https://arxiv.org/abs/2312.02696, https://github.com/NVlabs/edm2
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ..errors import FileError, HDaggerError, ShapeError
from ..files import brief, check_file, fingerprint, user_data, whole_file
from ..tensors import Label, Signal
from . import checkpoint
from .base import check_label
from .clone import Clone

LARGEST_NOTE = 200_000
"""Bytes of a note of what was trusted."""

LONGEST_OPENING = 1800
"""Seconds that a pickle may take to open."""


@dataclass(frozen=True)
class Origin:
    """Where a network's code is, and what of it was trusted.

    Attributes:
        clone: The user's clone.
        module: Its module, such as ``training.networks``.
        name: The class.
        args: What the class was made with, by place.
        kwargs: By name.
        files: SHA-256 of every module of the clone that was imported, by its name.
    """

    clone: str
    module: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)

    def make(self, clone: Clone) -> nn.Module:
        """A network of the class, with weights as they come.

        Raises:
            FileError: The clone is gone or has changed, or its code fails.
        """
        try:
            made = getattr(clone.load(self.module), self.name)(*self.args, **self.kwargs)
        except HDaggerError:
            raise
        except Exception as error:  # the clone's code may fail in any way
            raise FileError(
                f"Wanted {self.name} from {self.module} of {self.clone}, but its code fails "
                f"({type(error).__name__}: {brief(error)}). Install what the clone needs."
            ) from error
        if not isinstance(made, nn.Module):
            raise FileError(
                f"Wanted a network, but {self.name} of {self.clone} makes a "
                f"{type(made).__name__}. Give the repository that the pickle was made with."
            )
        return made

    def note(self, weights: Path) -> None:
        """Notes that the code of this file of weights is trusted."""
        note = json.dumps(asdict(self), indent=1)
        if len(note) > LARGEST_NOTE:
            raise FileError(
                f"Wanted a network made with plain settings, but those of {self.name} take "
                f"{len(note)} characters. Such a network cannot be added."
            )
        with whole_file(_note(fingerprint(weights))) as path:
            path.write_text(note + "\n")

    @classmethod
    def noted(cls, weights: Path) -> "Origin":
        """What was trusted for a file of weights.

        Raises:
            FileError: Nothing was, or the note is broken.
        """
        path = _note(fingerprint(weights))
        if not path.is_file():
            raise FileError(
                f"Wanted weights whose code was trusted here, but for {weights} none was, and the "
                "file itself has no say in that. Add the pickle that they come from: "
                "hdagger priors add NAME --from X.pkl --trust-pickle CLONE."
            )
        try:
            if path.stat().st_size > LARGEST_NOTE + 1:
                raise ValueError("it is too long")
            origin = cls(**json.loads(path.read_text()))
            words = [origin.clone, origin.module, origin.name, *origin.files.values()]
            if not all(isinstance(word, str) for word in words):
                raise ValueError("it holds other things than names")
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FileError(
                f"Wanted a note of what was trusted, but {path} is not one ({brief(error)}). "
                "Add the prior again."
            ) from error
        return origin


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
        """Writes the weights to a safetensors file, and notes that their code is trusted."""
        checkpoint.write(path, self.kind, {}, self.net.state_dict())
        self.origin.note(path)

    @classmethod
    def load(cls, path: Path) -> "ClonedDenoiser":
        """Reads what ``save`` wrote, and runs the code in the clone that was trusted for it.

        Raises:
            FileError: No code was trusted for this file, or file or clone are not what they were.
        """
        _, _, state = checkpoint.read(path)
        origin = Origin.noted(path)
        net = origin.make(Clone(Path(origin.clone), origin.files))
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
    code = Clone(clone)
    held, tensors = _opened(path, code.folder)
    probe = {name: tensors.pop(f"probe.{name}") for name in ("x", "sigma", "D")}
    state = {name.removeprefix("net."): value for name, value in tensors.items()}
    origin = Origin(
        str(code.folder), _defining(held["name"], code), held["name"], held["args"], held["kwargs"]
    )
    net = origin.make(code)
    checkpoint.fit(net, state, path)
    made = ClonedDenoiser(net.eval().requires_grad_(False), origin)
    if not torch.allclose(made(probe["x"], probe["sigma"]), probe["D"], atol=1e-5):
        raise FileError(
            f"Wanted the code that {path} was made with, but {origin.module} of {clone} computes "
            "something else. Check out the version that made it."
        )
    origin.files.update(code.files)
    return made


def _opened(path: Path, clone: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is in a pickle, by a process of its own: class and settings; weights and a probe."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(__file__).with_name("edm_pickle.py")
        try:
            done = subprocess.run(
                [sys.executable, "-P", program, path.resolve(), clone, folder],
                capture_output=True, text=True, timeout=LONGEST_OPENING, check=False,
            )  # fmt: skip
            if done.returncode:
                raise ValueError(brief((done.stderr.strip() or "it ends").splitlines()[-1]))
            held = json.loads(Path(folder, "held.json").read_text())
            return held, load_file(Path(folder, "tensors.safetensors"))
        except (subprocess.TimeoutExpired, OSError, ValueError) as error:
            raise FileError(
                f"Wanted a network of EDM, but {path} with the clone {clone} does not give one "
                f"({brief(error)}). Give the repository that it was made with."
            ) from error


def _defining(name: str, clone: Clone) -> str:
    """The module of a clone that defines a class."""
    for folder in (clone.folder / "training", clone.folder):
        for file in sorted(folder.glob("*.py")):
            text = file.read_text(errors="replace")
            if re.search(rf"^class {re.escape(name)}\b", text, re.MULTILINE):
                return ".".join(file.relative_to(clone.folder).with_suffix("").parts)
    raise FileError(
        f"Wanted the code of {name}, but no file of {clone.folder} or its folder training has it. "
        "Give the repository that the pickle was made with."
    )


def _note(sha256: str) -> Path:
    return user_data() / "trusted" / f"{sha256}.json"
