"""A slice of a body from 23 projections, from counts of photons to the page of docs/ct.md.

    python examples/ct.py FOLDER

Simulates the counts of a scan of a body of ellipses, and restores its slice by the commands that
anyone would give.
"""

import subprocess
import sys
from pathlib import Path


def main(folder: Path) -> None:
    files, out = folder / "files", folder / "restored"
    hdagger = [sys.executable, "-m", "hdagger", "ct"]
    subprocess.run([*hdagger, "simulate", "--seed", "8", "-o", files], check=True)
    truth = f"--truth={files / 'truth.npy'}"
    subprocess.run([*hdagger, "restore", files / "sinogram.npz", truth, "-o", out], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
