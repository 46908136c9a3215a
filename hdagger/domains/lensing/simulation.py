"""Images of a galaxy behind a lens as a telescope would take them, to try things out on.

What is simulated has twice as many pixels in the source, and three times as many in the image, as
what a restoration inverts, so that it is not its own inverse.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...errors import SettingError
from ...operators.convolution import Convolution
from ...tensors import SampleNoise
from .fits import Sky
from .galaxies import CANVAS, read_galaxy, sersic_profiles
from .lens_file import LensFile
from .lenses import Lens
from .shooting import Frame, Shooting
from .view import View

FINE = 3
"""Parts of a pixel at which the point spread works."""

PIXELS = 64
"""A side of the source."""

COMMON = LensFile(Lens.read("sie:1.2,0.75,20,0,0 | shear:0.03,-0.01"), 0.05, 0.1, 1.92)
"""A lens as many are, and where the source lies."""

REACH = 2.5
"""Full widths at half maximum to which a point spread is told."""


@dataclass(frozen=True)
class Simulated:
    """An image, and what it is of.

    Attributes:
        image: With noise, ``(rows, columns)``.
        noise: Its deviation.
        psf: The point spread at the scale of the image.
        truth: The source, ``(64, 64)``.
    """

    image: Float[Tensor, "rows columns"]
    noise: Float[Tensor, "rows columns"]
    psf: Float[Tensor, "k k"]
    truth: Float[Tensor, "h w"]


def scene(
    source: Path | None,
    lens_file: Path | None,
    pixels: int,
    scale: float,
    fwhm: float,
    peak: float,
    seed: int,
) -> tuple[View, Simulated]:
    """What the command line asks for; see :func:`simulate`.

    Args:
        source: A picture, or None for a Sersic profile that the seed decides.
        lens_file: A lens.toml, or None for a common lens.
        pixels: A side of the image.
        scale: Of the image, arcsec a pixel.
        fwhm: Of the point spread, arcsec.
        peak: Of the image over its noise.
        seed: Of the noise.

    Raises:
        HDaggerError: A file cannot be read, or the image would be dark.
    """
    said = COMMON if lens_file is None else LensFile.read(lens_file, Sky(scale))
    size = said.size or COMMON.size or 1.92
    frame = Frame(PIXELS, PIXELS, size / PIXELS, said.x or 0.0, said.y or 0.0)
    if source is None:
        galaxy = sersic_profiles(1, CANVAS, np.random.default_rng(seed))[0, 0]
    else:
        galaxy = read_galaxy(source)
    view = View(said.lens, frame, Frame(pixels, pixels, scale))
    return view, simulate(galaxy, view, fwhm, peak, seed)


def simulate(
    source: Float[Tensor, "side side"], view: View, fwhm: float, peak: float, seed: int
) -> Simulated:
    """An image of a source.

    Args:
        source: Its pixels, ``CANVAS`` a side, over the frame of the view's source.
        view: The lens and the frames; the source's has half as many pixels.
        fwhm: Of a Gaussian point spread, arcsec; at least a pixel and a half.
        peak: Of the image over its noise.
        seed: Of the noise.

    Raises:
        SettingError: The point spread is narrower than pixels can show.
    """
    image, scale = view.image, view.image.scale
    if not 1.5 * scale <= fwhm <= 40 * scale:
        raise SettingError(
            f"Wanted a point spread of {1.5 * scale:.3g} to {40 * scale:.3g} arcsec, which pixels "
            f"of {scale:g} can show, but got {fwhm:g}. Try --fwhm {2 * scale:g}."
        )
    frame = view.source
    fine = Frame(CANVAS, CANVAS, frame.rows * frame.scale / CANVAS, frame.x, frame.y)
    spread = gaussian(fwhm, scale / FINE)
    reach = len(spread) // 2
    wide = Frame(image.rows * FINE, image.columns * FINE, scale / FINE).wider(*[reach] * 4)
    shooting = Shooting(view.lens, fine, wide)
    light = shooting(source.double()[None, None])
    clean = avg_pool2d(Convolution(shooting.data_shape, spread)(light), FINE)[0, 0]
    if clean.max() <= 0:
        raise SettingError(
            "Wanted a lens that shows the source, but its image is dark. Move the source."
        )
    noise = torch.full_like(clean, float(clean.max()) / peak)
    drawn = SampleNoise(seed, [(0,)])((1, *clean.shape))[0]
    truth = avg_pool2d(source.double()[None, None], CANVAS // frame.rows)[0, 0]
    return Simulated(clean + noise * drawn, noise, gaussian(fwhm, scale), truth)


def gaussian(fwhm: float, scale: float) -> Float[Tensor, "k k"]:
    """A Gaussian of sum 1 on pixels of this scale."""
    reach = round(REACH * fwhm / scale)
    r2 = (torch.arange(-reach, reach + 1, dtype=torch.float64) * scale).square()
    psf = 2 ** (-4 * (r2[:, None] + r2) / fwhm**2)
    return psf / psf.sum()
