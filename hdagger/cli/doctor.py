"""``hdagger doctor``: what is installed, what is missing, and whether it computes rightly."""

import os
import platform
import re
from importlib import metadata
from typing import Any

import typer

from ..options import AsJson
from ..telling import Exit, tell

NAME = re.compile(r"[A-Za-z0-9._-]+")


def doctor(as_json: AsJson = False) -> None:
    """Tell what is installed, and test whether it computes what it should; a few seconds.

    The exit code is 1 if something is wrong. Put what it prints into a report of a bug.

    Example:

        hdagger doctor
    """
    told: dict[str, Any] = {
        "hdagger": metadata.version("hdagger"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{name: _version(name) for name in ("torch", "numpy", "pillow")},
    }
    extras = {name: _missing(name) for name in _extras()}
    if not as_json:
        for name, value in told.items():
            print(f"{name:12} {value}")
        for name, missing in extras.items():
            mend = f"without {', '.join(missing)}: pip install 'hdagger[{name}]'"
            print(f"[{name}]".ljust(13) + (mend if missing else "installed"))

    import torch

    from ..selftest import findings
    from ..solving import BFLOAT16

    told["threads"] = torch.get_num_threads()
    told["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    told["bfloat16"] = BFLOAT16
    found = []
    if not as_json:
        print(
            f"computes     on {told['device']}, {told['threads']} threads, networks in "
            f"{'bfloat16' if BFLOAT16 else 'float32'} where that is enough"
        )
    for finding in findings():
        found.append(finding)
        if not as_json:
            said = "well" if finding.well else "WRONG"
            print(f"{said:12} {finding.question}: {finding.answer}")
    well = all(finding.well for finding in found)
    if as_json:
        tests = [vars(finding) for finding in found]
        tell(told | {"missing": extras, "tests": tests, "well": well})
    else:
        print("All is well." if well else "Something is wrong: install hdagger again.")
    if not well:
        raise typer.Exit(Exit.FAILED)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _extras() -> list[str]:
    return [
        name
        for name in metadata.metadata("hdagger").get_all("Provides-Extra") or []
        if name != "dev"
    ]


def _missing(extra: str) -> list[str]:
    """What an extra asks for and is not installed."""
    asked = [
        text
        for text in metadata.requires("hdagger") or []
        if f"extra == '{extra}'" in text.replace('"', "'")
    ]
    names = [match.group() for text in asked if (match := NAME.match(text))]
    return [name for name in names if _version(name) == "missing"]
