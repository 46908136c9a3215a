"""Scans of brain1, simulated by numpy on a grid that is finer by two, with sigpy's birdcage.

brain1 is a patient that no prior was trained on: 25 slices of 6.5 mm with a tumour, of 256 x 256
pixels (PyRadiomics; scripts/gather_scans.py). Coils, phase, lines and noise are simulated.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sigpy.mri as mri
import torch

from hdagger.measurement import Measurement

SIDE = 128
COILS = 8
PHASE = 0.8
CENTRE = 0.32
AIR = 0.1


@dataclass(frozen=True)
class Scene:
    """A simulated slice.

    Attributes:
        measurement: What is restored.
        truth: ``(128, 128)``, complex: what all of k-space without noise would show.
        head: The pixels of the head.
    """

    measurement: Measurement
    truth: np.ndarray
    head: np.ndarray


@cache
def volume(path: Path) -> np.ndarray:
    """Slices, rows, columns."""
    import nibabel

    return np.asarray(nibabel.load(path).dataobj, np.float64).T  # pyright: ignore


def transformed(image: np.ndarray) -> np.ndarray:
    axes = (-2, -1)
    moved = np.fft.ifftshift(image, axes)
    return np.fft.fftshift(np.fft.fft2(moved, norm="ortho", axes=axes), axes)


def middle(kspace: np.ndarray) -> np.ndarray:
    """That of an image of SIDE pixels."""
    first = (kspace.shape[-1] - SIDE) // 2
    part = slice(first, first + SIDE)
    return kspace[..., part, part] * SIDE / kspace.shape[-1]


def scene(path: Path, item: int, acceleration: int, sigma: float) -> Scene:
    """A slice in random lines."""
    magnitude = np.clip(volume(path)[item], 0, None)
    magnitude = magnitude / np.quantile(magnitude, 0.99)
    rng = np.random.default_rng([item, acceleration, 5])
    place = np.linspace(-1, 1, len(magnitude))
    a, b, c, d = rng.standard_normal(4)
    phase = a * place[:, None] + b * place + c * np.cos(2 * place[:, None] + d * place)
    image = magnitude * np.exp(1j * PHASE * phase)
    maps = mri.birdcage_maps((COILS, *magnitude.shape))
    count, centre = SIDE // acceleration, round(CENTRE / acceleration * SIDE)
    lines = np.zeros(SIDE, bool)
    lines[SIDE // 2 - centre // 2 :][:centre] = True
    lines[rng.choice(np.flatnonzero(~lines), count - centre, replace=False)] = True
    y = middle(transformed(maps * image))
    y = (y + sigma * (rng.standard_normal(y.shape) + 1j * rng.standard_normal(y.shape))) * lines
    coarse = middle(transformed(image))
    truth = np.conj(transformed(np.conj(coarse)))
    arrays = {
        "maps": torch.from_numpy(mri.birdcage_maps((COILS, SIDE, SIDE)).astype(np.complex64)),
        "mask": torch.from_numpy(lines),
    }
    text = f"image:{SIDE},{SIDE} | coils:{COILS} | lines"
    measurement = Measurement(torch.from_numpy(y), text, sigma, arrays, (2, SIDE, SIDE), "mri")
    return Scene(measurement, truth, filled(np.abs(truth) > AIR))


def filled(there: np.ndarray) -> np.ndarray:
    """The largest part of a mask, its holes filled."""
    from scipy import ndimage

    found: Any = ndimage.label(ndimage.binary_closing(there, iterations=2))
    labels, count = found
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes))))
