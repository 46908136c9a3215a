"""Gathers the galaxies that train the galaxy prior from Debian's stellarium-data.

    python scripts/gather_galaxies.py DIR

leaves DIR/train/*.png and DIR/validation/*.png (every tenth, never seen in training): gray, 16
bits, linear flux, the sky 0, the peak 1, of at most 160 pixels a side; and DIR/credits.tsv with
the credit of each picture as the package states it. It needs apt-get and dpkg-deb, scipy, and a
download of 250 MB. The pictures keep their licences (many are "use freely with credit"; some name
a photographer and no licence); they are not part of hdagger.
"""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gather_photos import HELD_OUT_EVERY, download
from PIL import Image
from scipy import ndimage

LIST = Path(__file__).with_name("galaxies.txt")
PICTURES = "usr/share/stellarium/nebulae/default"
LARGEST = 160

DISPLAY = 2.2
"""The power by which a screen turns the numbers of a picture into light."""

SKY = 0.02
"""Light, as a share of the peak, below which nothing belongs to a galaxy for sure."""


def flux(path: Path) -> np.ndarray:
    """The light in a picture: gray, linear, without the sky."""
    gray = np.asarray(Image.open(path).convert("RGBA").convert("RGB"), np.float64).mean(2) / 255
    light = gray**DISPLAY
    rim = np.concatenate([light[:8].ravel(), light[-8:].ravel(), light[:, :8].ravel(),
                          light[:, -8:].ravel()])  # fmt: skip
    return np.clip(light - np.median(rim), 0, None)


def alone(light: np.ndarray) -> np.ndarray:
    """The largest source of a picture, in a square, its edges faded to 0; stars beside it go."""
    smooth = ndimage.gaussian_filter(light, max(light.shape) / 100)
    found: Any = ndimage.label(smooth > SKY * smooth.max())
    parts, count = found
    sizes = ndimage.sum_labels(np.ones_like(light), parts, range(1, count + 1))
    chosen = parts == 1 + int(np.argmax(sizes))
    reach = max(light.shape) / 40
    near = ndimage.binary_dilation(chosen, iterations=round(2 * reach))
    light = light * np.clip(ndimage.gaussian_filter(near.astype(float), reach) * 2 - 1, 0, 1)
    rows, columns = (np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    side = max(height, width)
    square = np.zeros((side, side))
    top, left = (side - height) // 2, (side - width) // 2
    cut = light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    square[top : top + height, left : left + width] = cut
    return square


def main(folder: Path) -> None:
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    pictures = download("stellarium-data", packages) / PICTURES
    entries = (pictures / "textures.json").read_text(errors="replace")
    credit = r'"[sS]hort"\s*:\s*"([^"]*)"[^{}]*\}\s*,\s*"imageUrl"\s*:\s*"([^"]+)\.png"'
    credits = {name: who for who, name in re.findall(credit, entries)}
    names = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    lines = ["picture\tcredit"]
    for number, name in enumerate(names, start=1):
        part = "validation" if number % HELD_OUT_EVERY == 0 else "train"
        source = alone(flux(pictures / f"{name}.png"))
        side = min(LARGEST, len(source))
        small = np.asarray(Image.fromarray(source.astype(np.float32)).resize(
            (side, side), Image.Resampling.BOX))  # fmt: skip
        target = folder / part / f"{name}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(np.round(small / small.max() * 65535).astype(np.uint16)).save(target)
        lines.append(f"{part}/{target.name}\t{credits.get(name, 'not stated')}")
    (folder / "credits.tsv").write_text("\n".join(lines) + "\n")
    print(f"{len(names)} galaxies in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
