"""What a command tells: results on the output stream, all else on the error stream; exit codes.

A result is one line of JSON where that is asked for. Nothing but results is ever on the output.
"""

import json
import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from rich.console import Console


class Exit(IntEnum):
    """The exit codes of all commands."""

    FINE = 0
    FAILED = 1
    """The command did its work, and what it found is not well: a verdict failed, or some items."""
    REFUSED = 2
    """What was given cannot be worked on; one line says why, and nothing was written."""
    INTERRUPTED = 130
    """Ctrl-C: nothing is half-written, and long work goes on by the same command."""
    TERMINATED = 143
    """SIGTERM: the same."""


def tell(result: Mapping[str, Any]) -> None:
    """Prints a result as one line of JSON, at once.

    Example:
        >>> tell({"chi2_dof": 1.02, "psnr": float("inf")})
        {"chi2_dof": 1.02, "psnr": null}
    """
    print(json.dumps(_plain(result), allow_nan=False), flush=True)


def note(text: str) -> None:
    """Prints a line on the error stream; what a terminal might obey in it is a question mark."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line, markup=False)


def _plain(value: Any) -> Any:
    """With null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
