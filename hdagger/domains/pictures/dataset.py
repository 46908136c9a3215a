"""Pictures to train on, from a folder."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from ...errors import FileError
from .files import PICTURE_SUFFIXES, read_picture
from .writing import to_image


class Photographs:
    """Random crops of the pictures in a folder, at full size, .71 of it, a half, and so on.

    A picture is drawn in proportion to the square root of its area. The pyramid is held in
    memory, 6 bytes for each pixel of the files.

    Args:
        folder: Where the pictures are, in it or in its folders; one for each label, if there are
            classes.
        crop: Side of a crop; pictures with a smaller side are left out.
        channels: 3 for colour, 1 for gray.
        classes: How many labels there are, numbered as their folders are sorted; 0 for none.
        mirror: Whether half of the crops are mirrored.
        scales: How many sizes there are of a picture, the full one included.

    Raises:
        FileError: There is no picture as large as a crop, or not a folder for each label.
    """

    def __init__(
        self,
        folder: Path,
        crop: int,
        channels: int = 3,
        classes: int = 0,
        mirror: bool = True,
        scales: int = 7,
    ) -> None:
        self.folder, self.crop = folder, crop
        self.channels = channels
        self.mirror = mirror
        self.pictures: list[np.ndarray] = []
        self.labels: list[int] = []
        folders = (
            sorted(path for path in folder.glob("*") if path.is_dir()) if classes else [folder]
        )
        if classes and len(folders) != classes:
            raise FileError(
                f"Wanted {classes} folders of pictures, one for each label, but {folder} has "
                f"{len(folders)}. Set classes in the plan."
            )
        for label, place in enumerate(folders):
            for path in sorted(place.rglob("*")):
                if path.suffix.lower() in PICTURE_SUFFIXES:
                    image = to_image(read_picture(path).pixels)
                    pyramid = _pyramid(
                        image.convert("RGB" if channels == 3 else "L"), crop, scales
                    )
                    self.pictures.extend(pyramid)
                    self.labels.extend([label] * len(pyramid))
        self._keep(range(len(self.pictures)))

    def _keep(self, kept: Sequence[int]) -> None:
        self.pictures = [self.pictures[index] for index in kept]
        self.labels = [self.labels[index] for index in kept]
        if not self.pictures:
            raise FileError(
                f"Wanted pictures of at least {self.crop} x {self.crop} pixels, but {self.folder} "
                "has none. Gather some with scripts/gather_photos.py, or take smaller crops."
            )
        areas = np.array([picture.shape[0] * picture.shape[1] for picture in self.pictures])
        self.shares = np.sqrt(areas) / np.sqrt(areas).sum()

    def cut(self, crop: int) -> "Photographs":
        """Larger crops of the same pictures, without those that have no room for them.

        Raises:
            FileError: None has.
        """
        other = copy.copy(self)
        other.crop = crop
        room = [min(picture.shape[:2]) >= crop for picture in self.pictures]
        other._keep([index for index, fits in enumerate(room) if fits])
        return other

    def draw(self, count: int, seed: int) -> Float[Tensor, "count channels crop crop"]:
        """``count`` crops in [-1, 1]; the seed decides which."""
        return self.draw_labelled(count, seed)[0]

    def draw_labelled(
        self, count: int, seed: int
    ) -> tuple[Float[Tensor, "count channels crop crop"], Int[Tensor, " count"]]:
        """The same crops with the labels of their pictures, 0 where there are no classes."""
        rng = np.random.default_rng(seed)
        crops = np.empty((count, self.crop, self.crop, self.channels), np.uint8)
        chosen = rng.choice(len(self.pictures), count, p=self.shares)
        for place, index in enumerate(chosen):
            picture = self.pictures[index]
            top, left = (rng.integers(side - self.crop + 1) for side in picture.shape[:2])
            crop = picture[top : top + self.crop, left : left + self.crop]
            crops[place] = crop[:, ::-1] if self.mirror and rng.random() < 0.5 else crop
        return _pixels(crops), torch.tensor([self.labels[index] for index in chosen])

    def in_turn(self, count: int, seed: int) -> Float[Tensor, "count channels crop crop"]:
        """``count`` crops, as many of each picture: first their middles, then random places."""
        rng = np.random.default_rng(seed)
        order, crops = rng.permutation(len(self.pictures)), []
        for k in range(count):
            picture = self.pictures[order[k % len(order)]]
            room = [side - self.crop for side in picture.shape[:2]]
            top, left = (r // 2 if k < len(order) else rng.integers(r + 1) for r in room)
            crops.append(picture[top : top + self.crop, left : left + self.crop])
        return _pixels(np.stack(crops))


def _pixels(crops: np.ndarray) -> Tensor:
    """Bytes, ``(count, rows, columns, channels)``, as channels in [-1, 1]."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def _pyramid(image: Image.Image, smallest: int, scales: int) -> list[np.ndarray]:
    levels: list[np.ndarray] = []
    for level in range(scales):
        width, height = (int(side * 2 ** (-level / 2)) for side in image.size)
        if min(width, height) < smallest:
            break
        small = image.resize((width, height), Image.Resampling.LANCZOS)
        levels.append(np.asarray(small).reshape(height, width, -1))
    return levels
