"""Pictures to train on, from a folder."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .errors import FileError
from .media import PICTURE_SUFFIXES, read_picture, to_image


class Photographs:
    """Random crops of the pictures in a folder, at full size, a half, a quarter and an eighth.

    Half of the crops are mirrored. A picture is drawn in proportion to the square root of its
    area. The pyramid is held in memory, 4 bytes for each pixel of the files.

    Args:
        folder: Where the pictures are.
        crop: Side of a crop; pictures with a smaller side are left out.

    Raises:
        FileError: There is no picture as large as a crop.
    """

    def __init__(self, folder: Path, crop: int) -> None:
        self.crop = crop
        self.pictures: list[np.ndarray] = []
        for path in sorted(folder.glob("*")):
            if path.suffix.lower() in PICTURE_SUFFIXES:
                self.pictures.extend(_pyramid(to_image(read_picture(path).pixels), crop))
        if not self.pictures:
            raise FileError(
                f"Wanted pictures of at least {crop} x {crop} pixels, but {folder} has none. "
                "Gather some with scripts/gather_photos.py."
            )
        areas = np.array([picture.shape[0] * picture.shape[1] for picture in self.pictures])
        self.shares = np.sqrt(areas) / np.sqrt(areas).sum()

    def draw(self, count: int, seed: int) -> Float[Tensor, "count 3 crop crop"]:
        """``count`` crops in [-1, 1]; the seed decides which."""
        rng = np.random.default_rng(seed)
        crops = np.empty((count, self.crop, self.crop, 3), np.uint8)
        for place, chosen in enumerate(rng.choice(len(self.pictures), count, p=self.shares)):
            picture = self.pictures[chosen]
            top, left = (rng.integers(side - self.crop + 1) for side in picture.shape[:2])
            crop = picture[top : top + self.crop, left : left + self.crop]
            crops[place] = crop[:, ::-1] if rng.random() < 0.5 else crop
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def _pyramid(image: Image.Image, smallest: int) -> list[np.ndarray]:
    image, levels = image.convert("RGB"), []
    while min(image.size) >= smallest and len(levels) < 4:
        levels.append(np.asarray(image))
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    return levels
