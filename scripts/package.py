"""Builds the wheel and the sdist, and restores a picture with nothing but the wheel.

    python scripts/package.py [--out dist] [--whole]

The wheel is installed into an empty environment in a folder of its own, and a picture is restored
there, away from the checkout. What hdagger asks for (torch and so on) is lent by the environment
that runs this: its folder of packages is named in a .pth file, which is read for modules alone, so
the checkout that is installed there for editing stays unseen. With --whole all of it is installed
anew from the package index, which takes minutes and gigabytes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

LARGEST = 60_000_000
"""Bytes of the wheel, most of which are the bundled priors."""

ASK = (
    "import sys, hdagger; from importlib.metadata import version; "
    "print(hdagger.__file__, version('hdagger'))"
)


def build(out: Path) -> tuple[Path, Path]:
    """The wheel and the sdist, built of what is committed or could be."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("hdagger-*.whl"), *out.glob("hdagger-*.tar.gz")):
        old.unlink()
    run([sys.executable, "-m", "hatchling", "build", "-d", out.resolve()], ROOT)
    (wheel,), (sdist,) = out.glob("hdagger-*.whl"), out.glob("hdagger-*.tar.gz")
    return wheel, sdist


def examine(wheel: Path, sdist: Path) -> None:
    """Whether they hold what they should, and nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    priors = {path.name for path in (ROOT / "hdagger/priors/bundled").iterdir()}
    missing = {"hdagger/py.typed", *(f"hdagger/priors/bundled/{name}" for name in priors)} - names
    others = [name for name in names if not name.startswith(("hdagger/", "hdagger-"))]
    if missing or others:
        sys.exit(f"{wheel}: lacks {sorted(missing)}, has {others[:9]}")
    if wheel.stat().st_size > LARGEST:
        sys.exit(f"{wheel}: {wheel.stat().st_size / 1e6:.0f} MB are too many")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    if wanted := {"LICENSE", "README.md", "CITATION.cff", "pyproject.toml"} - held:
        sys.exit(f"{sdist}: lacks {sorted(wanted)}")


def restore_with(wheel: Path, whole: bool) -> None:
    """Installs the wheel where nothing else is, and restores a picture with it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run([sys.executable, "-m", "venv", place / "venv"], place)
        python, hdagger = place / "venv/bin/python", place / "venv/bin/hdagger"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, *([] if whole else ["--no-deps"]), wheel.resolve()], place)
        if not whole:
            paths = {"base": str(place / "venv"), "platbase": str(place / "venv")}
            own = Path(sysconfig.get_path("purelib", "venv", paths))
            (own / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        found = run([python, "-I", "-c", ASK], place)
        if not found.startswith(str(place.resolve())):
            sys.exit(f"not the wheel's own: {found}")
        shutil.copy(ROOT / "examples/bee.png", place)
        run([hdagger, "doctor"], place)
        run([hdagger, "degrade", "bee.png", "--upscale", "4", "--sigma-y", "0.05"], place)
        run([hdagger, "restore", "degraded/measurement.npz", "--quick", "-o", "out"], place)
        run([hdagger, "report", "out"], place)
        if not (place / "out/mean.png").stat().st_size:
            sys.exit("no picture came out")
        print(found.strip())


def run(command: Sequence[object], place: Path) -> str:
    """What a command says, away from the checkout; ends here with its words if it fails."""
    away = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [*map(str, command)]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, env=away)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--whole", action="store_true", help="install what it asks for, too")
    args = parser.parse_args()
    wheel, sdist = build(args.out)
    examine(wheel, sdist)
    restore_with(wheel, args.whole)
    for path in (wheel, sdist):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
