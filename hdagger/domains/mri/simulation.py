"""k-space of pictures as a scanner would measure it, to try things out on.

What is simulated is finer by two in both directions than what a restoration inverts, and so are
its coils, so that it is not its own inverse.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from ...errors import FileError
from ...files import check_file
from ...tensors import SampleNoise
from ...volumes import read_volume
from .coils import birdcage
from .heads import PIXEL
from .kspace import middle, to_image, to_kspace
from .raw import numbers_in
from .scan import random_lines

FINE = 2
"""Of the grid that is simulated."""

OVERSAMPLED = 2
"""How much more than the image a readout sees."""

PHASE = 0.8
"""Radians that the phase varies by."""

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Slices:
    """Pictures of a body without a phase.

    Attributes:
        values: ``(slices, rows, columns)``.
        pixel: Of the picture, rows and columns, over that of the image that is simulated.
        affine: From (column, row, slice) to millimetres, where the file says.
    """

    values: Float[Tensor, "slices rows columns"]
    pixel: tuple[float, float]
    affine: np.ndarray | None


@dataclass(frozen=True)
class Simulated:
    """Simulated slices.

    Attributes:
        kspace: ``(slices, coils, 2 rows, columns)``, its readout oversampled; 0 where the mask is.
        mask: Of the columns.
        maps: ``(coils, rows, columns)``.
        truth: ``(slices, rows, columns)``, the brightest about 1.
        affine: From (column, row, slice) to millimetres, where the file says.
    """

    kspace: Complex[Tensor, "slices coils readout columns"]
    mask: Bool[Tensor, " columns"]
    maps: Complex[Tensor, "coils rows columns"]
    truth: Complex[Tensor, "slices rows columns"]
    affine: np.ndarray | None


def read_slices(path: Path, text: str | None, side: int) -> Slices:
    """A picture, or slices of a volume: ``12``, ``8-16``, or the middle one.

    Args:
        path: The file.
        text: Which slices.
        side: Pixels of the image, which hold a head, or all of a picture.

    Raises:
        HDaggerError: There are none.
    """
    if path.suffix.lower() in PICTURES:
        check_file(path, "a picture")
        try:
            with Image.open(path) as picture:
                values = np.asarray(picture.convert("F"), np.float64)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise FileError(f"Wanted a picture, but {path} cannot be read as one.") from error
        pixel = side / max(values.shape)
        return Slices(torch.from_numpy(values)[None], (pixel, pixel), None)
    volume = read_volume(path)
    chosen = numbers_in(text or str(len(volume.values) // 2), len(volume.values), path)
    affine = volume.affine @ _moved(0, 0, chosen[0])
    head = PIXEL * 128 / side
    _, row, column = volume.spacing
    values = volume.values[chosen[0] : chosen[-1] + 1].double()
    return Slices(values, (row / head, column / head), affine)


def simulate(
    slices: Slices, acceleration: float, coils: int, sigma: float, side: int, seed: int
) -> Simulated:
    """What a scanner would measure of slices in random lines.

    Args:
        slices: The pictures.
        acceleration: Columns of k-space over those that are measured.
        coils: On a ring around the body.
        sigma: Deviation of the noise of each real component; an image is about 1 where bright.
        side: Pixels of the image.
        seed: Of lines, phase and noise.
    """
    rng = np.random.default_rng([seed, 1])
    fine = _fine(slices, FINE * side)
    bright = fine.flatten(1).quantile(0.99, dim=1).clamp(min=1e-6).view(-1, 1, 1)
    image = torch.polar((fine / bright).clamp(min=0), _phase(FINE * side, rng).expand_as(fine))
    mask = random_lines(side, acceleration, rng)
    beyond = (OVERSAMPLED - 1) * FINE * side // 2
    noise = SampleNoise(seed, [(k,) for k in range(len(image))])
    shape = (len(image), coils, OVERSAMPLED * side, side)
    shared = torch.complex(noise(shape), noise(shape)) * sigma
    maps = birdcage(coils, FINE * side, FINE * side)
    kspace = [
        _cut(to_kspace(pad(maps * one, (0, 0, beyond, beyond))), OVERSAMPLED * side, side)
        for one in image
    ]
    measured = torch.where(mask, torch.stack(kspace) + shared, 0)
    truth = to_image(_cut(to_kspace(image), side, side))
    affine = slices.affine
    if affine is not None:
        rows, columns = slices.values.shape[1:]
        row, column = (1 / pixel for pixel in slices.pixel)
        first = columns // 2 - side // 2 * column, rows // 2 - side // 2 * row
        affine = affine @ _moved(*first, 0) @ np.diag([column, row, 1, 1])
    return Simulated(measured, mask, birdcage(coils, side, side), truth, affine)


def _fine(slices: Slices, side: int) -> Float[Tensor, "slices side side"]:
    """The pictures on a grid of this side, their middles in its middle."""
    place = torch.arange(side, dtype=torch.float64) - side // 2
    along = [
        2 * (n // 2 + place / (FINE * pixel)) / (n - 1) - 1
        for n, pixel in zip(slices.values.shape[1:], slices.pixel, strict=True)
    ]
    grid = torch.stack([t.T for t in torch.meshgrid(along[1], along[0], indexing="ij")], -1)
    grid = grid[None].expand(len(slices.values), -1, -1, -1)
    return grid_sample(slices.values[:, None], grid, "bicubic", align_corners=True)[:, 0]


def _phase(side: int, rng: np.random.Generator) -> Float[Tensor, "side side"]:
    """A smooth phase: a constant, a slope, a bend."""
    place = torch.linspace(-1, 1, side, dtype=torch.float64)
    a, b, c, d = (float(v) for v in rng.standard_normal(4))
    bend = a * place[:, None] + b * place + c * torch.cos(2 * place[:, None] + d * place)
    return PHASE * bend + 2 * math.pi * float(rng.random())


def _cut(kspace: Tensor, rows: int, columns: int) -> Tensor:
    """The middle of k-space, for an image of fewer pixels with the same values."""
    part = middle(kspace, rows, columns)
    return part * math.sqrt(rows * columns / (kspace.shape[-2] * kspace.shape[-1]))


def _moved(column: float, row: float, number: float) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 3] = column, row, number
    return affine
