"""The noise that a clip is told to have: of trackers in metres, else in units of the prior."""

from ...errors import SettingError

TRACKED, NOISY = 0.01, 0.1
"""Noise where none is told: of trackers, and of a clip."""


def check_tracked(noise: float) -> None:
    """Refuses what no tracker has."""
    if not 0 <= noise <= 10:
        raise SettingError(f"Wanted noise of 0 to 10 metres, but got {noise}. Try --noise 0.01.")


def check_noisy(sigma_y: float) -> None:
    """Refuses what leaves nothing to remove, or nothing of the clip."""
    if not 0.001 <= sigma_y <= 10:
        raise SettingError(f"Wanted noise of 0.001 to 10, but got {sigma_y}. Try --sigma-y 0.1.")
