"""The options that say what happened to a picture, shared by ``restore`` and ``degrade``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from torch import Tensor

from ...errors import SettingError
from .files import read_mask, read_picture
from .words import Stage, parse

Mask = Annotated[Path | None, typer.Option(help="Picture whose white pixels are missing.")]
Upscale = Annotated[int | None, typer.Option(help="Times smaller than it was: 2 to 16.")]
Kernel = Annotated[str, typer.Option(help="How it was made smaller: box or bicubic.")]
Blur = Annotated[
    str | None,
    typer.Option(help="gauss:DEVIATION, motion:LENGTH,ANGLE, or a picture of the kernel."),
]
Colorize = Annotated[bool, typer.Option("--colorize", help="It lost its colours.")]
Denoise = Annotated[
    float | None, typer.Option(help="Standard deviation of its noise, of 255 (as in 25).")
]
SigmaY = Annotated[
    float | None,
    typer.Option(
        help="Standard deviation of its noise, for pixels in [-1, 1] (0.1 is 12.75 of 255)."
    ),
]
OperatorText = Annotated[
    str | None,
    typer.Option(
        "--operator",
        help="All of it as one text, first things first: 'average:4 | jpeg:10 | mask:holes.png'.",
    ),
]


@dataclass(frozen=True)
class Damages:
    """What happened to a picture, in the order light takes: colour, blur, reduction, holes."""

    mask: Path | None = None
    upscale: int | None = None
    kernel: str = "box"
    blur: str | None = None
    colorize: bool = False
    denoise: float | None = None
    sigma_y: float | None = None
    text: str | None = None

    def operator(self) -> str:
        """The text form, ``"none"`` where nothing was said."""
        stages = []
        if self.colorize:
            stages.append("gray")
        if self.blur is not None:
            stages.append(self.blur if _is_text(self.blur) else "kernel")
        if self.upscale is not None:
            names = {"box": "average", "bicubic": "bicubic"}
            if self.kernel not in names:
                raise SettingError(
                    f"Wanted --kernel box or bicubic, but got {self.kernel!r}. "
                    "Leave it out for box."
                )
            stages.append(f"{names[self.kernel]}:{self.upscale}")
        if self.mask is not None:
            stages.append("mask")
        if self.text is not None:
            if stages:
                raise SettingError(
                    f"Wanted the damage said once, but got --operator and {' | '.join(stages)}. "
                    "Put all of it into --operator."
                )
            stages = [stage.name if _is_file(stage) else str(stage) for stage in parse(self.text)]
        return " | ".join(stages) or "none"

    def arrays(self) -> dict[str, Tensor]:
        """The mask and the kernel, where they come from files."""
        files: dict[str, Path] = {}
        if self.mask is not None:
            files["mask"] = self.mask
        if self.blur is not None and not _is_text(self.blur):
            files["kernel"] = Path(self.blur)
        if self.text is not None:
            files |= {s.name: Path(s.argument) for s in parse(self.text) if _is_file(s)}
        readers = {"mask": read_mask, "kernel": read_kernel}
        return {name: readers[name](path) for name, path in files.items()}

    def noise(self) -> float | None:
        """sigma_y, where it was said."""
        if self.denoise is not None and self.sigma_y is not None:
            raise SettingError(
                "Wanted the noise once, but got --denoise and --sigma-y. Leave one out."
            )
        sigma_y = self.sigma_y if self.denoise is None else self.denoise * 2 / 255
        if sigma_y is not None and not 0 <= sigma_y <= 10:
            raise SettingError(
                f"Wanted a standard deviation from 0 to 10, but got {sigma_y:g}. "
                "Try --sigma-y 0.1."
            )
        return sigma_y


def read_kernel(path: Path) -> Tensor:
    """The kernel that a picture shows, white on black, with sum 1."""
    kernel = read_picture(path).pixels.mean(dim=0) + 1
    if kernel.sum() <= 0:
        raise SettingError(
            f"Wanted a kernel with something in it, but {path} is black. Draw it white on black."
        )
    return kernel / kernel.sum()


def _is_file(stage: Stage) -> bool:
    return stage.name in ("mask", "kernel") and bool(stage.argument)


def _is_text(blur: str) -> bool:
    return blur.startswith(("gauss:", "motion:"))
