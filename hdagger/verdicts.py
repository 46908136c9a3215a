"""What ``hdagger check`` found of a method with a prior: a small file beside the prior's weights.

A verdict holds for the weights that it was made with, told by their SHA-256, and for the
measurement that was simulated; it is given with both.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import FileError
from .files import whole_file

MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Verdict:
    """A check, and what came out.

    Attributes:
        method: Name of the sampler, as ``hdagger restore`` calls it.
        steps: Noise levels that it walked down.
        prior_sha256: Of the weights.
        operator: What was measured, in text form.
        sigma_y: Standard deviation of the noise on the data.
        truths: What was measured, such as ``"24 crops of pictures"``.
        side: Side of a truth, in pixels.
        draws: Samples of each truth.
        coverage_90: How often the truth lay in the central 90 % interval of its pixel.
        chi2_dof: |y - H x|^2 over what the noise explains; None for exact data.
        words: The finding as one line.
    """

    method: str
    steps: int
    prior_sha256: str
    operator: str
    sigma_y: float
    truths: str
    side: int
    draws: int
    coverage_90: float
    chi2_dof: float | None
    words: str

    def __str__(self) -> str:
        return (
            f"{self.method} with {self.steps} steps on {self.truths} of {self.side} x {self.side} "
            f"({self.operator}, sigma_y {self.sigma_y:g}): {self.words}"
        )


def fingerprint(weights: Path) -> str:
    """SHA-256 of a file."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verdict_file(weights: Path) -> Path:
    """Where the verdicts on a prior are: beside its weights."""
    return weights.with_suffix(".verdicts.json")


def stored(weights: Path, sha256: str) -> list[Verdict]:
    """The verdicts on the weights with this SHA-256, none if there is no file.

    Raises:
        FileError: The file holds something else.
    """
    return [verdict for verdict in _read(verdict_file(weights)) if verdict.prior_sha256 == sha256]


def store(weights: Path, verdict: Verdict) -> Path:
    """Adds a verdict; one of the same method and operator, or on other weights, goes.

    Returns:
        The file.

    Raises:
        FileError: It cannot be written, or holds something else.
    """
    path = verdict_file(weights)
    subject = (verdict.method, verdict.operator)
    others = [
        other
        for other in stored(weights, verdict.prior_sha256)
        if (other.method, other.operator) != subject
    ]
    rows = [json.dumps(asdict(each)) for each in (*others, verdict)]
    with whole_file(path) as partial:
        partial.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    return path


def _read(path: Path) -> list[Verdict]:
    if not path.exists():
        return []
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        return [Verdict(**row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise FileError(
            f"Wanted verdicts of hdagger check, but {path} holds something else ({error}). "
            "Move it away."
        ) from error
