"""No operator is tested by itself alone: data that other code made, from a larger scene.

Each word of the text form is given a piece of a photograph as scipy, Pillow or libjpeg damaged
it together with its true surroundings, and has to say of the clean scene what that code said.
Bytes and whole numbers differ by their rounding, and by nothing else.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import ndimage

from hdagger.domains.pictures.jpeg import Jpeg
from hdagger.domains.pictures.kernels import motion_kernel
from hdagger.domains.pictures.words import (
    DAMAGES,
    frame_of,
    operator_for_data,
    operator_for_signal,
    picture_of,
    signal_shape_for,
)
from hdagger.measurement import Measurement

F64 = torch.float64
PIXEL = 2 / 255
HALF = PIXEL / 2 * 1.02
"""Half a step of a picture of bytes."""


@pytest.fixture(scope="module")
def scene():
    """A piece of a photograph as bytes, 160 x 192, larger than what any test looks at."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[40:200, 120:312])


def values(pixels):
    """Bytes (height, width, channels) as a picture in [-1, 1], (channels, height, width)."""
    array = torch.from_numpy(np.asarray(pixels, dtype=np.float64))
    return (array.permute(2, 0, 1) if array.ndim == 3 else array[None]) / 127.5 - 1


def each(picture, work):
    return torch.stack([torch.from_numpy(work(channel.numpy())) for channel in picture])


TOP, LEFT, HEIGHT, WIDTH = 40, 56, 64, 80
"""The piece that a camera saw of the scene."""


def seen_by_camera(blurred):
    return blurred[:, TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]


def of_scene(text, arrays, scene):
    """The signal of which a text form's data are that piece: cut out of the clean scene."""
    shape = (3, HEIGHT, WIDTH)
    rows, columns = frame_of(text, shape, arrays)
    top, left = TOP - rows.start, LEFT - columns.start
    _, height, width = signal_shape_for(text, shape, arrays)
    return values(scene)[:, top : top + height, left : left + width]


def line(length, degrees):
    """A line as a heap of points, counted pixel by pixel."""
    side, scale = 2 * int(length / 2 + 2) + 1, 16
    middle = side * scale / 2
    t = np.linspace(-length / 2, length / 2, 4001) * scale
    rows = middle - t * np.sin(np.radians(degrees))
    columns = middle + t * np.cos(np.radians(degrees))
    fine, _, _ = np.histogram2d(rows, columns, side * scale, [[0, side * scale]] * 2)
    kernel = fine.reshape(side, scale, side, scale).sum((1, 3))
    return kernel / kernel.sum()


def disk(radius):
    fine = np.hypot(*np.mgrid[-8:8:1601j, -8:8:1601j]) <= radius
    centres = np.rint(np.linspace(-8, 8, 1601)).astype(int) + 8
    kernel = np.zeros((17, 17))
    np.add.at(kernel, (centres[:, None], centres[None, :]), fine)
    return kernel / kernel.sum()


UNEVEN = np.random.default_rng(0).random((4, 7)) ** 2

BLURS = {
    "gauss:2": (lambda c: ndimage.gaussian_filter(c, 2, truncate=4), 1e-9),
    "gauss:2.5": (lambda c: ndimage.gaussian_filter(c, 2.5, truncate=6), 2e-3),
    "motion:15,30": (lambda c: ndimage.convolve(c, line(15, 30)), 0.05),
    "motion:9,0": (lambda c: ndimage.uniform_filter1d(c, 9, axis=1), 0.06),
    "motion:12,-70": (lambda c: ndimage.convolve(c, line(12, -70)), 0.05),
    "disk:3": (lambda c: ndimage.convolve(c, disk(3)), 0.01),
    "kernel": (lambda c: ndimage.convolve(c, UNEVEN / UNEVEN.sum()), 1e-9),
}
"""By other code, with how far a different cut or drawing of the kernel may lead, at most."""


@pytest.mark.parametrize("text", BLURS)
def test_a_blur_is_that_of_a_camera_that_saw_the_surroundings(text, scene):
    work, limit = BLURS[text]
    arrays = {"kernel": torch.from_numpy(UNEVEN)} if text == "kernel" else {}
    H = operator_for_data(text, (3, HEIGHT, WIDTH), arrays)
    y = H(of_scene(text, arrays, scene)[None])[0]
    expected = seen_by_camera(each(values(scene), work))
    assert (y - expected).abs().max() < limit
    moved = (y - seen_by_camera(each(values(scene), work).roll(1, 2))).square().mean()
    assert (y - expected).square().mean() < 0.02 * moved


def test_the_other_boundaries_are_not_what_a_camera_sees(scene):
    expected = seen_by_camera(each(values(scene), BLURS["gauss:2"][0]))
    piece = seen_by_camera(values(scene))
    for boundary, least in (("mirror", 0.1), ("circular", 0.3)):
        H = operator_for_signal(f"gauss:2,{boundary}", (3, HEIGHT, WIDTH), {})
        assert (H(piece[None])[0] - expected).abs().max() > least


def test_a_kernel_picture_blurs_as_it_is_drawn(scene):
    """A point of light becomes the kernel, upright, its middle where the point was."""
    kernel = torch.zeros(5, 7)
    kernel[0, 6] = kernel[2, 3] = 1
    H = operator_for_data("kernel", (1, 9, 11), {"kernel": kernel})
    light = torch.zeros(1, *H.signal_shape, dtype=F64)
    rows, columns = frame_of("kernel", (1, 9, 11), {"kernel": kernel})
    light[0, 0, rows.start + 4, columns.start + 5] = 1
    y = H(light)[0, 0]
    assert y[4, 5] == pytest.approx(0.5)
    assert y[2, 8] == pytest.approx(0.5)
    assert motion_kernel(9, 45)[2, -3] > 0.05 > motion_kernel(9, 45)[2, 2]


@pytest.mark.parametrize("factor", [2, 4])
def test_averages_and_bicubic_are_pillows(factor, scene):
    x, size = values(scene)[:, :128, :160], (160 // factor, 128 // factor)
    for word, way in (("average", Image.Resampling.BOX), ("bicubic", Image.Resampling.BICUBIC)):
        shrink = lambda c, way=way: np.array(Image.fromarray(c.astype("f4")).resize(size, way))
        y = operator_for_data(f"{word}:{factor}", (3, *size[::-1]), {})(x[None])[0]
        assert (y - each(x, shrink)).abs().max() < 1e-5


def test_blur_then_reduction_is_that_of_a_camera(scene):
    blurred = each(values(scene), BLURS["gauss:2"][0])
    small = torch.nn.functional.avg_pool2d(blurred[None], 2)[0]
    text, shape = "gauss:2 | average:2", (3, 32, 40)
    rows, columns = frame_of(text, shape)
    _, height, width = signal_shape_for(text, shape)
    top, left = TOP - rows.start, LEFT - columns.start
    x = values(scene)[:, top : top + height, left : left + width]
    y = operator_for_data(text, shape, {})(x[None])[0]
    expected = small[:, TOP // 2 : TOP // 2 + 32, LEFT // 2 : LEFT // 2 + 40]
    assert (y - expected).abs().max() < 1e-9


def test_gray_is_pillows(scene):
    expected = values(Image.fromarray(scene).convert("L"))
    y = operator_for_data("gray", tuple(expected.shape), {})(values(scene)[None])[0]
    assert (y - expected).abs().max() < HALF * 1.02


def test_nothing_and_a_mask_leave_what_is_seen(scene):
    hidden = np.zeros((HEIGHT, WIDTH), np.uint8)
    hidden[10:30, 20:50] = 255
    picture = Image.fromarray(scene[:HEIGHT, :WIDTH])
    picture.paste((255, 0, 255), mask=Image.fromarray(hidden))
    x, y = values(scene[:HEIGHT, :WIDTH]), values(picture)
    H = operator_for_data("mask", tuple(y.shape), {"mask": torch.from_numpy(hidden > 0)})
    assert torch.equal(H(x[None]), H.seen(y[None]))
    assert torch.equal(operator_for_data("none", tuple(x.shape), {})(x[None])[0], x)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_a_jpeg_of_a_blurred_piece_is_libjpegs(quality, scene):
    """Pillow's libjpeg encodes bytes; the operator rounds no colours on the way."""
    text = f"gauss:1 | jpeg:{quality}"
    blurred = seen_by_camera(each(values(scene), lambda c: ndimage.gaussian_filter(c, 1)))
    pixels = ((blurred + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
    expected = values(Image.open(buffer).convert("RGB"))
    H = operator_for_data(text, (3, HEIGHT, WIDTH), {})
    y = H(of_scene(text, {}, scene)[None])[0]
    theirs = Jpeg((3, HEIGHT, WIDTH), quality).encode(values(pixels)[None])[0]
    assert (y - theirs).abs().max() <= (2 if quality < 90 else 4)
    assert (y != theirs).double().mean() < {10: 0.01, 50: 0.04, 90: 0.25}[quality]
    shown = picture_of(Measurement(y, text, 0.0, {}, H.signal_shape)).clamp(-1, 1)
    inside = (slice(None), slice(2, -2), slice(2, -2))  # decoders smooth the chroma between blocks
    assert (shown - expected)[inside].square().mean().sqrt() < 0.04


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bits_are_numpys(bits, scene):
    expected = np.digitize(scene / 255, (np.arange(2**bits - 1) + 0.5) / (2**bits - 1))
    y = operator_for_data(f"bits:{bits}", (3, *scene.shape[:2]), {})(values(scene)[None])[0]
    assert torch.equal(y, torch.from_numpy(expected).permute(2, 0, 1).to(F64))


def test_clip_and_gamma_are_pillows_tables(scene):
    image = Image.fromarray(scene)
    tone = lambda v: min(max(127.5 + 2 * (v - 127.5), 0), 255)
    bright = image.point([round(tone(v)) for v in range(256)] * 3)
    dark = image.point([round(255 * (v / 255) ** 2.2) for v in range(256)] * 3)
    for text, expected in (("clip:2", bright), ("gamma:2.2", dark)):
        y = operator_for_data(text, (3, *scene.shape[:2]), {})(values(scene)[None])[0]
        assert (y - values(expected)).abs().max() < HALF * 1.02


def test_a_blur_of_bytes_is_pillows_to_its_approximation(scene):
    """Pillow makes a Gaussian of three box blurs: close, and of another hand altogether."""
    expected = seen_by_camera(values(Image.fromarray(scene).filter(ImageFilter.GaussianBlur(2))))
    H = operator_for_data("gauss:2", (3, HEIGHT, WIDTH), {})
    assert (H(of_scene("gauss:2", {}, scene)[None])[0] - expected).abs().max() < 0.06


def test_every_word_meets_other_code():
    with open(__file__) as file:
        written = file.read()
    assert all(f'"{name}' in written or f" {name}:" in written for name in DAMAGES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_lying_jpeg_of_a_moved_camera_is_explained_upright(orientation, scene, tmp_path):
    """scipy blurs the upright scene; the file is stored turned; its surroundings stay unknown."""
    from hdagger.domains.pictures.jpeg_file import read_jpeg
    from hdagger.domains.pictures.turn import Turn
    from hdagger.domains.pictures.words import operator_of

    turn, exif = Turn(orientation), Image.Exif()
    exif[0x0112] = orientation
    blurred = each(values(scene), lambda c: ndimage.convolve(c, UNEVEN / UNEVEN.sum()))
    pixels = ((turn.back(seen_by_camera(blurred)) + 1) * 127.5).round().byte()
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image.save(tmp_path / "lying.jpg", quality=95, subsampling=0, exif=exif)
    measurement = read_jpeg(tmp_path / "lying.jpg").measurement(
        "kernel", None, torch.from_numpy(UNEVEN / UNEVEN.sum())
    )
    rows, columns = UNEVEN.shape
    signal = values(scene)[
        :,
        TOP - rows // 2 : TOP + HEIGHT + rows // 2,
        LEFT - columns // 2 : LEFT + WIDTH + columns // 2,
    ]
    x = turn.back(signal)[None]
    error = (operator_of(measurement)(x)[0] - measurement.y).abs().mean()
    turned = measurement.arrays | {"kernel": measurement.arrays["kernel"].flip(0, 1)}
    other = operator_for_signal(measurement.operator, tuple(x.shape[1:]), turned)
    assert error < 0.3
    assert (other(x)[0] - measurement.y).abs().mean() > 3 * error
