"""A square hole in the middle of each photograph, filled by hdagger and by what needs no prior.

    python benchmarks/holes.py PICTURES [--methods auto biharmonic telea navier-stokes]
        [--side 256] [--hole 64] [--draws 4] [--most 8] [--prior photo] [--sheet sheet.png]

PICTURES is a folder of pictures that nothing was trained or tuned on; the middle of each is
measured, exactly, but for the hole. Told are the energy score of the draws in the hole, in blocks
of 8 x 8 pixels in all colours (docs/trust.md; the mean distance, for the one answer of a peer),
the fine texture of the fill over that of a ring of 32 pixels around it, 1 where no square is to
be seen, and the PSNR of one fill. ``truth`` says what the texture of the true middle is.

Peers: ``biharmonic`` of scikit-image, after Damelin and Hoang, 2018; ``telea``, fast marching
after Telea, 2004, and ``navier-stokes``, after Bertalmio et al., 2001, of OpenCV where it is
installed (``pip install opencv-python-headless``).
"""

import argparse
from collections import defaultdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Bool
from restoration import central, pictures_in
from rich.progress import track
from torch import Tensor

from hdagger import Recipe, measure, read_picture
from hdagger.domains.pictures.metrics import laplacian, psnr
from hdagger.domains.pictures.writing import to_image
from hdagger.restoration import Prior, prepare
from hdagger.scores import fair_energy
from hdagger.trials import table_lines

RING = 32
"""Pixels around the hole whose texture the fill should have."""

OPENCV = {"telea": "INPAINT_TELEA", "navier-stokes": "INPAINT_NS"}
RADIUS = 3
"""Of the neighbourhood that OpenCV looks at, pixels."""

prior_of = cache(lambda name: Prior.of(Recipe(prior=name)))


def square(side: int, hole: int, edge: int = 0) -> Bool[Tensor, "side side"]:
    """True in the middle square, and on so many pixels around it."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    inner = slice((side - hole) // 2 - edge, (side + hole) // 2 + edge)
    mask[inner, inner] = True
    return mask


def filled(
    method: str, x: Tensor, hole: Bool[Tensor, "side side"], draws: int, prior: str, item: int
) -> Tensor:
    """Draws of a picture, ``(draws, channels, side, side)``; one of what has one answer."""
    if method == "truth":
        return x[None]
    seen = torch.where(hole, 0, x)
    bytes_ = ((seen + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    if method == "biharmonic":
        from skimage.restoration import inpaint_biharmonic

        answer = inpaint_biharmonic(bytes_, hole.numpy(), channel_axis=-1) * 255
    elif method in OPENCV:
        import cv2  # pyright: ignore[reportMissingImports]

        answer = cv2.inpaint(bytes_, hole.byte().numpy(), RADIUS, getattr(cv2, OPENCV[method]))
    else:
        measurement = measure(x, "mask", {"mask": hole}, 0.0)
        recipe = Recipe(method, samples=draws, prior=prior)
        return prepare(recipe, measurement, prior_of(prior)).run(item=item).draws
    answer = torch.from_numpy(np.asarray(answer)).double().permute(2, 0, 1) / 127.5 - 1
    return torch.where(hole, answer, x)[None]


def scores(draws: Tensor, x: Tensor, hole: int) -> dict[str, float]:
    side = x.shape[-1]
    inside, around = square(side, hole), square(side, hole, RING) & ~square(side, hole, 1)
    cut = lambda pictures: pictures[..., inside].unflatten(-1, (hole, hole))
    many = draws if len(draws) > 1 else draws.expand(2, *draws.shape[1:])
    fine = laplacian(draws.double()).square()
    of_fill, of_ring = (fine[..., part[1:-1, 1:-1]].mean() for part in (inside, around))
    return {
        "energy score": fair_energy(cut(many.double()), cut(x)),
        "fine texture": float(of_fill / of_ring),
        "PSNR": psnr(cut(draws[0]), cut(x)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peers = ["biharmonic", *(OPENCV if find_spec("cv2") else ())]
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--methods", nargs="+", default=["auto", *peers, "truth"])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--hole", type=int, default=64)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--most", type=int, default=8, help="the first so many pictures")
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--sheet", type=Path, help="a picture of the holes and all fills")
    arguments = parser.parse_args()
    side, hole = arguments.side, square(arguments.side, arguments.hole)
    paths = pictures_in(arguments.pictures, arguments.most)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    sheet = []
    for item, path in enumerate(track(paths, "filling")):
        x = central(read_picture(path).pixels, side).double()
        row = [torch.where(hole, 0, x)]
        for method in arguments.methods:
            draws = filled(method, x, hole, arguments.draws, arguments.prior, item)
            found[method].append(scores(draws, x, arguments.hole))
            row += draws.double()[:2]
        sheet.append(torch.cat(row, dim=-1))
    names = list(next(iter(found.values()))[0])
    table = [
        [method, *(f"{fmean(row[name] for row in each):.2f}" for name in names)]
        for method, each in found.items()
    ]
    print("\n".join(table_lines(["fill", *names], table)))
    if arguments.sheet:
        to_image(torch.cat(sheet, dim=-2)).save(arguments.sheet)


if __name__ == "__main__":
    main()
