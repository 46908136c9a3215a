"""A galaxy behind a lens, from files to the figure of docs/lensing.md.

    python examples/lensing.py FOLDER

Simulates the FITS files of a lensed Sersic profile, and restores its source by the commands that
anyone would give.
"""

import subprocess
import sys
from pathlib import Path


def main(folder: Path) -> None:
    files, out = folder / "files", folder / "restored"
    hdagger = [sys.executable, "-m", "hdagger", "lens"]
    subprocess.run([*hdagger, "simulate", "--seed", "8", "-o", files], check=True)
    named = [f"--{name}={files / name}.fits" for name in ("noise", "psf", "truth")]
    named.append(f"--lens={files / 'lens.toml'}")
    subprocess.run([*hdagger, "restore", files / "image.fits", *named, "-o", out], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
