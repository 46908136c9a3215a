"""Gives a bundled prior the covariances of another training.

    python scripts/lend_covariances.py TABLE NAME

Where there are too few subjects to hold one out for good, a second network is trained without one
of them, and calibrated on that one by hdagger priors calibrate: TABLE is what came out. Its errors
are those on a subject that it has not seen, which a network that saw all cannot tell of itself.
"""

import sys
from pathlib import Path

from hdagger.files import fingerprint
from hdagger.priors import checkpoint
from hdagger.priors.cards import BUNDLED


def main(table: Path, name: str) -> None:
    kind, build, tensors = checkpoint.read(table)
    build["prior_sha256"] = fingerprint(BUNDLED / f"{name}.safetensors")
    checkpoint.write(BUNDLED / f"{name}.covariance.safetensors", kind, build, tensors)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
