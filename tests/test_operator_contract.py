"""Every operator keeps the same promises. A new operator joins by one line in OPERATORS."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image

from hdagger.domains.pictures.jpeg import JpegTransform, quality_tables
from hdagger.domains.pictures.kernels import gaussian_taps
from hdagger.domains.pictures.resample import Bicubic, BlockAverage, Separable, SeparableBlur
from hdagger.domains.pictures.spectral import CircularBlur, Grayscale, WalshHadamard
from hdagger.errors import HDaggerError, SettingError, ShapeError
from hdagger.operators import checks
from hdagger.operators.spectral import Dense, Identity, Inpainting, Scaled


def randn(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


KERNEL = torch.rand(3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
TAPS = torch.tensor([0.1, 0.3, 0.4, 0.15, 0.05])
MASK = randn(2, 3, 5, 7) > 0


def jpeg_transform(shape, luma):
    return JpegTransform(shape, quality_tables(30)[[0, 1, 1]], [luma, (1, 1), (1, 1)])


OPERATORS = {
    "identity": lambda: Identity((3, 5, 7)),
    "inpainting": lambda: Inpainting(MASK[0]),
    "inpainting, a mask for each image": lambda: Inpainting(MASK, per_image=True),
    "inpainting, nothing seen": lambda: Inpainting(torch.zeros(1, 2, 2, dtype=torch.bool)),
    "block average x2": lambda: BlockAverage((3, 6, 4), 2),
    "block average x3, gray": lambda: BlockAverage((1, 9, 6), 3),
    "block average x16": lambda: BlockAverage((3, 16, 32), 16),
    "bicubic x2": lambda: Bicubic((3, 8, 10), 2),
    "bicubic x4, odd sizes": lambda: Bicubic((1, 17, 13), 4),
    "bicubic x16": lambda: Bicubic((3, 16, 32), 16),
    "separable": lambda: Separable((3, 5, 7), randn(3, 5), randn(6, 7)),
    "separable blur": lambda: SeparableBlur((3, 7, 9), TAPS, KERNEL[0]),
    "separable blur, wider than the image": lambda: SeparableBlur((1, 3, 4), gaussian_taps(1.0)),
    "circular blur": lambda: CircularBlur((3, 6, 9), KERNEL),
    "circular blur, gray, even kernel": lambda: CircularBlur((1, 8, 8), KERNEL[:2, :4]),
    "grayscale": lambda: Grayscale((3, 5, 7)),
    "grayscale, two channels": lambda: Grayscale((2, 3, 3)),
    "walsh-hadamard": lambda: WalshHadamard((3, 4, 8), ratio=3),
    "scaled": lambda: Scaled((3, 5, 7), 2.5),
    "jpeg, not rounded": lambda: jpeg_transform((3, 16, 32), (2, 2)),
    "jpeg, not rounded, odd sizes": lambda: jpeg_transform((3, 9, 19), (2, 1)),
    "average, then blur": lambda: SeparableBlur((3, 4, 6), TAPS) @ BlockAverage((3, 8, 12), 2),
    "gray, then average, then mask": lambda: (
        Inpainting(MASK[:1, 0, :4, :6]) @ BlockAverage((1, 8, 12), 2) @ Grayscale((3, 8, 12))
    ),
    "dense": lambda: Dense(randn(4, 12), (3, 2, 2)),
    "dense, tall": lambda: Dense(randn(6, 4)),
    "dense, of deficient rank": lambda: Dense(randn(5, 2) @ randn(2, 6)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_keeps_the_linear_contract(name):
    H = OPERATORS[name]()
    x, v = randn(2, *H.signal_shape), randn(2, *H.signal_shape, seed=2)
    y, u = randn(2, *H.data_shape, seed=3), randn(2, *H.data_shape, seed=4)
    assert checks.adjoint_gap(H, x, y) < 1e-12
    assert checks.pinv_gap(H, x) < 1e-12
    assert checks.reflexive_gap(H, y) < 1e-12
    assert checks.data_projection_gap(H, y, u) < 1e-12
    assert checks.signal_projection_gap(H, x, v) < 1e-12
    assert checks.orthonormal_gap(H, x, y) < 1e-12


@pytest.mark.parametrize("name", [name for name in OPERATORS if "each image" not in name])
@pytest.mark.parametrize(("r2", "sigma_y2"), [(1.0, 0.09), (0.2, 1.0)])
def test_solve_is_a_dense_solve(name, r2, sigma_y2):
    H = OPERATORS[name]()
    assert checks.solve_gap(H, randn(2, *H.data_shape), r2, sigma_y2) < 1e-12


@pytest.mark.parametrize("name", OPERATORS)
def test_noiseless_solve_is_the_pseudoinverse(name):
    H = OPERATORS[name]()
    y = randn(2, *H.data_shape)
    torch.testing.assert_close(H.adjoint(H.solve(y, 1.0, 0.0)), H.pinv(y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in OPERATORS if "each image" not in name])
def test_singular_values_and_rank_are_those_of_the_matrix(name):
    H = OPERATORS[name]()
    matrix = checks.dense(H)
    expected = torch.linalg.svdvals(matrix)
    s = H.singular_values.sort(descending=True).values
    torch.testing.assert_close(s, expected, rtol=1e-10, atol=1e-12)
    assert H.rank == int(torch.linalg.matrix_rank(matrix))


@pytest.mark.parametrize("name", OPERATORS)
def test_moves_to_float32(name):
    H = OPERATORS[name]().float()
    x = randn(2, *H.signal_shape).float()
    assert H(x).dtype == H.pinv(H(x)).dtype == torch.float32
    assert checks.pinv_gap(H, x) < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_block_average_is_pooling(channels):
    x = randn(2, channels, 12, 8)
    expected = torch.nn.functional.avg_pool2d(x, 4)
    torch.testing.assert_close(BlockAverage((channels, 12, 8), 4)(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(8, 8), (7, 11)])
def test_circular_blur_is_the_plain_convolution_of_each_channel(channels, shape):
    x = randn(2, channels, *shape)
    padded = torch.nn.functional.pad(x, (2, 2, 1, 1), mode="circular")
    flipped = KERNEL.flip(0, 1).expand(channels, 1, 3, 5)
    expected = torch.nn.functional.conv2d(padded, flipped, groups=channels)
    actual = CircularBlur((channels, *shape), KERNEL)(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(8, 8), (7, 11)])
def test_separable_blur_is_the_plain_convolution_of_each_channel(channels, shape):
    x = randn(2, channels, *shape)
    other = KERNEL[0, :3]
    mirrored = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (1, 1)), mode="symmetric")
    taps = torch.outer(TAPS.double().flip(0), other.flip(0)).expand(channels, 1, 5, 3)
    expected = torch.nn.functional.conv2d(torch.from_numpy(mirrored), taps, groups=channels)
    actual = SeparableBlur((channels, *shape), TAPS, other)(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("factor", "shape"), [(2, (10, 14)), (4, (17, 13)), (16, (48, 32))])
def test_bicubic_is_pillows(factor, shape):
    x = randn(*shape)
    H = Bicubic((1, *shape), factor)
    size = (H.data_shape[2], H.data_shape[1])
    expected = np.asarray(
        Image.fromarray(x.float().numpy(), mode=None).resize(size, Image.Resampling.BICUBIC)
    )
    torch.testing.assert_close(
        H(x[None, None])[0, 0].float(), torch.tensor(expected), atol=1e-5, rtol=0
    )


def test_grayscale_is_pillows_luma():
    pixels = (randn(5, 7, 3).sigmoid() * 255).round().byte()
    expected = np.asarray(Image.fromarray(pixels.numpy()).convert("L"), dtype=np.float64)
    actual = Grayscale((3, 5, 7))(pixels.permute(2, 0, 1)[None].double())[0, 0]
    assert (actual - torch.tensor(expected)).abs().max() <= 0.51


def test_walsh_hadamard_measures_rows_of_the_hadamard_matrix():
    matrix = checks.dense(WalshHadamard((1, 2, 4), ratio=2))
    assert matrix.shape == (4, 8)
    torch.testing.assert_close(matrix.abs(), torch.full((4, 8), 8**-0.5, dtype=torch.float64))


@given(
    st.lists(st.booleans(), min_size=1, max_size=24),
    st.integers(0, 2**32 - 1),
)
def test_inpainting_keeps_its_contract_under_any_mask(mask, seed):
    H = Inpainting(torch.tensor(mask))
    x, y = randn(1, *H.signal_shape, seed=seed), randn(1, *H.data_shape, seed=seed + 1)
    assert checks.adjoint_gap(H, x, y) < 1e-12
    assert checks.pinv_gap(H, x) < 1e-12
    assert H.rank == sum(mask)


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_block_average_and_bicubic_take_any_size(channels, rows, columns, factor):
    for H in (
        BlockAverage((channels, rows * factor, columns * factor), factor),
        Bicubic((channels, rows + factor, columns + factor), factor),
    ):
        x, y = randn(1, *H.signal_shape), randn(1, *H.data_shape)
        assert checks.adjoint_gap(H, x, y) < 1e-12
        assert checks.orthonormal_gap(H, x, y) < 1e-12
        assert checks.pinv_gap(H, x) < 1e-11


def test_a_rank_tolerance_is_shared_by_pinv_and_rank():
    matrix = torch.diag(torch.tensor([1.0, 0.1, 0.001]))
    H = Dense(matrix, rank_tolerance=0.01)
    assert H.rank == 2
    pinv = H.pinv(torch.ones(1, 3, dtype=torch.float64))
    torch.testing.assert_close(pinv, torch.tensor([[1.0, 10.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "error", "mend"),
    [
        (lambda: BlockAverage((3, 8, 8), 4)(torch.zeros(1, 3, 9, 8)), ShapeError, r"\(3, 9, 8\)"),
        (lambda: BlockAverage((3, 9, 8), 4), ShapeError, "8 x 8"),
        (lambda: BlockAverage((3, 8, 8), 0), SettingError, "Try 4"),
        (lambda: Bicubic((3, 8, 8), 0), SettingError, "Try 4"),
        (lambda: CircularBlur((3, 2, 2), KERNEL), ShapeError, "3 x 5"),
        (lambda: SeparableBlur((3, 8, 8), TAPS[:4]), ShapeError, "odd number of taps"),
        (lambda: WalshHadamard((3, 6, 6)), ShapeError, "4 x 4"),
        (lambda: WalshHadamard((3, 4, 4), ratio=0.5), SettingError, "4 keeps a quarter"),
    ],
)
def test_bad_shapes_and_settings_say_how_to_mend_them(make, error, mend):
    with pytest.raises(error, match=mend) as caught:
        make()
    assert isinstance(caught.value, HDaggerError)
