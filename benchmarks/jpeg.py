"""JPEG restoration: gain over the decoder, for every method, and agreement with libjpeg.

    python benchmarks/jpeg.py PICTURES --quality 10 --crop 256
    python benchmarks/jpeg.py PICTURES --agreement

PSNR in dB over Pillow's decode, mean over the pictures; ``jpegqs`` (Debian) is run where it is
installed, ``denoiser`` is the prior applied once to the decode at the best of three levels.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hdagger import Recipe, restore
from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.jpeg import SAMPLINGS, Jpeg
from hdagger.domains.pictures.jpeg_file import read_jpeg
from hdagger.domains.pictures.metrics import psnr
from hdagger.priors import zoo

STEPS = {"drawn": 12, "cells": 12, "pigdm": 20, "projection": 20}


def centre(path: Path, side: int) -> Image.Image:
    """The square in the middle of a picture; the whole picture for 0."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    if not side:
        return image
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


def gains(pictures: list[Path], args: argparse.Namespace) -> None:
    rows: dict[str, list[float]] = {}
    kept = []
    prior = zoo.load(zoo.card("photo"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.jpg"
        for picture in pictures:
            clean = centre(picture, args.crop)
            x = pixels(clean)
            clean.save(path, quality=args.quality, subsampling="4:2:0")
            decoded = read_picture(path).pixels.float()
            score = lambda name, z: rows.setdefault(name, []).append(psnr(z, x))  # noqa: B023
            score("decode", decoded)
            if shutil.which("jpegqs"):
                smooth = Path(folder) / "smooth.jpg"
                subprocess.run(
                    ["jpegqs", "-q", "6", path, smooth], check=True, capture_output=True
                )
                score("jpegqs -q 6", read_picture(smooth).pixels.float())
            with torch.no_grad():
                guesses = [
                    prior(decoded[None].double(), torch.tensor(s).double())[0].float()
                    for s in (0.05, 0.1, 0.15)
                ]
            score("denoiser", max(guesses, key=lambda z: psnr(z, x)))
            measurement = read_jpeg(path).measurement("none", None)
            for name in args.methods:
                drawn = restore(Recipe(name, steps=STEPS[name], samples=args.samples), measurement)
                score(f"{name}, one", drawn.draws[0])
                score(f"{name}, mean of {args.samples}", drawn.mean)
                kept.append(drawn.provenance.get("kept", 1.0))
            print(picture.name, *(f"{k} {v[-1]:.2f}" for k, v in rows.items()), flush=True)
    print(f"\n{len(pictures)} pictures, quality {args.quality}, kept {100 * min(kept):.3f} %\n")
    print("| method | PSNR dB | gain |\n|---|---|---|")
    base = np.mean(rows["decode"])
    for name, scores in rows.items():
        print(f"| {name} | {np.mean(scores):.2f} | {np.mean(scores) - base:+.2f} |")


def agreement(pictures: list[Path]) -> None:
    """Share of the numbers that differ from those libjpeg writes."""
    import jpeglib

    print("| subsampling | quality | luma differs | chroma differs | by at most |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        for name in ("4:4:4", "4:2:2", "4:2:0"):
            for quality in (10, 50, 75, 90, 95):
                gaps: list[list[Tensor]] = [[], []]
                for picture in pictures:
                    image = centre(picture, 256)
                    image.save(path, quality=quality, subsampling=list(SAMPLINGS).index(name))
                    H = Jpeg((3, 256, 256), quality, name)
                    file = jpeglib.read_dct(str(path))
                    theirs = np.concatenate([p.reshape(-1) for p in (file.Y, file.Cb, file.Cr)])
                    away = (H.encode(pixels(image)[None].double())[0] - torch.tensor(theirs)).abs()
                    gaps[0].append(away[: file.Y.size])
                    gaps[1].append(away[file.Y.size :])
                luma, chroma = (100 * float((torch.cat(g) > 0).double().mean()) for g in gaps)
                most = int(max(float(g.max()) for part in gaps for g in part))
                print(f"| {name} | {quality} | {luma:.3f} % | {chroma:.3f} % | {most} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="folder of clean pictures")
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--crop", type=int, default=256, help="side of the middle; 0 for all")
    parser.add_argument("--most", type=int, default=24, help="pictures")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=["drawn", "cells"], choices=list(STEPS))
    parser.add_argument("--agreement", action="store_true")
    args = parser.parse_args()
    pictures = sorted(args.pictures.glob("*.png"))[: args.most]
    agreement(pictures) if args.agreement else gains(pictures, args)


if __name__ == "__main__":
    main()
