"""What the light of a source goes through: a lens, between two frames; and its text form."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ...errors import SettingError
from ...operators.base import LinearOperator
from .lenses import Lens
from .shooting import Frame, lensed

MOST_PIXELS = 4096
"""A side of an image or a source."""


@dataclass(frozen=True)
class View:
    """What light goes through, and the frames it starts from and ends in.

    Attributes:
        lens: What bends it.
        source: The frame of the source.
        image: The frame of the image, about (0, 0).

    Example:
        >>> text = "source:64,64,0.03,0.1,0 | sie:1.2,0.75,20,0,0 | image:100,100,0.05"
        >>> str(View.read(text)) == text
        True
    """

    lens: Lens
    source: Frame
    image: Frame

    def __str__(self) -> str:
        s, i = self.source, self.image
        return (
            f"source:{s.rows},{s.columns},{s.scale:.12g},{s.x:.12g},{s.y:.12g} | {self.lens} | "
            f"image:{i.rows},{i.columns},{i.scale:.12g}"
        )

    @classmethod
    def read(cls, text: str) -> "View":
        """The view of a text form.

        Raises:
            SettingError: It is none.
        """
        try:
            first, *middle, last = (word.strip() for word in text.split("|"))
            source, image = _frame(first, "source"), _frame(last, "image")
        except ValueError as error:
            raise SettingError(
                "Wanted source:ROWS,COLUMNS,SCALE,X,Y | sie:1.2,0.75,20 | "
                f"image:ROWS,COLUMNS,SCALE, but got {text[:200]!r} ({error}). Mend it."
            ) from error
        return cls(Lens.read(" | ".join(middle)), source, image)

    def operator(self, psf: Float[Tensor, "rows columns"] | None = None) -> LinearOperator:
        """From a source, ``(1, rows, columns)``, to its image."""
        return lensed(self.lens, self.source, self.image, psf)


def _frame(word: str, name: str) -> Frame:
    found, _, said = word.partition(":")
    if found.strip() != name:
        raise ValueError(f"{found.strip()!r} is no {name}")
    rows, columns, *lengths = said.split(",")
    frame = Frame(int(rows), int(columns), *map(float, lengths))
    if not (0 < frame.rows <= MOST_PIXELS and 0 < frame.columns <= MOST_PIXELS):
        raise ValueError(f"a {name} of {frame.rows} x {frame.columns} pixels")
    if not 0 < frame.scale < 1e3 or max(abs(frame.x), abs(frame.y)) > 1e4:
        raise ValueError(f"pixels of {frame.scale:g} arcsec at {frame.x:g}, {frame.y:g}")
    return frame
