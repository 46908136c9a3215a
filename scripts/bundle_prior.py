"""Puts a trained prior into the package: scripts/bundle_prior.py RUN/prior.safetensors [NAME]

NAME is photo by default.

Writes the weights in eight bits (hdagger/priors/eight_bits.py), and the file's sha256 into the
card; the card's words and figures are yours.
Verdicts on other weights go: make new ones with hdagger check --prior photo --store, and copy them
from hdagger/verdicts in the user's data folder to photo.verdicts.json beside the card.
"""

import re
import sys
from pathlib import Path

from hdagger.files import fingerprint
from hdagger.priors import checkpoint
from hdagger.priors.cards import BUNDLED
from hdagger.priors.eight_bits import packed


def main(weights: Path, name: str = "photo") -> None:
    bundled = BUNDLED / f"{name}.safetensors"
    checkpoint.write(
        bundled, *checkpoint.read_kind(weights), packed(checkpoint.read_state(weights))
    )
    card = BUNDLED / f"{name}.toml"
    card.with_suffix(".verdicts.json").unlink(missing_ok=True)
    told = f'sha256 = "{fingerprint(bundled)}"'
    card.write_text(re.sub(r'sha256 = "\w*"', told, card.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
