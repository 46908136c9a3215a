"""Gathers the photographs that train the photo prior from the Debian packages that carry them.

    python scripts/gather_photos.py DIR

leaves DIR/train/*.png and DIR/validation/*.png (every tenth photograph of a package, never seen
in training), each at most 1200 pixels long, and DIR/sources.tsv with package, version and file of
each. It needs apt-get and dpkg-deb (any Debian or Ubuntu with bookworm's packages), 360 MB of
downloads and about two minutes. The photographs keep their licences (each package's
``debian/copyright``: PD, CC0, CC-BY, CC-BY-SA, GFDL, LGPL, GPL, MIT, BSD); they are not part
of hdagger.
"""

import argparse
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

LONGEST = 1200
SMALL = 1000  # a JPEG shorter than this was made for a screen and compressed hard
HELD_OUT_EVERY = 10

LIST = Path(__file__).with_name("photos.txt")


def download(package: str, folder: Path) -> Path:
    """Fetches a Debian package into ``folder`` and unpacks it there, once."""
    target = folder / package
    if not target.exists():
        subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        partial = folder / f"{package}.partial"
        subprocess.run(["dpkg-deb", "-x", str(archive), str(partial)], check=True)
        partial.rename(target)
    return target


def webp_pictures(resource: bytes) -> Iterator[bytes]:
    """The WEBP files that a Qt resource file stores uncompressed, in order."""
    start = 0
    while (start := resource.find(b"RIFF", start)) >= 0:
        if resource[start + 8 : start + 12] == b"WEBP":
            end = start + 8 + int.from_bytes(resource[start + 4 : start + 8], "little")
            yield resource[start:end]
            start = end
        else:
            start += 4


def read(path: str, folder: Path) -> Image.Image:
    """The photograph at ``package/path``, or ``package/file.rcc#K`` for the K-th WEBP in it."""
    name, _, index = path.partition("#")
    if not index:
        return Image.open(folder / name)
    pictures = list(webp_pictures((folder / name).read_bytes()))
    return Image.open(io.BytesIO(pictures[int(index)]))


def shrink(picture: Image.Image, lossy: bool) -> Image.Image:
    """At most LONGEST pixels long, and by at least 1.6 where the source was compressed hard."""
    longest = max(picture.size)
    scale = min(LONGEST / longest, 1 / 1.6 if lossy else 1)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the photographs go")
    folder: Path = parser.parse_args().folder
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    paths = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    sources, seen = ["picture\tpackage\tfile"], dict[str, int]()
    for number, path in enumerate(paths, start=1):
        package = path.split("/")[0]
        download(package, packages)
        seen[package] = seen.get(package, 0) + 1
        part = "validation" if seen[package] % HELD_OUT_EVERY == 0 else "train"
        target = folder / part / f"{package}-{seen[package]:03}.png"
        target.parent.mkdir(exist_ok=True)
        picture = read(path, packages)
        small_jpeg = picture.format == "JPEG" and max(picture.size) < SMALL
        shrink(picture, lossy="#" in path or small_jpeg).save(target)
        sources.append(f"{part}/{target.name}\t{package}\t{path}")
        print(f"\r{number} of {len(paths)} photographs", end="", file=sys.stderr)
    print(file=sys.stderr)
    (folder / "sources.tsv").write_text("\n".join(sources) + "\n")


if __name__ == "__main__":
    main()
