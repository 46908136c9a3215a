"""PSNR of restored pictures: x4 averaging, half the pixels missing, Gaussian blur.

    python benchmarks/restoration.py PICTURES [--prior photo] [--side 256] [--samples 4]
        [--methods ddrm,pigdm,tmpd] [--cases average:4,mask]

PICTURES is a folder of clean pictures that the prior was not trained on; the central square of
each is used. Rows: the given data (the pseudoinverse for x4, 0 in holes, the blurred data),
bicubic enlargement for x4, one sample and the mean of the samples by each method, with its own
number of steps.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

from hdagger import Recipe, measure, operator_for_data, read_picture, restore
from hdagger.domains.pictures.files import PICTURE_SUFFIXES
from hdagger.domains.pictures.metrics import psnr
from hdagger.domains.pictures.words import frame_of
from hdagger.operators.base import PinvOperator

CASES = (("average:4", 0.0), ("mask", 0.0), ("gauss:2", 0.1))


def half(side: int) -> Tensor:
    """True for the half of the pixels that is missing, at random."""
    order = torch.randperm(side * side, generator=torch.Generator().manual_seed(0))
    return (order < side * side // 2).view(side, side)


def pictures_in(folder: Path, most: int) -> list[Path]:
    """The first so many pictures of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in PICTURE_SUFFIXES)[:most]


def central(x: Tensor, side: int) -> Tensor:
    """The square of this side in the middle of a picture."""
    top, left = ((length - side) // 2 for length in x.shape[1:])
    return x[:, top : top + side, left : left + side]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--most", type=int, default=1000, help="the first so many pictures")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--methods", default="auto")
    parser.add_argument("--cases", default=",".join(case for case, _ in CASES))
    arguments = parser.parse_args()
    side = arguments.side
    recipes = [
        Recipe(method, samples=arguments.samples, prior=arguments.prior)
        for method in arguments.methods.split(",")
    ]
    cases = [case for case in CASES if case[0] in arguments.cases.split(",")]
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in track(pictures_in(arguments.pictures, arguments.most), "restoring"):
        whole = central(read_picture(path).pixels, side)
        for operator, sigma_y in cases:
            measurement = measure(whole, operator, {"mask": half(side)}, sigma_y)
            y = measurement.y[None]
            rows, columns = frame_of(operator, tuple(measurement.y.shape))
            x = whole[:, rows, columns]  # without the surroundings that a blur reaches into
            H = operator_for_data(operator, tuple(y.shape[1:]), measurement.arrays)
            assert isinstance(H, PinvOperator)
            given = y[0] if operator.startswith("gauss") else H.pinv(y)[0]
            figures[operator, "given"].append(psnr(given, x))
            if operator == "average:4":
                bicubic = torch.nn.functional.interpolate(y, scale_factor=4, mode="bicubic")[0]
                figures[operator, "bicubic"].append(psnr(bicubic, x))
            for recipe in recipes:
                drawn = restore(recipe, measurement)
                name = f"{recipe.method}, one sample"
                figures[operator, name].append(psnr(drawn.draws[0], x))
                figures[operator, f"{recipe.method}, mean"].append(psnr(drawn.mean, x))
                chi2 = drawn.provenance["chi2_dof"]
                if chi2 is not None:
                    figures[operator, f"{recipe.method}, chi2/dof"].append(chi2)
    print("| operator | answer | PSNR |\n|---|---|---|")
    for (operator, name), values in figures.items():
        print(f"| {operator} | {name} | {sum(values) / len(values):.2f} |")


if __name__ == "__main__":
    main()
