"""A slice of a head, from a picture over raw data to the page of docs/mri.md.

    python examples/mri.py FOLDER [VOLUME]

Simulates what a scanner with eight coils measures of a quarter of k-space, and restores the image
by the commands that anyone would give. VOLUME is a NIfTI, NRRD or DICOM file of a head; by default
a drawing of one.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256
ELLIPSES = (
    (0.72, 0.92, 0.0, 0.0, 1.0),
    (0.66, 0.86, 0.0, 0.0, -0.55),
    (0.12, 0.3, -0.22, -0.05, -0.25),
    (0.14, 0.38, 0.22, -0.05, -0.25),
    (0.2, 0.22, 0.0, 0.42, 0.2),
    (0.05, 0.05, 0.05, -0.1, 0.3),
)
"""Half axes across and down, centre, and what they add: about what Shepp and Logan drew."""


def drawing() -> Image.Image:
    """A head of ellipses."""
    place = np.linspace(-1.1, 1.1, SIDE)
    head = np.zeros((SIDE, SIDE))
    for across, down, x, y, value in ELLIPSES:
        head[((place - x) / across) ** 2 + ((place[:, None] - y) / down) ** 2 <= 1] += value
    return Image.fromarray((200 * head.clip(0, 1)).astype(np.uint8))


def main(folder: Path, volume: Path | None = None) -> None:
    files, out = folder / "scan", folder / "restored"
    if volume is None:
        folder.mkdir(parents=True, exist_ok=True)
        volume = folder / "head.png"
        drawing().save(volume)
    hdagger = [sys.executable, "-m", "hdagger", "mri"]
    subprocess.run([*hdagger, "simulate", volume, "-o", files], check=True)
    named = [f"--maps={files / 'maps.npy'}", f"--truth={files / 'truth.npy'}", "--sigma=0.01"]
    subprocess.run([*hdagger, "restore", files / "kspace.h5", *named, "-o", out], check=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
