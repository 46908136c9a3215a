"""The kinds of signals, by name; nothing of them is imported before it is asked for."""

from typing import Any

from .errors import SettingError
from .registry import Registry

DOMAINS: Registry[Any] = Registry(
    "a domain",
    "hdagger.domains",
    {
        "pictures": "hdagger.domains.pictures.domain:PICTURES",
        "ct": "hdagger.domains.ct.domain:CT",
        "lensing": "hdagger.domains.lensing.domain:LENSING",
        "motion": "hdagger.domains.motion.domain:MOTION",
        "mri": "hdagger.domains.mri.domain:SCANS",
    },
)
"""Name -> the domain, as :data:`.domain.DOMAINS` has it."""

MOST_TRUTHS = 1000
"""Signals on which a prior is calibrated."""


def check_truths(count: int) -> None:
    """Refuses a number of clean signals on which a prior is not calibrated."""
    if not 2 <= count <= MOST_TRUTHS:
        raise SettingError(
            f"Wanted 2 to {MOST_TRUTHS} signals to measure, but got {count}. Try 32."
        )
