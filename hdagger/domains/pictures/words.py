"""The text form of operators: stages joined by ``|``, the first applied first.

    average:4 | mask        every 4 x 4 block averaged, then holes
    gray                    colours to gray
    average:2 | jpeg:10     half the size, then a JPEG of quality 10

One registry, ``DAMAGES``, serves the command line, TOML files and measurement files.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import Operator
from ...operators.chain import compose
from ...operators.nonlinear import Clip, Gamma
from ...operators.quantisation import Bits, Rounded
from ...operators.spectral import Identity, Inpainting
from .jpeg import Jpeg, quality_tables
from .kernels import gaussian_taps, motion_kernel
from .resample import Bicubic, BlockAverage, SeparableBlur
from .spectral import CircularBlur, Grayscale

Image = tuple[int, int, int]
Arrays = Mapping[str, Tensor]
MOST_ELEMENTS = 150_000_000


@dataclass(frozen=True)
class Stage:
    """One word of a text form, ``name:argument``."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name


@dataclass(frozen=True)
class Damage:
    """What a stage's name stands for.

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


def _jpeg(shape: Image, argument: str, arrays: Arrays) -> Operator:
    """Of a quality and a subsampling; without, of the tables of the file it came from.

    Under ``"copies"`` the three channels are copies of one gray picture, each with its own JPEG.
    """
    copies = "copies" in arrays
    colours = torch.eye(3, dtype=torch.float64) if copies or "jpeg_rgb" in arrays else None
    if not argument:
        tables = _array(arrays, "jpeg_tables", "a .jpg file, or a quality as in jpeg:10")
        sampling = [(int(h), int(v)) for h, v in _array(arrays, "jpeg_sampling", "a .jpg file")]
        if copies:
            tables, sampling = tables.expand(3, 8, 8), sampling * 3
        return Jpeg(shape, tables, sampling, colours)
    quality, _, sampling = argument.partition(",")
    number = int(_number(quality, "a JPEG quality", 1, 100))
    if copies:
        return Jpeg(shape, quality_tables(number)[[0, 0, 0]], "4:4:4", colours)
    return Jpeg(shape, number, sampling.strip() or "4:2:0")


def _bits(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return Bits(shape, int(_number(argument, "a number of bits", 1, 16)))


def _clip(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return Clip(shape, _number(argument or "2", "a gain", 0.01, 100))


def _gamma(shape: Image, argument: str, arrays: Arrays) -> Operator:
    return Gamma(shape, _number(argument or "2.2", "a power", 0.1, 10))


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
    "jpeg": Damage(_jpeg),
    "bits": Damage(_bits),
    "clip": Damage(_clip),
    "gamma": Damage(_gamma),
}
"""Every operator that has a text form, by name."""


def parse(text: str) -> tuple[Stage, ...]:
    """The stages of a text form; their ``str``, joined by ``|``, is the text again.

    Raises:
        SettingError: A word names no operator.

    Example:
        >>> parse("average:4 | jpeg:10")
        (Stage(name='average', argument='4'), Stage(name='jpeg', argument='10'))
    """
    stages = []
    for place, word in enumerate(text.split("|"), 1):
        name, _, argument = (part.strip() for part in word.partition(":"))
        if name not in DAMAGES:
            raise SettingError(
                f"Wanted an operator, one of {', '.join(DAMAGES)}, but got {name!r}, word {place} "
                f"of {text!r}. Join several with |, as in average:4 | mask."
            )
        stages.append(Stage(name, argument))
    return tuple(stages)


def operator_for_data(text: str, data_shape: tuple[int, ...], arrays: Arrays) -> Operator:
    """The operator of a text form, for pictures of this shape that came out of it.

    Args:
        text: Stages joined by ``|``.
        data_shape: ``(channels, height, width)`` of the picture: the data, or for those that
            are no picture (a JPEG's numbers) what they show.
        arrays: What stages need beyond the text: ``"mask"`` (true where missing), ``"kernel"``,
            ``"jpeg_tables"`` and ``"jpeg_sampling"``.

    Raises:
        SettingError: The text names no operator, or an argument is out of range.
        ShapeError: The stages do not fit each other.

    Example:
        >>> operator_for_data("average:4", (3, 8, 8), {}).signal_shape
        (3, 32, 32)
    """
    return operator_for_signal(text, signal_shape_for(text, data_shape), arrays)


def signal_shape_for(text: str, data_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of a signal whose data show a picture of this shape; see above.

    Example:
        >>> signal_shape_for("average:4 | jpeg:10", (3, 8, 8))
        (3, 32, 32)
    """
    shape = _image(data_shape)
    for stage in reversed(parse(text)):
        shape = DAMAGES[stage.name].undone(shape, stage.argument)
    return shape


def operator_for_signal(text: str, signal_shape: tuple[int, ...], arrays: Arrays) -> Operator:
    """The operator of a text form, for signals of this shape; see :func:`operator_for_data`."""
    return reduce(compose, reversed(_built(text, signal_shape, arrays)))


def operator_of(measurement: Measurement) -> Operator:
    """The operator that a measurement was made by."""
    m = measurement
    if m.signal_shape:
        return operator_for_signal(m.operator, m.signal_shape, m.arrays)
    return operator_for_data(m.operator, tuple(m.y.shape), m.arrays)


def data_in(picture: Tensor, text: str, arrays: Arrays) -> Tensor:
    """The data that a picture shows which came out of these stages: itself, or its numbers.

    Args:
        picture: ``(channels, height, width)`` in [-1, 1].
        text: The stages.
        arrays: See :func:`operator_for_data`.
    """
    last = parse(text)[-1]
    H = DAMAGES[last.name].build(_image(tuple(picture.shape)), last.argument, arrays)
    return H(picture[None])[0] if isinstance(H, Rounded) else picture


def picture_of(measurement: Measurement) -> Tensor:
    """A picture of the data, ``(channels, height, width)``: themselves, or what they decode to."""
    m = measurement
    if not m.signal_shape:
        return m.y
    last = _built(m.operator, m.signal_shape, m.arrays)[-1]
    if isinstance(last, Jpeg):
        return last.decode(m.y[None])[0]
    return last.pinv(m.y[None])[0] if isinstance(last, Bits) else m.y


def _built(text: str, signal_shape: tuple[int, ...], arrays: Arrays) -> list[Operator]:
    """The operator of each stage, the first applied first."""
    shape, built = _image(signal_shape), []
    for stage in parse(text):
        if math.prod(shape) > MOST_ELEMENTS:
            raise ShapeError(
                f"Wanted a signal of at most {MOST_ELEMENTS // 3_000_000} megapixels, but "
                f"{stage} works on {shape}. Crop the picture first."
            )
        H = DAMAGES[stage.name].build(shape, stage.argument, arrays)
        built.append(H)
        shape = shape if isinstance(H, Rounded) else _image(H.data_shape)
    return built


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
