"""Galaxies to learn from: real ones out of a folder, and Sersic profiles, at any turn and size."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from ...errors import FileError
from ...files import check_file

CANVAS = 128
"""Pixels a side in which a galaxy is kept; it fills them."""

EXTENTS = 0.3, 1.1
"""Smallest and largest side of a galaxy, in sides of the frame."""

SMOOTH = 1 / 3, 400
"""Share of Sersic profiles, so that smooth galaxies exist, and how many of them there are."""

POWERS = 0.4, 1.0
"""Powers of a picture's flux: how it was stretched for a screen, nobody knows for sure."""

BLUR = 1.8
"""Largest deviation of a Gaussian, in pixels of the frame, by which a galaxy is blurred: a distant
one is known through a telescope, whose point spread may be wider than a pixel of the source."""

PAIRS = 0.15
"""Share of frames with a second galaxy."""

PEAKS = 0.2, 1.2
"""Faintest and brightest peak of a frame."""

LARGEST = 4096
"""Pixels a side of a file that is read."""


class Galaxies:
    """Frames of ``side`` x ``side`` pixels with a galaxy or two: linear flux, the sky 0.

    Args:
        folder: Pictures of galaxies as scripts/gather_galaxies.py leaves them: gray, linear.
        side: Of a frame.

    Raises:
        FileError: There is none.
    """

    def __init__(self, folder: Path, side: int) -> None:
        self.side = side
        paths = sorted(folder.glob("*.png"))
        if not paths:
            raise FileError(
                f"Wanted pictures of galaxies, but {folder} has no .png. "
                "Gather some with scripts/gather_galaxies.py."
            )
        smooth = sersic_profiles(SMOOTH[1], CANVAS, np.random.default_rng(0))
        self.real = len(paths)
        self.pictures = torch.cat(
            [torch.stack([read_galaxy(path) for path in paths])[:, None], smooth]
        )

    def draw(
        self, count: int, seed: int, sharp: bool = False
    ) -> Float[Tensor, "count 1 side side"]:
        """``count`` frames.

        Args:
            count: How many.
            seed: Which ones.
            sharp: Whether all are real galaxies that are not blurred.
        """
        rng = np.random.default_rng(seed)
        frames = self._galaxies(count, rng, sharp)
        paired = torch.from_numpy(rng.random(count) < PAIRS)
        if paired.any():
            second = self._galaxies(int(paired.sum()), rng, sharp)
            fainter = torch.from_numpy(rng.uniform(0.2, 1, (len(second), 1, 1, 1))).float()
            frames[paired] += fainter * second
        low, high = PEAKS
        peaks = torch.from_numpy(np.exp(rng.uniform(math.log(low), math.log(high), count)))
        return frames * peaks.float().view(-1, 1, 1, 1)

    def _galaxies(self, count: int, rng: np.random.Generator, sharp: bool) -> Tensor:
        """As many galaxies with a peak of 1, each in a frame."""
        low, high = EXTENTS
        extent = np.exp(rng.uniform(math.log(low), math.log(high), count))
        angle = rng.uniform(0, 2 * math.pi, count)
        mirror = rng.choice([-1.0, 1.0], count)
        place = rng.uniform(-0.5, 0.5, (count, 2)) * np.maximum(0, 1.1 - extent)[:, None]
        smooth = rng.random(count) < (0 if sharp else SMOOTH[0])
        chosen = rng.integers(
            np.where(smooth, self.real, 0), np.where(smooth, len(self.pictures), self.real)
        )
        power = torch.from_numpy(np.where(smooth, 1, rng.uniform(*POWERS, count))).float()
        whole = self.pictures[torch.from_numpy(chosen)] ** power.view(-1, 1, 1, 1)
        cos, sin = np.cos(angle) / extent, np.sin(angle) / extent
        turn = np.stack([np.stack([cos * mirror, sin], 1), np.stack([-sin * mirror, cos], 1)], 1)
        shift = -turn @ (2 * place[:, :, None])
        theta = torch.from_numpy(np.concatenate([turn, shift], 2)).float()
        frames = whole.new_zeros(count, 1, self.side, self.side)
        fine = 2 * self.side
        shrunk = np.clip(np.floor(np.log2(CANVAS / (fine * extent))), 0, 3).astype(int)
        for level in np.unique(shrunk):
            rows = torch.from_numpy(np.flatnonzero(shrunk == level))
            grid = affine_grid(theta[rows], [len(rows), 1, fine, fine], align_corners=False)
            source = avg_pool2d(whole[rows], 2 ** int(level))
            frames[rows] = avg_pool2d(grid_sample(source, grid, align_corners=False), 2)
        if not sharp:
            frames = blurred(frames, torch.from_numpy(rng.uniform(0, BLUR, count)).float())
        return frames / frames.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)


def blurred(
    frames: Float[Tensor, "count 1 h w"], sigma: Float[Tensor, " count"]
) -> Float[Tensor, "count 1 h w"]:
    """Each frame blurred by a Gaussian of its own, as on a torus."""
    rows, columns = torch.fft.fftfreq(frames.shape[-2]), torch.fft.rfftfreq(frames.shape[-1])
    f2 = rows[:, None].square() + columns.square()
    gain = (-2 * (math.pi * sigma.view(-1, 1, 1, 1)) ** 2 * f2).exp()
    return torch.fft.irfft2(gain * torch.fft.rfft2(frames), s=frames.shape[-2:]).clamp(min=0)


def sersic_profiles(
    count: int, side: int, rng: np.random.Generator
) -> Float[Tensor, "count 1 side side"]:
    """Sersic profiles of index .5 to 4, any flattening and turn, that fade out within the frame.

    I(r) = exp(-b_n (r / r_e)^(1/n)), b_n = 2 n - 1/3, r^2 = x^2 / q + q y^2.

    References:
        Graham and Driver, A concise reference to (projected) Sersic quantities, 2005.
        https://doi.org/10.1071/AS05001
    """
    n, q = rng.uniform(0.5, 4, count), rng.uniform(0.2, 1, count)
    radius = rng.uniform(0.12, 0.3, count)
    angle = rng.uniform(0, math.pi, count)
    n, q, radius, angle = (torch.from_numpy(v).view(-1, 1, 1) for v in (n, q, radius, angle))
    place = (torch.arange(2 * side, dtype=torch.float64) + 0.5) / side - 1
    y, x = place[:, None], place
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    r = (along**2 * q + across**2 / q).sqrt()
    profile = (-(2 * n - 1 / 3) * (r / radius) ** (1 / n)).exp()
    profile = profile * (1 - (x**2 + y**2).sqrt() ** 4).clamp(min=0)
    profile = avg_pool2d(profile[:, None], 2)
    return (profile / profile.amax((1, 2, 3), keepdim=True)).float()


def read_galaxy(path: Path) -> Float[Tensor, "side side"]:
    """A picture, its numbers taken for flux, in the middle of the canvas; its peak is 1.

    Raises:
        FileError: It is none.
    """
    check_file(path, "a picture of a galaxy")
    try:
        with Image.open(path) as image:
            if max(image.size) > LARGEST:
                raise ValueError(f"{image.size} pixels")
            gray = image if image.mode in ("L", "I;16", "I", "F") else image.convert("L")
            image = Image.fromarray(np.asarray(gray, np.float32))
    except (OSError, ValueError, SyntaxError) as error:
        raise FileError(
            f"Wanted a picture of a galaxy, but {path} is not one that can be read "
            f"({error}). Take another."
        ) from error
    scale = CANVAS / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float64)
    canvas = np.zeros((CANVAS, CANVAS))
    top, left = (CANVAS - height) // 2, (CANVAS - width) // 2
    canvas[top : top + height, left : left + width] = small / max(small.max(), 1e-12)
    return torch.from_numpy(canvas).float()
