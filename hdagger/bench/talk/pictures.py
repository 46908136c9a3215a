"""The pictures of a table: which, in what order, cut how."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...domains.pictures.files import PICTURE_SUFFIXES, read_picture
from ...domains.pictures.writing import to_image
from ...errors import FileError
from ...files import check_file

LARGEST_LIST = 10_000_000
Pixels = Float[Tensor, "channels height width"]


@dataclass(frozen=True)
class Source:
    """A picture that is to be measured.

    Attributes:
        item: Its number in the order of the table.
        path: Its file.
        label: The number of what it shows; None for unknown.
    """

    item: int
    path: Path
    label: int | None = None

    @property
    def name(self) -> str:
        """What its rows are called: its number and the name of its file."""
        return f"{self.item:05}-{self.path.stem}"

    @property
    def stamp(self) -> tuple[int, int]:
        """When its file was written, and how long it is."""
        about = self.path.stat()
        return about.st_mtime_ns, about.st_size

    def read(self, channels: int, side: int) -> Pixels:
        """Its pixels, cut to a square as ADM and what came after it do."""
        image = to_image(read_picture(self.path).pixels)
        image = centre_crop(image.convert("RGB" if channels == 3 else "L"), side)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return pixels.view(side, side, channels).permute(2, 0, 1).double() / 127.5 - 1


def sources(folder: Path, most: int | None = None, names: Path | None = None) -> list[Source]:
    """The pictures of a folder, or those of a list.

    Of a folder with one folder for each label, one of each label comes after the other, so that
    the first so many hold as many of each. The labels are numbered as the folders are sorted.

    Args:
        folder: Where the files are.
        most: The first so many; by default all.
        names: A text file with a line for each picture, in their order: its path within the
            folder, and perhaps the number of its label.

    Raises:
        FileError: There is no picture, or the list names one that is not there.
    """
    found = _listed(folder, names) if names else _in_turn(folder)
    if not found:
        raise FileError(
            f"Wanted pictures, but {folder} has none. Name a folder of them, or of one folder "
            "for each label."
        )
    return [Source(item, path, label) for item, (path, label) in enumerate(found[:most])]


def _in_turn(folder: Path) -> list[tuple[Path, int | None]]:
    pictures = lambda place: [p for p in _sorted(place) if p.suffix.lower() in PICTURE_SUFFIXES]
    flat = pictures(folder)
    if flat:
        return [(path, None) for path in flat]
    folders = [pictures(place) for place in _sorted(folder) if place.is_dir()]
    ordered = [
        (number, label, path)
        for label, paths in enumerate(folders)
        for number, path in enumerate(paths)
    ]
    return [(path, label) for _, label, path in sorted(ordered)]


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FileError(
            f"Wanted a folder of pictures, but {folder} is none ({error.strerror}). "
            "Check the name."
        ) from error


def _listed(folder: Path, names: Path) -> list[tuple[Path, int | None]]:
    check_file(names, "a list of pictures")
    if names.stat().st_size > LARGEST_LIST:
        raise FileError(f"Wanted a list of pictures, but {names} is too long. Name a shorter one.")
    found: list[tuple[Path, int | None]] = []
    for line in names.read_text(errors="replace").splitlines():
        name, *label = line.split()[:2] or [""]
        if not name:
            continue
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
            raise FileError(
                f"Wanted a picture in {folder}, but {names} names {name!a}, which is not one. "
                "Give the folder that the list is of."
            )
        if label and not label[0].isdecimal():
            raise FileError(
                f"Wanted the number of a label after {name!a}, but {names} has {label[0]!a}. "
                "Write one picture a line: its path, and its label."
            )
        found.append((path, int(label[0]) if label else None))
    return found


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """The middle square of a picture, in ``side`` pixels, as the papers' code cuts it.

    Halved by a box filter as long as both sides are at least twice as large, then by a bicubic
    one to the shorter side, then cut.

    References:
        Dhariwal and Nichol, guided-diffusion, image_datasets.py, center_crop_arr.
        https://github.com/openai/guided-diffusion
    """
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def own_side(first: Sequence[Source]) -> int:
    """The shorter side of the first picture."""
    return min(read_picture(first[0].path).pixels.shape[1:])


def sha256_of(x: Tensor) -> str:
    """Of the numbers of a tensor."""
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()
