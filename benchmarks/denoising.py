"""Denoising PSNR of a prior beside BM3D, non-local means and wavelets.

    python benchmarks/denoising.py PICTURES [--prior photo] [--crop 0] [--methods prior,bm3d]

PICTURES is a folder of clean pictures that the prior was not trained on, such as the 24 of the
Kodak set. White noise of 15, 25 and 50 of 255, not clipped, the same for all methods; PSNR of
each picture, cut to [0, 255] but not rounded, then the mean. BM3D's licence is for
non-commercial use: it serves this comparison alone (pip install -e '.[bench]').
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from restoration import pictures_in
from rich.progress import track
from torch import Tensor

from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.metrics import psnr
from hdagger.priors import zoo
from hdagger.tensors import SampleNoise

LEVELS = (15, 25, 50)
Method = Callable[[Tensor, float], Tensor]


def by_prior(name: str) -> Method:
    prior = zoo.load(zoo.card(name))

    @torch.no_grad()
    def denoise(y: Tensor, sigma: float) -> Tensor:
        return prior(y[None], torch.tensor(sigma, dtype=y.dtype))[0]

    return denoise


def by_bm3d() -> Method:
    from bm3d import bm3d_rgb  # pyright: ignore[reportMissingImports]

    return lambda y, sigma: _channels_last(lambda image: bm3d_rgb(image, sigma), y)


def by_nlm() -> Method:
    from skimage.restoration import denoise_nl_means

    def denoise(image: object, sigma: float) -> object:
        return denoise_nl_means(
            image, h=0.6 * sigma, sigma=sigma, fast_mode=True, patch_size=5, patch_distance=6,
            channel_axis=-1,
        )  # fmt: skip

    return lambda y, sigma: _channels_last(lambda image: denoise(image, sigma), y)


def by_wavelet() -> Method:
    from skimage.restoration import denoise_wavelet

    def denoise(image: object, sigma: float) -> object:
        return denoise_wavelet(
            image, sigma=sigma, convert2ycbcr=True, rescale_sigma=True, channel_axis=-1
        )

    return lambda y, sigma: _channels_last(lambda image: denoise(image, sigma), y)


def _channels_last(denoise: Callable[..., object], y: Tensor) -> Tensor:
    return torch.as_tensor(denoise(y.permute(1, 2, 0).numpy())).permute(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--crop", type=int, default=0, help="side of the middle square; 0: all")
    parser.add_argument("--most", type=int, default=1000, help="the first so many pictures")
    parser.add_argument("--methods", default="prior,bm3d,nlm,wavelet")
    arguments = parser.parse_args()
    known = {
        "prior": lambda: by_prior(arguments.prior),
        "bm3d": by_bm3d,
        "nlm": by_nlm,
        "wavelet": by_wavelet,
    }
    methods = {name: known[name]() for name in arguments.methods.split(",")}
    paths = pictures_in(arguments.pictures, arguments.most)
    figures: dict[tuple[str, int], list[float]] = {}
    for item, path in enumerate(track(paths, "denoising")):
        x = read_picture(path).pixels
        if arguments.crop:
            top, left = ((side - arguments.crop) // 2 for side in x.shape[1:])
            x = x[:, top : top + arguments.crop, left : left + arguments.crop]
        for level in LEVELS:
            sigma = level / 127.5
            y = x + sigma * SampleNoise(level, [(item,)])((1, *x.shape))[0]
            for name, denoise in methods.items():
                figures.setdefault((name, level), []).append(psnr(denoise(y, sigma), x))
    print(f"| {'method':8} | " + " | ".join(f"{level:5}" for level in LEVELS) + " |")
    print("|---|" + "---|" * len(LEVELS))
    for name in methods:
        means = (sum(figures[name, level]) / len(figures[name, level]) for level in LEVELS)
        print(f"| {name:8} | " + " | ".join(f"{mean:5.2f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
