"""The text form of operators: stages joined by ``|``, the first applied first.

    average:4 | mask        every 4 x 4 block averaged, then holes
    gray                    colours to gray

One registry, ``DAMAGES``, serves the command line, TOML files and measurement files.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import SettingError, ShapeError
from .base import Operator
from .chain import compose
from .kernels import gaussian_taps, motion_kernel
from .resample import Bicubic, BlockAverage, SeparableBlur
from .spectral import CircularBlur, Grayscale, Identity, Inpainting

Image = tuple[int, int, int]
Arrays = Mapping[str, Tensor]
MOST_ELEMENTS = 150_000_000


@dataclass(frozen=True)
class Damage:
    """One stage of a text form, ``name:argument``.

    Attributes:
        build: (signal shape, argument, arrays) -> the operator.
        undone: (data shape, argument) -> the shape of a signal that has such data.
    """

    build: Callable[[Image, str, Arrays], Operator]
    undone: Callable[[Image, str], Image] = lambda shape, argument: shape


def _none(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return Identity(shape)


def _mask(shape: Image, argument: str, arrays: Arrays) -> Operator:
    missing = _array(arrays, "mask", "--mask")
    if tuple(missing.shape) != shape[1:]:
        raise ShapeError(
            f"Wanted a mask of {shape[1]} x {shape[2]}, as the data have, but got "
            f"{' x '.join(map(str, missing.shape))}. Draw it over the picture itself."
        )
    return Inpainting(missing.bool().logical_not().expand(shape))


def _average(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return BlockAverage(shape, _factor(argument))


def _bicubic(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return Bicubic(shape, _factor(argument))


def _gauss(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return SeparableBlur(shape, gaussian_taps(_number(argument, "a deviation in pixels", 0.1, 50)))


def _motion(shape: Image, argument: str, arrays: Arrays) -> Operator:
    length, _, angle = argument.partition(",")
    return CircularBlur(
        shape,
        motion_kernel(
            _number(length, "a length in pixels", 1, 200),
            _number(angle or "0", "an angle in degrees", -360, 360),
        ),
    )


def _kernel(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return CircularBlur(shape, _array(arrays, "kernel", "--blur"))


def _gray(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return Grayscale(shape)


def _enlarged(shape: Image, argument: str) -> Image:
    factor = _factor(argument)
    return shape[0], shape[1] * factor, shape[2] * factor


def _coloured(shape: Image, argument: str) -> Image:
    return 3, *shape[1:]


DAMAGES: dict[str, Damage] = {
    "none": Damage(_none),
    "mask": Damage(_mask),
    "average": Damage(_average, _enlarged),
    "bicubic": Damage(_bicubic, _enlarged),
    "gauss": Damage(_gauss),
    "motion": Damage(_motion),
    "kernel": Damage(_kernel),
    "gray": Damage(_gray, _coloured),
}
"""Every operator that has a text form, by name."""


def operator_for_data(text: str, data_shape: tuple[int, ...], arrays: Arrays) -> Operator:
    """The operator of a text form, for data of this shape.

    Args:
        text: Stages joined by ``|``.
        data_shape: ``(channels, height, width)`` of the data.
        arrays: What stages need beyond the text: ``"mask"`` (true where missing), ``"kernel"``.

    Raises:
        SettingError: The text names no operator, or an argument is out of range.
        ShapeError: The stages do not fit each other.

    Example:
        >>> operator_for_data("average:4", (3, 8, 8), {}).signal_shape
        (3, 32, 32)
    """
    shape = _image(data_shape)
    for damage, argument in reversed(_stages(text)):
        shape = damage.undone(shape, argument)
    return operator_for_signal(text, shape, arrays)


def operator_for_signal(text: str, signal_shape: tuple[int, ...], arrays: Arrays) -> Operator:
    """The operator of a text form, for signals of this shape; see :func:`operator_for_data`."""
    if math.prod(signal_shape) > MOST_ELEMENTS:
        raise ShapeError(
            f"Wanted a signal of at most {MOST_ELEMENTS // 3_000_000} megapixels, but {text} "
            f"works on {signal_shape}. Crop the picture first."
        )
    whole: Operator = Identity(signal_shape)
    for damage, argument in _stages(text):
        whole = compose(damage.build(_image(whole.data_shape), argument, arrays), whole)
    return whole


def _stages(text: str) -> list[tuple[Damage, str]]:
    stages = []
    for part in text.split("|"):
        name, _, argument = part.strip().partition(":")
        if name not in DAMAGES:
            raise SettingError(
                f"Wanted an operator, one of {', '.join(DAMAGES)}, but got {name!r}. "
                "Join several with |, as in average:4 | mask."
            )
        stages.append((DAMAGES[name], argument))
    return stages


def _image(shape: tuple[int, ...]) -> Image:
    if len(shape) != 3:
        raise ShapeError(
            f"Wanted pictures, (channels, height, width), but got data of shape {shape}. "
            "Put that operator last."
        )
    return shape[0], shape[1], shape[2]


def _array(arrays: Arrays, name: str, option: str) -> Tensor:
    if name not in arrays:
        raise SettingError(
            f"Wanted an array {name!r} beside the operator, but got {list(arrays)}. "
            f"Give one with {option}."
        )
    return arrays[name]


def _factor(text: str) -> int:
    factor = _number(text, "a factor", 1, 16)
    if factor != int(factor):
        raise SettingError(f"Wanted a whole factor, but got {text!r}. Try 4.")
    return int(factor)


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise SettingError(
            f"Wanted {what} from {least:g} to {most:g}, but got {text!r}. Change the number."
        )
    return value
