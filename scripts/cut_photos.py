"""Cuts photographs into squares that do not overlap: many small pictures out of a few large ones.

    python scripts/cut_photos.py KODAK data/photos/validation --out data/squares

leaves squares of 256 x 256, which `hdagger bench talk --side 64` makes a quarter as large. Those
of the first folder come first, and of a folder one of every photograph comes before the second of
any: 144 of Kodak's 24 photographs, then those of photographs that no prior here was trained on.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SIDE = 256


def squares(picture: Image.Image) -> Iterator[Image.Image]:
    """From the top left on, row by row; what is left at the right and below is left out."""
    for top in range(0, picture.height - SIDE + 1, SIDE):
        for left in range(0, picture.width - SIDE + 1, SIDE):
            yield picture.crop((left, top, left + SIDE, top + SIDE))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="folders of photographs")
    parser.add_argument("--out", type=Path, required=True, help="where the squares go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for place, folder in enumerate(arguments.folders):
        for path in sorted(folder.glob("*.png")):
            for number, square in enumerate(squares(Image.open(path).convert("RGB"))):
                square.save(arguments.out / f"{place}-{number:02}-{path.stem}.png")
    print(f"{len(list(arguments.out.glob('*.png')))} squares", file=sys.stderr)


if __name__ == "__main__":
    main()
