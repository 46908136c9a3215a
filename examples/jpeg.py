"""JPEG with holes, JPEG and enlargement, and all three: the pictures of docs/jpeg.md.

    python examples/jpeg.py docs/jpeg.png

Columns: given, one sample, the mean of four, the truth.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from hdagger import Recipe, measure, read_picture, restore
from hdagger.domains.pictures.words import picture_of
from hdagger.domains.pictures.writing import to_image

SIDE = 192
TEXTS = ("jpeg:10 | mask", "average:2 | jpeg:20", "average:2 | jpeg:20 | mask")


def holes(side: int) -> torch.Tensor:
    """True where three strokes cross a square."""
    picture = Image.new("L", (side, side))
    draw, width = ImageDraw.Draw(picture), max(2, side // 32)
    for start, end in (
        ((0.1, 0.2), (0.9, 0.35)),
        ((0.2, 0.9), (0.75, 0.1)),
        ((0, 0.6), (1, 0.75)),
    ):
        points = [(x * side, y * side) for x, y in (start, end)]
        draw.line(points, fill=255, width=width)
    return torch.from_numpy(np.array(picture)) > 0


def main() -> None:
    bee = Path(__file__).parent / "bee.png"
    x = read_picture(bee).pixels[:, :SIDE, :SIDE]
    sheet = Image.new("RGB", (4 * SIDE, len(TEXTS) * SIDE))
    for row, text in enumerate(TEXTS):
        small = SIDE // 2 if text.startswith("average") else SIDE
        measurement = measure(x, text, {"mask": holes(small)}, 0.0)
        drawn = restore(Recipe(samples=4), measurement)
        print(f"{text}: kept {drawn.provenance['kept']:.3%}", flush=True)
        for column, pixels in enumerate((picture_of(measurement), drawn.draws[0], drawn.mean, x)):
            panel = to_image(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(panel, (column * SIDE, row * SIDE))
    sheet.save(sys.argv[1])


if __name__ == "__main__":
    main()
