"""What a server takes, and how much of it; light to import."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ..errors import SettingError
from ..recipe import settings_said


@dataclass(frozen=True)
class Limits:
    """What one job may ask for, and how many there may be.

    Attributes:
        bytes: Of one request, all files together.
        pixels: Of the restored picture.
        steps: Noise levels to walk down.
        samples: To draw.
        seconds: Of one restoration.
        queued: Jobs that wait.
        kept: Jobs that are over and whose files are still there; the oldest goes first.
    """

    bytes: int = 50_000_000
    pixels: int = 1_000_000
    steps: int = 1_000
    samples: int = 64
    seconds: int = 3_600
    queued: int = 8
    kept: int = 16

    @classmethod
    def said(cls, words: Sequence[str]) -> "Limits":
        """Limits as a command line has them: ``["pixels=4000000", "kept=2"]``.

        Raises:
            SettingError: There is no such limit, or it is no whole number from 1 on.
        """
        known = [entry.name for entry in fields(cls)]
        found = settings_said(words)
        for name, value in found.items():
            if name not in known:
                raise SettingError(f"Wanted a limit, one of {', '.join(known)}, but got {name!r}.")
            if not (str(value).isdecimal() and 1 <= int(value) <= 10**12):
                raise SettingError(
                    f"Wanted a whole number from 1 on for {name}, but got {str(value)[:40]!r}. "
                    f"Try --limit {name}={getattr(cls, name)}."
                )
        return replace(cls(), **{name: int(value) for name, value in found.items()})

    def check(self, name: str, value: int) -> None:
        """Refuses what is beyond a limit.

        Raises:
            SettingError: It is.
        """
        most = getattr(self, name)
        if value > most:
            raise SettingError(
                f"Wanted at most {most} {name}, but got {value}. Ask for less, or start the "
                f"server with --limit {name}={value}."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
