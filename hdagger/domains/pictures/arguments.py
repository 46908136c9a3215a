"""What follows the words of operators on pictures, as numbers: ``gauss:2``, ``jpeg:10,4:2:0``.

Nothing is built here, so that a wrong argument is refused at once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ...errors import SettingError
from ...stages import Boundary, Stage, added_words, parse

SAMPLINGS: Mapping[str, tuple[int, int]] = {
    "4:4:4": (1, 1),
    "4:2:2": (2, 1),
    "4:2:0": (2, 2),
    "4:4:0": (1, 2),
    "4:1:1": (4, 1),
}
"""Luma's sampling factors, chroma having (1, 1), by the usual names."""

FILES = ("mask", "kernel")
"""Words whose argument may name a file, which becomes an array beside the text."""
BLURS = ("gauss", "motion", "disk")
"""Words of blurs that need no file."""


def split_boundary(argument: str) -> tuple[str, Boundary]:
    """The argument of a blur without its boundary, and the boundary.

    Example:
        >>> split_boundary("15,30,mirror"), split_boundary("15,30"), split_boundary("mirror")
        (('15,30', 'mirror'), ('15,30', 'unknown'), ('', 'mirror'))
    """
    rest, _, last = argument.rpartition(",")
    for boundary in get_args(Boundary):
        if last.strip() == boundary:
            return rest, boundary
    return argument, "unknown"


def split_file(stage: Stage) -> tuple[str, Stage]:
    """The file that a stage names, ``""`` for none, and the stage without it.

    Example:
        >>> split_file(Stage("kernel", "k.png,mirror"))
        ('k.png', Stage(name='kernel', argument='mirror'))
        >>> split_file(Stage("gauss", "2,mirror"))
        ('', Stage(name='gauss', argument='2,mirror'))
    """
    if stage.name not in FILES:
        return "", stage
    if stage.name == "mask":
        return stage.argument, Stage("mask")
    path, boundary = split_boundary(stage.argument)
    return path, Stage("kernel", "" if boundary == "unknown" else boundary)


def number(text: str, what: str, least: float, most: float) -> float:
    """A number in [least, most].

    Raises:
        SettingError: It is another one, or none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise SettingError(
            f"Wanted {what} from {least:g} to {most:g}, but got {text!r}. Change the number."
        )
    return value


@dataclass(frozen=True)
class Number:
    """One number.

    Attributes:
        what: It is.
        least: It may be.
        most: It may be.
        usual: What it is where nothing is said; None where something has to be.
    """

    what: str
    least: float
    most: float
    usual: str = ""

    def __call__(self, argument: str) -> float:
        return number(argument or self.usual, self.what, self.least, self.most)


def factor(argument: str) -> int:
    """By how much a picture was made smaller."""
    value = number(argument, "a factor", 1, 16)
    if value != int(value):
        raise SettingError(f"Wanted a whole factor, but got {argument!r}. Try 4.")
    return int(value)


def motion(argument: str) -> tuple[float, float]:
    """A length and an angle."""
    length, _, angle = argument.partition(",")
    return (
        number(length, "a length in pixels", 1, 200),
        number(angle or "0", "an angle in degrees", -360, 360),
    )


def jpeg(argument: str) -> tuple[int, str] | None:
    """A quality and a subsampling; None for those of the file that it came from."""
    if not argument:
        return None
    quality, _, sampling = argument.partition(",")
    found = int(number(quality, "a JPEG quality", 1, 100)), sampling.strip() or "4:2:0"
    check_sampling(found[1])
    return found


def check_sampling(name: str) -> None:
    """Refuses a subsampling without a usual name."""
    if name not in SAMPLINGS:
        raise SettingError(
            f"A JPEG subsampling is one of {', '.join(SAMPLINGS)}, but got {name!r}. Try 4:2:0."
        )


def kernel(argument: str) -> None:
    """Nothing, but for what :func:`split_file` and :func:`split_boundary` take away."""
    if argument:
        raise SettingError(
            f"Wanted kernel, or kernel with one of {', '.join(get_args(Boundary))}, but got "
            f"{argument!r}. Give its file with --blur."
        )


def nothing(name: str) -> Callable[[str], None]:
    """What a word takes after which nothing comes."""

    def read(argument: str) -> None:
        if argument:
            raise SettingError(f"Wanted nothing after {name}, but got {argument!r}. Write {name}.")

    return read


deviation = Number("a deviation in pixels", 0.1, 50)
radius = Number("a radius in pixels", 0.5, 100)
bits = Number("a number of bits", 1, 16)
gain = Number("a gain", 0.01, 100, "2")
power = Number("a power", 0.1, 10, "2.2")

ARGUMENTS: Mapping[str, Callable[[str], Any]] = {
    "none": nothing("none"),
    "mask": lambda argument: None,
    "average": factor,
    "bicubic": factor,
    "gauss": deviation,
    "motion": motion,
    "disk": radius,
    "kernel": kernel,
    "gray": nothing("gray"),
    "jpeg": jpeg,
    "bits": bits,
    "clip": gain,
    "gamma": power,
}
"""Word -> what reads its argument, without a boundary or the name of a file."""


def check_text(text: str) -> tuple[Stage, ...]:
    """The stages of a text form, all that they say being right as far as it tells by itself.

    Raises:
        SettingError: A word names no operator, or its argument is wrong.

    Example:
        >>> check_text("gauss:2,mirror | average:4")
        (Stage(name='gauss', argument='2,mirror'), Stage(name='average', argument='4'))
    """
    stages = parse(text, (*ARGUMENTS, *added_words()))
    for stage in stages:
        if stage.name in ARGUMENTS:
            _, rest = split_file(stage)
            is_blur = stage.name in (*BLURS, "kernel")
            said = split_boundary(rest.argument)[0] if is_blur else rest.argument
            ARGUMENTS[stage.name](said)
    return stages
