"""What can be measured of a motion: linear maps of the numbers of every frame, seen in some.

The words of the text form, the first applied first:

    none                        everything
    frames                      the frames that the array ``frames`` says, ``(frames,)``
    trackers:head,hands         world positions of points, in metres
    trackers:head | frames      the same, where they were seen

World coordinates are sums of the root's and of those relative to it, so trackers are linear.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...operators import text as grammar
from ...operators.base import Operator, SVDOperator
from ...operators.text import Arrays, Shape, Word, Words
from ...tensors import Data, Signal, Spectrum
from .features import SIZE, column
from .skeleton import HUMANOID

TRACKERS = {"head": ("head",), "hands": ("lhand", "rhand"), "feet": ("lankle", "rankle")}
"""Names of several points, or of one."""


class FrameWise(SVDOperator):
    """The same linear map A of every frame, seen in some frames: H = diag(known) (x) A.

    One after the other is one again, with its singular value decomposition.

    Args:
        rows: A, ``(data, features)``.
        known: The frames that are seen, ``(frames,)``.
    """

    rows: Tensor
    known: Tensor
    left: Tensor
    right: Tensor
    s: Tensor

    def __init__(
        self, rows: Float[Tensor, "data features"], known: Bool[Tensor, " frames"]
    ) -> None:
        super().__init__()
        rows = rows.double()
        left, s, right = torch.linalg.svd(rows)
        for name, value in dict(rows=rows, known=known, left=left, right=right, s=s).items():
            self.register_buffer(name, value)
        self.signal_shape = (len(known), rows.shape[1])
        self.data_shape = (len(known), len(rows))

    def seen_by(self, outer: Operator) -> Operator | None:
        if not isinstance(outer, FrameWise):
            return None
        return FrameWise(outer.rows @ self.rows, outer.known & self.known)

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return None if self.known.all() else self.known[:, None].expand(self.data_shape)

    @property
    def singular_values(self) -> Tensor:
        return (self.known[:, None] * self.s).flatten()

    def U(self, z: Spectrum) -> Data:
        return self._by_frame(z, len(self.left)) @ self.left.mT

    def Ut(self, y: Data) -> Spectrum:
        return self._by_kind(y @ self.left)

    def V(self, z: Spectrum) -> Signal:
        return self._by_frame(z, len(self.right)) @ self.right

    def Vt(self, x: Signal) -> Spectrum:
        return self._by_kind(x @ self.right.mT)

    def _by_kind(self, z: Tensor) -> Spectrum:
        """Coefficients in order: of every frame those with a singular value, then the others."""
        kept = len(self.s)
        return torch.cat([z[..., :kept].flatten(1), z[..., kept:].flatten(1)], 1)

    def _by_frame(self, z: Spectrum, width: int) -> Float[Tensor, "batch frames width"]:
        frames, kept = len(self.known), len(self.s)
        first = z[:, : frames * kept].unflatten(1, (frames, kept))
        rest = z[:, frames * kept :].unflatten(1, (frames, width - kept))
        return torch.cat([first, rest], -1)


def points_named(text: str) -> tuple[str, ...]:
    """The points of the body that trackers are called after, as in ``head,hands``.

    Raises:
        SettingError: There is no such point.
    """
    found: list[str] = []
    for name in text.split(","):
        points = TRACKERS.get(name.strip(), (name.strip(),))
        if not all(point in HUMANOID.points[1:] for point in points):
            choice = ", ".join([*TRACKERS, *(p for p in HUMANOID.points[1:] if p not in TRACKERS)])
            raise SettingError(
                f"Wanted trackers, some of {choice}, but got {name!r}. Try trackers:head,hands."
            )
        found += points
    return tuple(dict.fromkeys(found))


def motion_operator(text: str, signal_shape: Shape, arrays: Arrays) -> Operator:
    """The operator of a text form, for signals ``(frames, features)``.

    Raises:
        SettingError: A word names no operator, or an array is missing.
        ShapeError: A word does not fit what comes to it.
    """
    if len(signal_shape) != 2:
        raise ShapeError(
            f"Wanted motions of shape (frames, {SIZE}), but got {signal_shape}. "
            "Encode them with hdagger.domains.motion.features.encode."
        )
    return grammar.joined(grammar.stages_for(text, signal_shape, arrays, WORDS))


def signal_shape_for(text: str, data_shape: Shape, arrays: Arrays) -> Shape:
    """The shape of a motion whose data have this shape."""
    return grammar.signal_shape_for(text, data_shape, arrays, WORDS)


def _none(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    _no_argument("none", argument)
    return FrameWise(torch.eye(shape[1]), torch.ones(shape[0], dtype=torch.bool))


def _frames(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    _no_argument("frames", argument)
    if "frames" not in arrays:
        raise SettingError(
            "Wanted an array that says which frames are known, but got none. "
            'Give arrays={"frames": known}, or hdagger motion inbetween --keep 0:10,50:60.'
        )
    known = arrays["frames"]
    if tuple(known.shape) != shape[:1]:
        raise ShapeError(
            f"Wanted a truth value for each of {shape[0]} frames, but got an array of shape "
            f"{tuple(known.shape)}. Make it of shape ({shape[0]},)."
        )
    return FrameWise(torch.eye(shape[1]), known.bool())


def _trackers(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    points = points_named(argument)
    if shape[1] != SIZE:
        raise ShapeError(
            f"Trackers are on motions of shape (frames, {SIZE}), but got {shape}. "
            "Let the word trackers be the first."
        )
    rows = torch.zeros(3 * len(points), SIZE, dtype=torch.float64)
    for k, point in enumerate(points):
        for axis in range(3):
            rows[3 * k + axis, column(point, axis)] = 1
            if axis < 2:
                rows[3 * k + axis, axis] = 1
    return FrameWise(rows, torch.ones(shape[0], dtype=torch.bool))


def _no_argument(word: str, argument: str) -> None:
    if argument:
        raise SettingError(f"Wanted {word} alone, but got {word}:{argument}. Try {word}.")


WORDS = Words(
    {
        "none": Word(_none),
        "frames": Word(_frames),
        "trackers": Word(_trackers, undone=lambda shape, argument, arrays: (shape[0], SIZE)),
    }
)
