"""Operators in a row: whatever rung a chain claims, its laws hold; texts go round."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from hdagger.domains.pictures.jpeg import Jpeg
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.domains.pictures.seen_jpeg import SeenJpeg
from hdagger.domains.pictures.spectral import Grayscale
from hdagger.domains.pictures.words import DAMAGES, operator_for_signal, parse
from hdagger.errors import SettingError, ShapeError
from hdagger.operators import checks
from hdagger.operators.base import LinearOperator, PinvOperator, SVDOperator
from hdagger.operators.nonlinear import Clip, Gamma
from hdagger.operators.quantisation import Bits, Quantised
from hdagger.operators.spectral import Inpainting

WORDS = (
    "average:2",
    "bicubic:2",
    "gauss:0.4",
    "gauss:0.4,mirror",
    "motion:2,30",
    "disk:1,circular",
    "gray",
    "mask",
    "jpeg:10",
    "jpeg:60,4:4:4",
    "bits:3",
    "clip:2",
    "gamma:2.2",
    "none",
)


def chain(words, shape):
    """The operator of the words, with a mask drawn for the size that it meets."""
    height, width = shape[1:]
    for word in words:
        if word == "mask":
            break
        if word.startswith(("average", "bicubic")):
            height, width = -(-height // 2), -(-width // 2)
    generator = torch.Generator().manual_seed(height * width)
    mask = torch.rand(height, width, generator=generator) > 0.6
    return operator_for_signal(" | ".join(words), shape, {"mask": mask})


@settings(max_examples=25)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.integers(0, 2**31))
def test_a_chain_keeps_the_laws_of_its_rung(words, seed):
    if words.count("mask") > 1:
        return
    try:
        H = chain(words, (3, 16, 16))
    except ShapeError:
        return
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *H.signal_shape, generator=generator, dtype=torch.float64) * 2 - 1
    y = H(x)
    assert tuple(y.shape[1:]) == H.data_shape
    if isinstance(H, PinvOperator):
        assert checks.pinv_gap(H, x) < 1e-6
    if isinstance(H, LinearOperator):
        u = torch.randn(*y.shape, generator=generator, dtype=torch.float64)
        assert checks.adjoint_gap(H, x, u) < 1e-10
    if isinstance(H, SVDOperator):
        assert checks.orthonormal_gap(H, x, y) < 1e-10


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
def test_a_text_goes_round(words):
    text = " | ".join(words)
    assert " | ".join(map(str, parse(text))) == text
    assert parse(text.replace(" ", "")) == parse(f"  {text}  ")


def test_the_talks_chain():
    mask = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) > 0.3
    H = Inpainting(mask.expand(3, 16, 16)) @ Jpeg((3, 16, 16), 10) @ BlockAverage((3, 64, 64), 4)
    assert isinstance(H, SeenJpeg)
    assert (H.signal_shape, H.data_shape) == ((3, 64, 64), (3, 16, 16))
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    jpeg = Jpeg((3, 16, 16), 10)
    small = BlockAverage((3, 64, 64), 4)(x)
    assert torch.equal(H(x), mask * jpeg.decode(jpeg(small)))
    text = operator_for_signal("average:4 | jpeg:10 | mask", (3, 64, 64), {"mask": ~mask})
    assert torch.equal(text(x), H(x))


def test_shapes_that_do_not_fit_name_both():
    with pytest.raises(ShapeError, match=r"Grayscale.*BlockAverage"):
        Grayscale((3, 8, 8)) @ BlockAverage((3, 8, 8), 2)


@pytest.mark.parametrize(
    ("H", "rung"),
    [
        (Gamma((3, 4, 4), 2.2) @ BlockAverage((3, 8, 8), 2), PinvOperator),
        (Clip((3, 4, 4)) @ BlockAverage((3, 8, 8), 2), PinvOperator),
        (Bits((3, 4, 4), 2) @ BlockAverage((3, 8, 8), 2), Quantised),
        (Jpeg((3, 16, 16), 10) @ BlockAverage((3, 32, 32), 2), Quantised),
    ],
)
def test_what_follows_an_average_can_be_inverted(H, rung):
    assert isinstance(H, rung)
    x = torch.rand(2, *H.signal_shape, dtype=torch.float64) * 2 - 1
    assert checks.pinv_gap(H, x) < 1e-12


def test_a_blur_after_a_jpeg_only_goes_forward():
    H = operator_for_signal("jpeg:10 | gauss:1", (3, 16, 16), {})
    assert not isinstance(H, PinvOperator)
    assert not H.differentiable


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("average:4 | jpgg:10", "'jpgg', word 2"),
        ("average:x", "'x'"),
        ("jpeg:0", "'0'"),
        ("jpeg:10,4:2:1", "'4:2:1'"),
        ("bits:40", "'40'"),
        ("gauss:1,mirrored", "'1,mirrored'"),
        ("kernel:k.png", "'k.png'"),
        ("average:2 | ", "'', word 2"),
    ],
)
def test_errors_point_at_the_word(text, word):
    with pytest.raises(SettingError) as error:
        operator_for_signal(text, (3, 16, 16), {})
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_every_word_is_tried_here():
    assert {word.split(":")[0] for word in WORDS} | {"kernel"} == set(DAMAGES)
