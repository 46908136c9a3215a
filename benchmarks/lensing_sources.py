"""Lensed images to judge by: galaxies of the Hubble deep field, imaged by code of their own.

The picture comes with scikit-image (NASA/ESA, public domain); no prior has seen it. A galaxy is a
continuous surface, a cubic spline through its pixels; rays are bent by the complex form of the
isothermal ellipsoid, 12 x 12 a pixel; the point spread works at a third of a pixel. So what is
inverted is not what made the data.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage, signal

from hdagger.domains.lensing.lenses import SIE, Lens, Shear
from hdagger.domains.lensing.shooting import Frame
from hdagger.domains.lensing.view import View
from hdagger.measurement import Measurement

SIDE, SCALE = 64, 0.03
PIXELS, PIXEL = 100, 0.05
FWHM = 0.1
FINE, RAYS = 3, 4
"""Parts of a pixel at which the point spread works, and rays a side of each."""


def galaxies() -> list[np.ndarray]:
    """The galaxies of 150 to 1,500 pixels: alone, the sky 0, the peak 1, 64 x 64."""
    from skimage import data

    light = data.hubble_deep_field().astype(float).mean(2) / 255
    light = ndimage.gaussian_filter(light - np.median(light), 0.7)
    labelled: Any = ndimage.label(light > 0.08)
    parts, count = labelled
    half, found = SIDE // 2, []
    for k in range(1, count + 1):
        own = parts == k
        if not 150 <= own.sum() <= 1500:
            continue
        row, column = (round(places.mean()) for places in own.nonzero())
        if min(row, column) < half or row > len(own) - half or column > own.shape[1] - half:
            continue
        cut = np.s_[row - half : row + half, column - half : column + half]
        others = ndimage.binary_dilation((parts[cut] > 0) & ~own[cut], iterations=2)
        near = ndimage.binary_dilation(own[cut], iterations=5) & ~(others & ~own[cut])
        fade = np.clip(2 * ndimage.gaussian_filter(near.astype(float), 1.5) - 1, 0, 1)
        one = np.clip(light[cut] * fade, 0, None)
        if own[cut].sum() == own.sum():
            found.append(one / one.max())
    return found


@dataclass(frozen=True)
class Scene:
    """A lensed galaxy.

    Attributes:
        truth: Its pixels, ``(64, 64)``.
        view: The lens and the frames.
        clean: Its image without noise, ``(100, 100)``.
        psf: The point spread, before the pixels of the detector.
        noise: Deviation of the noise.
        measurement: The image with noise.
    """

    truth: np.ndarray
    view: View
    clean: np.ndarray
    psf: np.ndarray
    noise: float
    measurement: Measurement


def scene(truth: np.ndarray, item: int, peak: float) -> Scene:
    """A galaxy behind a lens of its own.

    Args:
        truth: The galaxy.
        item: Which lens and which noise.
        peak: Of the image over its noise.
    """
    rng = np.random.default_rng([item, 7])
    mass = SIE(rng.uniform(1, 1.4), rng.uniform(0.6, 0.9), rng.uniform(0, 180))
    lens = Lens((mass, Shear(*rng.uniform(-0.05, 0.05, 2))))
    middle = rng.uniform(-0.15, 0.15, 2)
    view = View(lens, Frame(SIDE, SIDE, SCALE, *middle), Frame(PIXELS, PIXELS, PIXEL))
    clean = imaged(truth, mass, lens.parts[1], middle)
    noise = float(clean.max() / peak)
    y = clean + noise * np.random.default_rng([item, round(peak)]).standard_normal(clean.shape)
    psf = point_spread(PIXEL, 4)
    measurement = Measurement(
        torch.from_numpy(y)[None],
        str(view),
        noise,
        {"psf": torch.from_numpy(psf)},
        (1, SIDE, SIDE),
        "lensing",
    )
    return Scene(truth, view, clean, psf, noise, measurement)


def point_spread(scale: float, reach: int) -> np.ndarray:
    """A Gaussian of FWHM .1 arcsec at the middles of pixels of this scale."""
    r = np.arange(-reach, reach + 1) * scale
    psf = np.exp(-(r[:, None] ** 2 + r**2) * 4 * np.log(2) / FWHM**2)
    return psf / psf.sum()


def imaged(truth: np.ndarray, mass: SIE, shear: Shear, middle: np.ndarray) -> np.ndarray:
    """The image of a source without noise."""
    wide = PIXELS + 8
    side = wide * FINE * RAYS
    place = (np.arange(side) + 0.5) / (FINE * RAYS) * PIXEL - wide * PIXEL / 2
    z = place + 1j * place[:, None]
    q, b, turn = mass.axis_ratio, mass.einstein_radius, np.exp(1j * np.radians(mass.angle))
    w = (z - complex(mass.x, mass.y)) / turn
    f = np.sqrt(1 - q**2)
    psi = np.sqrt(q**2 * w.real**2 + w.imag**2)
    alpha = np.conj(b * np.sqrt(q) / f * np.arcsin(f * psi / (q * w))) * turn
    shift = (shear.gamma1 + 1j * shear.gamma2) * np.conj(z)
    beta = z - alpha - shift
    rows = (beta.imag - middle[1]) / SCALE + (SIDE - 1) / 2
    columns = (beta.real - middle[0]) / SCALE + (SIDE - 1) / 2
    light = ndimage.map_coordinates(truth, [rows, columns], order=3, mode="constant", cval=0)
    fine = light.reshape(wide * FINE, RAYS, wide * FINE, RAYS).mean((1, 3))
    blurred = signal.fftconvolve(fine, point_spread(PIXEL / FINE, 12), "same")
    return blurred.reshape(wide, FINE, wide, FINE).mean((1, 3))[4:-4, 4:-4]
