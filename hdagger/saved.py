"""What a restoration left in a folder: from it a report is made again, and compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import FileError
from .files import brief, check_file, check_restoration, read_arrays
from .samples import PosteriorSamples

SAMPLES, SUMMARY, RECIPE, REPORT, TRUTH = (
    "samples.npz", "summary.json", "recipe.toml", "report.html", "truth.npz",
)  # fmt: skip

LONGEST = 10_000_000
"""Bytes of a summary or of a recipe."""


@dataclass(frozen=True)
class Saved:
    """A restoration in its folder.

    Attributes:
        folder: Where it is.
        samples: What was drawn; None where the folder has them in folders of its own.
        summary: Its numbers, as *summary.json* has them.
        recipe: How it was drawn, as *recipe.toml* has it.
        truth: What was measured, if it is known, in the units of the domain's signals.
    """

    folder: Path
    samples: PosteriorSamples | None
    summary: Mapping[str, Any]
    recipe: str = ""
    truth: Tensor | None = field(default=None)

    @property
    def domain(self) -> str:
        """The kind of signal."""
        return str(self.summary["domain"])

    @property
    def draws(self) -> Tensor:
        """The samples, ``(samples, ...)``, as the folder has them."""
        assert self.samples is not None
        return self.samples.draws

    @classmethod
    def read(cls, folder: Path) -> "Saved":
        """What lies in a folder. Nothing in it is executed, and all of it is bounded.

        Raises:
            FileError: It is no folder of a restoration, or something in it is broken.
        """
        try:
            summary = json.loads(_text(folder / SUMMARY))
            recipe = _text(folder / RECIPE)
            if not isinstance(summary["domain"], str):
                raise ValueError("the domain is no name")
        except FileError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise FileError(
                f"Wanted the folder of a restoration, but {folder} is none that can be read "
                f"({brief(error)}). Name the folder that restore wrote, or restore again."
            ) from error
        samples, truth = folder / SAMPLES, folder / TRUTH
        return cls(
            folder,
            PosteriorSamples.load(samples) if samples.is_file() else None,
            summary,
            recipe,
            read_truth(truth) if truth.is_file() else None,
        )


def write_truth(folder: Path, truth: Tensor) -> None:
    """Keeps the truth beside samples of it, for the report."""
    np.savez_compressed(folder / TRUTH, allow_pickle=False, truth=truth.cpu().numpy())


def read_truth(path: Path) -> Tensor:
    """What :func:`write_truth` wrote.

    Raises:
        FileError: It is something else.
    """
    mend = "Restore again with --truth."
    arrays = read_arrays(path, "a truth", mend)
    if "truth" not in arrays:
        raise FileError(f"Wanted a truth, but {path} holds something else. {mend}")
    return torch.from_numpy(arrays["truth"])


def restorations_in(folder: Path) -> list[Path]:
    """The folder, if it is one of a restoration; else all such folders in it, at any depth.

    Raises:
        FileError: There is none.
    """
    check_restoration(folder)
    if _is_restoration(folder):
        return [folder]
    inside = sorted(path.parent for path in folder.rglob(RECIPE))
    seen = [path for path in inside if not _is_hidden(path.relative_to(folder))]
    if found := [path for path in seen if _is_restoration(path)]:
        return found
    raise FileError(
        f"Wanted the folder of a restoration, but {folder} has no {SUMMARY} with {RECIPE}. "
        "Name the folder that restore or batch wrote."
    )


def _is_restoration(folder: Path) -> bool:
    return (folder / SUMMARY).is_file() and (folder / RECIPE).is_file()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _text(path: Path) -> str:
    check_file(path, "a file of a restoration")
    with path.open("rb") as file:
        return file.read(LONGEST).decode()
