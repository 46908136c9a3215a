"""From the text form of operators to operators: what each of its words stands for.

What the words are is a domain's own: it gives a table of them. Other packages add words by
entry points of the group ``hdagger.operators``, name -> :class:`Word`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from importlib.metadata import entry_points
from typing import TypeAlias

from torch import Tensor

from ..stages import GROUP
from ..stages import Stage as Stage
from ..stages import parse as parse
from .base import Operator
from .chain import compose

Shape: TypeAlias = tuple[int, ...]
Arrays: TypeAlias = Mapping[str, Tensor]
Frame: TypeAlias = tuple[slice, ...]


def _same_shape(shape: Shape, argument: str, arrays: Arrays) -> Shape:
    return shape


def _same_frame(frame: Frame, argument: str, arrays: Arrays) -> Frame:
    return frame


@dataclass(frozen=True)
class Word:
    """What a stage's name stands for.

    Attributes:
        build: (signal shape, argument, arrays) -> the operator.
        undone: (data shape, argument, arrays) -> the shape of a signal that has such data.
        frame: (a frame of the data, argument, arrays) -> the same frame of the signal.
        rounds: Whether its data are whole numbers, which stand for what they decode to.
    """

    build: Callable[[Shape, str, Arrays], Operator]
    undone: Callable[[Shape, str, Arrays], Shape] = _same_shape
    frame: Callable[[Frame, str, Arrays], Frame] = _same_frame
    rounds: bool = False


class Words(Mapping[str, Word]):
    """A table of words, and those that other packages add to it.

    Args:
        own: The domain's words, by name; an added one does not replace them.
    """

    def __init__(self, own: Mapping[str, Word]) -> None:
        self.own = own

    @cached_property
    def added(self) -> dict[str, Word]:
        """The words of other packages."""
        found = entry_points(group=GROUP)
        return {entry.name: entry.load() for entry in found if entry.name not in self.own}

    def __getitem__(self, name: str) -> Word:
        return self.own[name] if name in self.own else self.added[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self.added

    def __len__(self) -> int:
        return len(self.own) + len(self.added)


def signal_shape_for(
    text: str, data_shape: Shape, arrays: Arrays, words: Mapping[str, Word]
) -> Shape:
    """The shape of a signal whose data have this shape."""
    shape = data_shape
    for stage in reversed(parse(text, words)):
        shape = words[stage.name].undone(shape, stage.argument, arrays)
    return shape


def frame_of(text: str, frame: Frame, arrays: Arrays, words: Mapping[str, Word]) -> Frame:
    """Where in the signal a frame of the data lies."""
    for stage in reversed(parse(text, words)):
        frame = words[stage.name].frame(frame, stage.argument, arrays)
    return frame


def stages_for(
    text: str,
    signal_shape: Shape,
    arrays: Arrays,
    words: Mapping[str, Word],
    shown: Callable[[Operator], Shape] = lambda H: H.data_shape,
) -> list[Operator]:
    """The operator of each stage, the first applied first.

    Args:
        text: Stages joined by ``|``.
        signal_shape: Shape of what the first works on.
        arrays: What stages need beyond the text, by name.
        words: The table of words.
        shown: The shape in which an operator's data meet the next one; by default their own.
    """
    shape, built = signal_shape, []
    for stage in parse(text, words):
        built.append(words[stage.name].build(shape, stage.argument, arrays))
        shape = shown(built[-1])
    return built


def joined(operators: list[Operator]) -> Operator:
    """All of them as one, the first applied first."""
    return reduce(compose, reversed(operators))
