"""The text form of operators on pictures: stages joined by ``|``, the first applied first.

    average:4 | mask        every 4 x 4 block averaged, then holes
    gray                    colours to gray
    average:2 | jpeg:10     half the size, then a JPEG of quality 10

    gauss:2                 blurred by a Gaussian of deviation 2 pixels
    motion:15,30            ... by a line of 15 pixels, 30 degrees up from the horizontal
    disk:3                  ... out of focus, by a disk of radius 3
    kernel                  ... by a picture or an array, white on black
    gauss:2,mirror          the same, the picture's surroundings being its mirror image

What lies around a blurred picture has a part in its edges. By default it is unknown: the signal
is larger than the data by what the kernel reaches, and :func:`frame_of` tells where the data lie
in it. A last word ``mirror`` or ``circular`` says that the surroundings are the picture itself,
mirrored or repeated, which is true of simulations alone.

One table, ``DAMAGES``, serves the command line, TOML files and measurement files.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators import text as grammar
from ...operators.base import Operator
from ...operators.convolution import convolution, reach
from ...operators.nonlinear import Clip, Gamma
from ...operators.quantisation import Bits, Rounded
from ...operators.spectral import Identity, Inpainting
from ...operators.text import Arrays, Shape, Stage, Word, Words
from . import arguments as said
from .jpeg import BYTES, Jpeg, quality_tables
from .kernels import disk_kernel, gaussian_taps, motion_kernel, of_sum_one, trimmed
from .resample import Bicubic, BlockAverage
from .spectral import Grayscale

Image = tuple[int, int, int]
MOST_ELEMENTS = 150_000_000
NOTHING: Arrays = {}


def _none(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    said.nothing("none")(argument)
    return Identity(shape)


def _mask(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    missing = _array(arrays, "mask", "--mask")
    if tuple(missing.shape) != shape[1:]:
        raise ShapeError(
            f"Wanted a mask of {shape[1]} x {shape[2]}, as the data have, but got "
            f"{' x '.join(map(str, missing.shape))}. Draw it over the picture itself."
        )
    return Inpainting(missing.bool().logical_not().expand(shape))


def _average(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    return BlockAverage(_image(shape), said.factor(argument))


def _bicubic(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    return Bicubic(_image(shape), said.factor(argument))


def _gauss(argument: str, arrays: Arrays) -> Tensor:
    taps = gaussian_taps(said.deviation(argument))
    return torch.outer(taps, taps)


def _motion(argument: str, arrays: Arrays) -> Tensor:
    kernel = motion_kernel(*said.motion(argument))
    return trimmed(kernel.where(kernel > 1e-12, 0))


def _disk(argument: str, arrays: Arrays) -> Tensor:
    return trimmed(disk_kernel(said.radius(argument)))


def _kernel(argument: str, arrays: Arrays) -> Tensor:
    said.kernel(argument)
    return of_sum_one(_array(arrays, "kernel", "--blur, or its file as in kernel:psf.png"))


def _blur(kernel_of: Callable[[str, Arrays], Tensor]) -> Word:
    """The word of a blur, whose kernel is known from its argument."""

    def build(shape: Shape, argument: str, arrays: Arrays) -> Operator:
        rest, boundary = said.split_boundary(argument)
        return convolution(_image(shape), kernel_of(rest, arrays), boundary)

    def undone(shape: Shape, argument: str, arrays: Arrays) -> Image:
        (above, below), (left, right) = margins(argument, arrays)
        channels, height, width = _image(shape)
        return channels, height + above + below, width + left + right

    def frame(frame: grammar.Frame, argument: str, arrays: Arrays) -> grammar.Frame:
        before = [before for before, _ in margins(argument, arrays)]
        return tuple(
            slice(side.start + more, side.stop + more)
            for side, more in zip(frame, before, strict=True)
        )

    def margins(argument: str, arrays: Arrays) -> tuple[tuple[int, int], tuple[int, int]]:
        rest, boundary = said.split_boundary(argument)
        return reach(kernel_of(rest, arrays)) if boundary == "unknown" else ((0, 0), (0, 0))

    return Word(build, undone, frame)


def _gray(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    said.nothing("gray")(argument)
    return Grayscale(_image(shape))


def _jpeg(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    """Of a quality and a subsampling; without, of the tables of the file it came from.

    Under ``"copies"`` the three channels are copies of one gray picture, each with its own JPEG.
    """
    copies = "copies" in arrays
    colours = torch.eye(3, dtype=torch.float64) if copies or "jpeg_rgb" in arrays else None
    asked = said.jpeg(argument)
    if asked is None:
        tables = _array(arrays, "jpeg_tables", "a .jpg file, or a quality as in jpeg:10")
        sampling = [(int(h), int(v)) for h, v in _array(arrays, "jpeg_sampling", "a .jpg file")]
        if copies:
            tables, sampling = tables.expand(3, 8, 8), sampling * 3
        return Jpeg(_image(shape), tables, sampling, colours)
    quality, sampling = asked
    if copies:
        return Jpeg(_image(shape), quality_tables(quality)[[0, 0, 0]], "4:4:4", colours)
    return Jpeg(_image(shape), quality, sampling)


def _bits(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    return Bits(shape, int(said.bits(argument)), BYTES)


def _clip(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    return Clip(shape, said.gain(argument))


def _gamma(shape: Shape, argument: str, arrays: Arrays) -> Operator:
    return Gamma(shape, said.power(argument))


def _enlarged(shape: Shape, argument: str, arrays: Arrays) -> Image:
    channels, height, width = _image(shape)
    factor = said.factor(argument)
    return channels, height * factor, width * factor


def _zoomed(frame: grammar.Frame, argument: str, arrays: Arrays) -> grammar.Frame:
    factor = said.factor(argument)
    return tuple(slice(side.start * factor, side.stop * factor) for side in frame)


def _coloured(shape: Shape, argument: str, arrays: Arrays) -> Image:
    return 3, *_image(shape)[1:]


DAMAGES: Mapping[str, Word] = Words(
    {
        "none": Word(_none),
        "mask": Word(_mask),
        "average": Word(_average, _enlarged, _zoomed),
        "bicubic": Word(_bicubic, _enlarged, _zoomed),
        "gauss": _blur(_gauss),
        "motion": _blur(_motion),
        "disk": _blur(_disk),
        "kernel": _blur(_kernel),
        "gray": Word(_gray, _coloured),
        "jpeg": Word(_jpeg, rounds=True),
        "bits": Word(_bits, rounds=True),
        "clip": Word(_clip),
        "gamma": Word(_gamma),
    }
)
"""Every operator on pictures that has a text form, by name."""


def parse(text: str) -> tuple[Stage, ...]:
    """The stages of a text form; their ``str``, joined by ``|``, is the text again.

    Raises:
        SettingError: A word names no operator.

    Example:
        >>> parse("average:4 | jpeg:10")
        (Stage(name='average', argument='4'), Stage(name='jpeg', argument='10'))
    """
    return grammar.parse(text, DAMAGES)


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
    return operator_for_signal(text, signal_shape_for(text, data_shape, arrays), arrays)


def signal_shape_for(text: str, data_shape: tuple[int, ...], arrays: Arrays = NOTHING) -> Image:
    """The shape of a signal whose data show a picture of this shape; see above.

    Example:
        >>> signal_shape_for("average:4 | jpeg:10", (3, 8, 8))
        (3, 32, 32)
    """
    return _image(grammar.signal_shape_for(text, _image(data_shape), arrays, DAMAGES))


def frame_of(text: str, data_shape: tuple[int, ...], arrays: Arrays = NOTHING) -> grammar.Frame:
    """Rows and columns of the signal that the data show; beyond them are unseen surroundings.

    Args:
        text: Stages joined by ``|``.
        data_shape: ``(channels, height, width)`` of the picture that the data show.
        arrays: See :func:`operator_for_data`.

    Example:
        >>> frame_of("gauss:2 | average:2", (3, 10, 20))
        (slice(8, 28, None), slice(8, 48, None))
    """
    whole = tuple(slice(0, side) for side in _image(data_shape)[1:])
    return grammar.frame_of(text, whole, arrays, DAMAGES)


def operator_for_signal(text: str, signal_shape: tuple[int, ...], arrays: Arrays) -> Operator:
    """The operator of a text form, for signals of this shape; see :func:`operator_for_data`."""
    return grammar.joined(_built(text, signal_shape, arrays))


def operator_of(measurement: Measurement) -> Operator:
    """The operator that a measurement was made by."""
    return made_by(measurement)[0]


def made_by(measurement: Measurement) -> tuple[Operator, Shape]:
    """The operator that a measurement was made by; and the shape of the picture that it shows."""
    m, shown = measurement, tuple(measurement.y.shape)
    if not m.signal_shape:
        return operator_for_data(m.operator, shown, m.arrays), shown
    stages = _built(m.operator, m.signal_shape, m.arrays)
    return grammar.joined(stages), _shown(stages[-1])


def data_in(picture: Tensor, text: str, arrays: Arrays) -> Tensor:
    """The data that a picture shows which came out of these stages: itself, or its numbers.

    Args:
        picture: ``(channels, height, width)`` in [-1, 1].
        text: The stages.
        arrays: See :func:`operator_for_data`.
    """
    last = parse(text)[-1]
    word = DAMAGES[last.name]
    if not word.rounds:
        return picture
    return word.build(_image(tuple(picture.shape)), last.argument, arrays)(picture[None])[0]


def picture_of(measurement: Measurement) -> Tensor:
    """A picture of the data, ``(channels, height, width)``: themselves, or what they decode to."""
    m = measurement
    if not m.signal_shape or not DAMAGES[parse(m.operator)[-1].name].rounds:
        return m.y
    last = _built(m.operator, m.signal_shape, m.arrays)[-1]
    if isinstance(last, Jpeg):
        return last.decode(m.y[None])[0]
    return last.pinv(m.y[None])[0] if isinstance(last, Bits) else m.y


def _built(text: str, signal_shape: tuple[int, ...], arrays: Arrays) -> list[Operator]:
    """The operator of each stage, the first applied first."""
    return grammar.stages_for(text, _image(signal_shape), arrays, DAMAGES, _shown)


def _shown(H: Operator) -> Shape:
    """The shape of the picture that the data show: rounded ones are looked at decoded."""
    return H.signal_shape if isinstance(H, Rounded) else H.data_shape


def _image(shape: tuple[int, ...]) -> Image:
    if len(shape) != 3:
        raise ShapeError(
            f"Wanted pictures, (channels, height, width), but got data of shape {shape}. "
            "Put that operator last."
        )
    if math.prod(shape) > MOST_ELEMENTS:
        raise ShapeError(
            f"Wanted a signal of at most {MOST_ELEMENTS // 3_000_000} megapixels, but got "
            f"{shape[1]} x {shape[2]}. Crop the picture first."
        )
    return shape[0], shape[1], shape[2]


def _array(arrays: Arrays, name: str, option: str) -> Tensor:
    if name not in arrays:
        raise SettingError(
            f"Wanted an array {name!r} beside the operator, but got {list(arrays)}. "
            f"Give one with {option}."
        )
    return arrays[name]
