"""The options that say what happened to a picture, shared by ``restore`` and ``degrade``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import SettingError
from ...files import check_file
from ...recipe import plain
from .arguments import ARGUMENTS, BLURS, check_text, split_file

WORDS = tuple(sorted(ARGUMENTS))
"""What operators on pictures are called: the names of :data:`.words.DAMAGES`."""


def complete(incomplete: str) -> list[str]:
    """For a shell: the text so far, its last word completed."""
    before, bar, word = incomplete.rpartition("|")
    space = " " if bar else ""
    return [f"{before}{bar}{space}{name}" for name in WORDS if name.startswith(word.strip())]


Mask = Annotated[
    Path | None,
    typer.Option(help="Picture whose white pixels are missing, or those drawn on nothing."),
]
Upscale = Annotated[int | None, typer.Option(help="Times smaller than it was: 2 to 16.")]
Kernel = Annotated[
    str | None, typer.Option(help="How it was made smaller: box (by default) or bicubic.")
]
Blur = Annotated[
    str | None,
    typer.Option(
        help="gauss:DEVIATION, motion:LENGTH,ANGLE, disk:RADIUS or a picture of the kernel; with "
        ",mirror or ,circular where it is known what lies around the picture."
    ),
]
Colorize = Annotated[bool | None, typer.Option("--colorize", help="It lost its colours.")]
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
        autocompletion=complete,
    ),
]


KINDS: Mapping[str, Any] = {
    "mask": str | Path,
    "upscale": int,
    "kernel": str,
    "blur": str,
    "colorize": bool,
    "denoise": int | float,
    "sigma_y": int | float,
    "operator": str,
}
"""Of the values in a recipe's table ``[damage]``."""


def is_word(blur: str) -> bool:
    """Whether a blur is said by a word, and not by the name of a file."""
    return blur.partition(":")[0] in BLURS


@dataclass(frozen=True)
class Damages:
    """What happened to a picture, in the order light takes: colour, blur, reduction, holes."""

    mask: Path | None = None
    upscale: int | None = None
    kernel: str | None = None
    blur: str | None = None
    colorize: bool | None = None
    denoise: float | None = None
    sigma_y: float | None = None
    operator: str | None = None

    def __post_init__(self) -> None:
        if self.kernel not in (None, "box", "bicubic"):
            raise SettingError(
                f"Wanted --kernel box or bicubic, but got {self.kernel!r}. Leave it out for box."
            )
        if self.kernel is not None and self.upscale is None:
            raise SettingError(
                f"Wanted --upscale beside --kernel {self.kernel}, but got none. "
                "Say how many times smaller it was."
            )
        if self.upscale is not None and not 1 <= self.upscale <= 16:
            raise SettingError(f"Wanted --upscale 1 to 16, but got {self.upscale}. Try 4.")
        if self.denoise is not None and self.sigma_y is not None:
            raise SettingError(
                "Wanted the noise once, but got --denoise and --sigma-y. Leave one out."
            )
        if self.noise is not None and not 0 <= self.noise <= 10:
            raise SettingError(
                f"Wanted a standard deviation from 0 to 10, but got {self.noise:g}. "
                "Try --sigma-y 0.1."
            )
        if self.operator is not None and self._said:
            raise SettingError(
                f"Wanted the damage said once, but got --operator and {' | '.join(self._said)}. "
                "Put all of it into --operator."
            )
        check_text(self.text)

    @property
    def noise(self) -> float | None:
        """sigma_y, where it was said."""
        return self.sigma_y if self.denoise is None else self.denoise * 2 / 255

    @property
    def text(self) -> str:
        """The text form with the names of files in it, ``"none"`` where nothing was said."""
        return self.operator or " | ".join(self._said) or "none"

    @property
    def _said(self) -> list[str]:
        reduced = {"bicubic": "bicubic"}.get(self.kernel or "", "average")
        blur = self.blur or ""
        words = {
            "gray": self.colorize,
            blur if is_word(blur) else f"kernel:{blur}": self.blur,
            f"{reduced}:{self.upscale}": self.upscale,
            f"mask:{self.mask}": self.mask,
        }
        return [word for word, said in words.items() if said]

    def check_files(self) -> None:
        """Refuses a file that is not there; nothing is read.

        Raises:
            FileError: A mask or a kernel is missing or empty.
            SettingError: Nobody says which file the kernel is in.
        """
        for stage in check_text(self.text):
            file, _ = split_file(stage)
            if file:
                check_file(Path(file), f"a {stage.name}")
            elif stage.name == "kernel":
                raise SettingError(
                    "Wanted the file of a kernel, but got none. Give it with --blur, or as in "
                    "kernel:psf.png."
                )

    def or_else(self, others: "Damages") -> "Damages":
        """These where anything was said of what happened, else the others."""
        return self if self != Damages() else others

    @property
    def table(self) -> dict[str, Any]:
        """What was said, by its names, files by their whole names."""
        told = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: str(value.resolve()) if isinstance(value, Path) else value
            for name, value in told.items()
            if value is not None
        }

    def to_toml(self) -> str:
        """A table ``[damage]``, files by their whole names; nothing where nothing was said."""
        lines = [f"{name} = {plain(value)}\n" for name, value in self.table.items()]
        return "\n[damage]\n" + "".join(lines) if lines else ""

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Damages":
        """From what ``to_toml`` wrote.

        Raises:
            SettingError: It says something unknown.
        """
        said = dict(table)
        for name, value in said.items():
            kind = KINDS.get(name, object)
            if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
                raise SettingError(
                    f"Wanted another kind of value for {name}, but the recipe has "
                    f"{str(value)[:100]!r}. Mend it."
                )
        if "mask" in said:
            said["mask"] = Path(str(said["mask"]))
        try:
            return cls(**said)
        except TypeError as error:
            known = ", ".join(entry.name for entry in fields(cls))
            raise SettingError(
                f"Wanted a damage said by {known}, but the recipe has others ({error})."
            ) from error
