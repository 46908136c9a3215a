"""Every operator keeps the same promises. A new operator joins by one line in OPERATORS."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image

from hdagger.domains.ct.projector import Projector
from hdagger.domains.ct.scan import Fan, Parallel, Scan
from hdagger.domains.ct.scan import Frame as Grid
from hdagger.domains.lensing.lenses import Lens
from hdagger.domains.lensing.shooting import Frame, lensed
from hdagger.domains.mri.coils import birdcage
from hdagger.domains.mri.encoding import Encoding, reduced
from hdagger.domains.mri.encoding import Fourier as OneCoil
from hdagger.domains.pictures.jpeg import JpegTransform, quality_tables
from hdagger.domains.pictures.kernels import gaussian_taps
from hdagger.domains.pictures.resample import Bicubic, BlockAverage, Separable, SeparableBlur
from hdagger.domains.pictures.spectral import Grayscale, WalshHadamard
from hdagger.errors import HDaggerError, SettingError, ShapeError
from hdagger.linalg import conjugate_gradients, dct2, idct2, inner, least_residuals, real, real_as
from hdagger.operators import checks
from hdagger.operators.base import LinearOperator, SVDOperator
from hdagger.operators.convolution import (
    CircularBlur,
    Convolution,
    MirrorBlur,
    Mirrored,
    convolution,
    reach,
)
from hdagger.operators.gram import Gram
from hdagger.operators.spectral import Dense, Identity, Inpainting, Scaled
from hdagger.operators.whitened import whitened


def randn(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


KERNEL = torch.rand(3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
SYMMETRIC = sum(KERNEL.flip(axes) for axes in ((), (0,), (1,), (0, 1))) / 4
TAPS = torch.tensor([0.1, 0.3, 0.4, 0.15, 0.05])
MASK = randn(2, 3, 5, 7) > 0


def jpeg_transform(shape, luma):
    return JpegTransform(shape, quality_tables(30)[[0, 1, 1]], [luma, (1, 1), (1, 1)])


class Fourier(LinearOperator):
    """The centred orthonormal FFT of a complex signal, (2, height, width): no more than that."""

    complex_data = True

    def __init__(self, height, width):
        super().__init__()
        self.signal_shape, self.data_shape = (2, height, width), (height, width)

    def forward(self, x):
        z = torch.complex(x[:, 0], x[:, 1])
        k = torch.fft.fft2(torch.fft.ifftshift(z, (1, 2)), norm="ortho")
        return torch.fft.fftshift(k, (1, 2))

    def adjoint(self, y):
        z = torch.fft.ifft2(torch.fft.ifftshift(y, (1, 2)), norm="ortho")
        return torch.view_as_real(torch.fft.fftshift(z, (1, 2))).movedim(-1, 1)


class OfReal(Fourier):
    """That of a real signal: half of what it gives says the same again."""

    def __init__(self, height, width):
        super().__init__(height, width)
        self.signal_shape = (height, width)

    def forward(self, x):
        return super().forward(torch.stack([x, 0 * x], dim=1))

    def adjoint(self, y):
        return super().adjoint(y)[:, 0]


class Plain(LinearOperator):
    """A matrix, by its products alone."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix
        self.signal_shape, self.data_shape = (matrix.shape[1],), (matrix.shape[0],)

    def forward(self, x):
        return x @ self.matrix.T

    def adjoint(self, y):
        return y @ self.matrix


def projector(detector):
    return Projector(Scan(Grid(4, 5, 2.0, 0.5), detector, (0.0, 0.4, 1.9), mu_water=0.1))


def lensed_source():
    lens = Lens.read("sie:1.2,0.75,20 | shear:0.03,-0.01")
    return lensed(lens, Frame(4, 5, 0.4), Frame(9, 8, 0.4), KERNEL / KERNEL.sum())


def coils_by_lines(coils, rows, columns):
    maps, lines = birdcage(coils, rows, columns), torch.arange(columns) % 3 == 0
    return reduced(torch.zeros_like(maps), maps, lines)[0]


OPERATORS = {
    "identity": lambda: Identity((3, 5, 7)),
    "inpainting": lambda: Inpainting(MASK[0]),
    "inpainting, the same of all channels": lambda: Inpainting(MASK[0, :1].expand(3, 5, 7)),
    "inpainting, a mask for each image": lambda: Inpainting(MASK, per_image=True),
    "inpainting, nothing seen": lambda: Inpainting(torch.zeros(1, 2, 2, dtype=torch.bool)),
    "block average x2": lambda: BlockAverage((3, 6, 4), 2),
    "block average x3, gray": lambda: BlockAverage((1, 9, 6), 3),
    "block average x16": lambda: BlockAverage((3, 16, 32), 16),
    "bicubic x2": lambda: Bicubic((3, 8, 10), 2),
    "bicubic x4, odd sizes": lambda: Bicubic((1, 17, 13), 4),
    "bicubic x16": lambda: Bicubic((3, 16, 32), 16),
    "separable": lambda: Separable((3, 5, 7), randn(3, 5), randn(6, 7)),
    "separable blur": lambda: SeparableBlur((3, 7, 9), gaussian_taps(0.5), TAPS + TAPS.flip(0)),
    "mirror blur, gray, even sizes": lambda: MirrorBlur((1, 6, 8), SYMMETRIC),
    "mirror blur, two axes": lambda: MirrorBlur((4, 5), SYMMETRIC),
    "separable blur, wider than the image": lambda: SeparableBlur((1, 3, 4), gaussian_taps(1.0)),
    "circular blur": lambda: CircularBlur((3, 6, 9), KERNEL),
    "circular blur, gray, even kernel": lambda: CircularBlur((1, 8, 8), KERNEL[:2, :4]),
    "grayscale": lambda: Grayscale((3, 5, 7)),
    "grayscale, two channels": lambda: Grayscale((2, 3, 3)),
    "walsh-hadamard": lambda: WalshHadamard((3, 4, 8), ratio=3),
    "scaled": lambda: Scaled((3, 5, 7), 2.5),
    "jpeg, not rounded": lambda: jpeg_transform((3, 16, 32), (2, 2)),
    "jpeg, not rounded, odd sizes": lambda: jpeg_transform((3, 9, 19), (2, 1)),
    "average, then blur": lambda: (
        SeparableBlur((3, 4, 6), SYMMETRIC[0]) @ BlockAverage((3, 8, 12), 2)
    ),
    "gray, then average, then mask": lambda: (
        Inpainting(MASK[:1, 0, :4, :6]) @ BlockAverage((1, 8, 12), 2) @ Grayscale((3, 8, 12))
    ),
    "whitened average": lambda: whitened(BlockAverage((1, 8, 6), 2), randn(1, 4, 3).exp()),
    "whitened mask, some not seen": lambda: whitened(
        Inpainting(MASK[0]), randn(3, 5, 7).exp().where(MASK[1], torch.inf)
    ),
    "gram, reduced": lambda: Gram(Plain(randn(9, 6))).reduced(),
    "gram, reduced, of deficient rank": lambda: Gram(Plain(randn(9, 2) @ randn(2, 6))).reduced(),
    "one coil": lambda: OneCoil(MASK[0, 0]),
    "coils by lines": lambda: coils_by_lines(4, 5, 7),
    "coils by few lines": lambda: coils_by_lines(2, 4, 8),
    "dense": lambda: Dense(randn(4, 12), (3, 2, 2)),
    "dense, tall": lambda: Dense(randn(6, 4)),
    "dense, of deficient rank": lambda: Dense(randn(5, 2) @ randn(2, 6)),
}

ITERATIVE = {
    "plain matrix": lambda: Plain(randn(5, 8)),
    "plain matrix, tall": lambda: Plain(randn(8, 5)),
    "plain matrix, of deficient rank": lambda: Plain(randn(5, 2) @ randn(2, 6)),
    "fourier": lambda: Fourier(4, 6),
    "fourier, masked": lambda: Inpainting(MASK[0, 0]) @ Fourier(5, 7),
    "fourier of a real signal, masked": lambda: Inpainting(MASK[0, 0]) @ OfReal(5, 7),
    "fourier, whitened": lambda: whitened(Fourier(5, 7), randn(5, 7).exp()),
    "fourier, whitened, some not seen": lambda: whitened(
        Fourier(5, 7), randn(5, 7).exp().where(MASK[0, 0], torch.inf)
    ),
    "mask, then average": lambda: (
        Inpainting(MASK[0, :, :2, :3])
        @ Bicubic((3, 4, 6), 2)
        @ SeparableBlur((3, 4, 6), SYMMETRIC[1])
    ),
    "convolution": lambda: Convolution((3, 7, 9), KERNEL),
    "convolution, even kernel": lambda: Convolution((1, 8, 7), KERNEL[:2, :4]),
    "convolution, two axes": lambda: Convolution((6, 9), KERNEL),
    "convolution, masked": lambda: Inpainting(MASK[0]) @ Convolution((3, 7, 11), KERNEL),
    "convolution, then average": lambda: (
        BlockAverage((1, 4, 6), 2) @ Convolution((1, 6, 10), KERNEL)
    ),
    "convolution, masked alike": lambda: (
        Inpainting(MASK[0, :1].expand(3, 5, 7)) @ Convolution((3, 7, 11), KERNEL)
    ),
    "convolution, then gray": lambda: Grayscale((3, 4, 6)) @ Convolution((3, 6, 10), KERNEL),
    "mirrored": lambda: Mirrored((2, 2, 3), KERNEL),
    "mirror, any kernel": lambda: convolution((1, 5, 7), KERNEL, "mirror"),
    "projector": lambda: projector(Parallel(9, 1.5, 0.2)),
    "projector of a fan, some rays not seen": lambda: whitened(
        projector(Fan(7, 3.0, 0.2, 20.0, 30.0)), randn(3, 7).exp().where(MASK[0, 0, :3], torch.inf)
    ),
    "lensed": lambda: lensed_source(),
    "gram of a lensed source": lambda: Gram(lensed_source()),
    "coils": lambda: Encoding(birdcage(3, 5, 7), MASK[0, 0]),
    "coils, whitened": lambda: whitened(
        Encoding(birdcage(2, 5, 7), MASK[0, 0]), randn(2, 5, 7).exp()
    ),
    "gram": lambda: Gram(Plain(randn(5, 8))),
    "gram, tall": lambda: Gram(Plain(randn(8, 5))),
    "gram of masked fourier": lambda: Gram(Inpainting(MASK[0, 0]) @ Fourier(5, 7)),
    "gram of masked fourier, tall": lambda: Gram(Inpainting(MASK[0, 0]) @ OfReal(5, 7)),
}
"""Operators without a singular value decomposition."""


def data(H, seed):
    y = randn(2, *H.data_shape, seed=seed)
    return torch.complex(y, randn(2, *H.data_shape, seed=seed + 100)) if H.complex_data else y


@pytest.mark.parametrize("name", ITERATIVE)
def test_keeps_the_linear_contract_by_iteration(name):
    H = ITERATIVE[name]()
    x, v = randn(2, *H.signal_shape), randn(2, *H.signal_shape, seed=2)
    y, u = data(H, 3), data(H, 4)
    assert checks.adjoint_gap(H, x, y) < 1e-12
    assert checks.pinv_gap(H, x) < 1e-9
    assert checks.reflexive_gap(H, y) < 1e-9
    assert checks.data_projection_gap(H, y, u) < 1e-9
    assert checks.signal_projection_gap(H, x, v) < 1e-9
    torch.testing.assert_close(H.adjoint(H.solve(y, 1.0, 0.0)), H.pinv(y), rtol=1e-8, atol=1e-8)
    for r2, sigma_y2 in ((1.0, 0.09), (0.2, 1.0)):
        assert checks.solve_gap(H, y, r2, sigma_y2) < 1e-12
        assert checks.pull_gap(H, y, r2, sigma_y2) < 1e-11
        assert checks.pull_residual(H, y, r2, sigma_y2) < 2e-4
    numbers = real(y).shape[1]
    assert H.rank == int(numbers if H.visible is None else real(H.seen(y)).ne(0).sum() / 2)


@pytest.mark.parametrize("name", OPERATORS)
def test_pull_is_exact_with_a_decomposition(name):
    H = OPERATORS[name]()
    if "each image" not in name:
        assert checks.pull_gap(H, data(H, 1), 0.2, 0.09) < 1e-12


ALIKE = {
    name: make for name, make in (OPERATORS | ITERATIVE).items() if make().component() is not None
}


def test_some_operators_do_the_same_to_each_component_and_others_do_not():
    assert {"inpainting, the same of all channels", "convolution, masked alike"} < set(ALIKE)
    assert {"block average x2", "average, then blur", "separable blur"} < set(ALIKE)
    assert not {"inpainting", "grayscale", "convolution, then gray"} & set(ALIKE)
    assert not {"mirror blur, two axes", "convolution, two axes", "coils"} & set(ALIKE)


@pytest.mark.parametrize("name", ALIKE)
def test_what_is_done_to_a_component_is_done_to_each_and_to_their_mixtures(name):
    H = ALIKE[name]()
    one, x, y = H.component(), randn(2, *H.signal_shape), data(H, 3)
    mix = lambda v: torch.einsum("kc,bc...->bk...", randn(x.shape[1], x.shape[1], seed=9), v)
    for whole, part, v in ((H, one, x), (H.adjoint, one.adjoint, y), (H.pinv, one.pinv, y)):
        parts = [part(k) for k in mix(v).split(1, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), mix(whole(v)), rtol=1e-8, atol=1e-8)
    assert H.rank == one.rank * x.shape[1]
    moved = ALIKE[name]().float().component()
    assert moved(x[:, :1].float()).dtype == torch.float32


HIDING = {
    name: make for name, make in (OPERATORS | ITERATIVE).items() if make().visible is not None
}


@pytest.mark.parametrize("name", HIDING)
def test_what_lies_under_a_mask_is_not_looked_at(name):
    H = HIDING[name]()
    y = data(H, 3)
    assert checks.hidden_gap(H, y) == 0
    assert (H.seen(y) == y).sum() == H.visible.expand(y.shape).sum()
    assert torch.equal(H.seen(H(x := randn(2, *H.signal_shape))), H(x))


def test_enough_operators_hide_something():
    assert len(HIDING) >= 9
    H = Inpainting(MASK[0, 0]) @ Fourier(5, 7)
    assert H.rank == 2 * int(MASK[0, 0].sum())


def test_iterative_solvers_take_complex_rows_for_real_ones():
    """A map that is linear over the reals alone, as H H^T is for a real signal."""
    root = randn(12, 12)
    matrix = root @ root.T + torch.eye(12)
    b = torch.complex(randn(2, 2, 3), randn(2, 2, 3, seed=5))
    apply = lambda x: real_as(real(x) @ matrix, x)
    expected = real_as(torch.linalg.solve(matrix, real(b).T).T, b)
    for found in (conjugate_gradients(apply, b), least_residuals(apply, b, 12)):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert inner(b, 1j * b).abs().max() < 1e-12


def test_a_preconditioner_and_a_start_change_the_way_and_not_the_answer():
    root = randn(12, 12)
    matrix = root @ root.T + torch.diag(torch.logspace(0, 4, 12).double())
    b, calls = randn(2, 12), []
    apply = lambda x: (calls.append(0), x @ matrix)[1]
    expected = torch.linalg.solve(matrix, b.T).T
    near = lambda r: r / matrix.diagonal()
    ways = ({}, {"near": near}, {"start": expected + 1e-6 * b}, {"near": near, "start": b})
    counts = []
    for way in ways:
        calls.clear()
        found = conjugate_gradients(apply, b, tolerance=1e-10, **way)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
        counts.append(len(calls))
    assert counts[1] < counts[0]


def test_a_peak_that_is_too_high_keeps_a_solver_at_work():
    """One number of a hundred, far from solved, is little of the whole residual."""
    matrix, b = torch.eye(100).double(), torch.ones(3, 100).double()
    b[1:] *= -1
    matrix[0, 0] = 0.01
    residual = lambda **way: b - conjugate_gradients(lambda x: x @ matrix, b, **way) @ matrix
    rough, even = residual(tolerance=0.5), residual(tolerance=0.5, peak=0.2)
    assert rough.norm() <= 0.5 * b.norm()
    assert rough.abs().max() > 0.5 > 0.2 >= even.abs().max()


def test_noise_of_each_number_joins_the_operator():
    H, noise = Plain(randn(4, 3)), torch.tensor([0.5, 1.0, 2.0, torch.inf])
    white = whitened(H, noise)
    y = randn(1, 4)
    matrix = checks.dense(H)[:3]
    S = 0.3 * matrix @ matrix.T + torch.diag(noise[:3].double() ** 2)
    expected = torch.linalg.solve(S, y[0, :3]) @ matrix
    pulled = white.pull(white.white(y), 0.3, 1.0, tolerance=1e-13)
    torch.testing.assert_close(pulled[0], expected, rtol=1e-10, atol=1e-12)
    assert white.rank == 3
    with pytest.raises(SettingError, match="above 0"):
        whitened(H, torch.zeros(4))
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        whitened(H, torch.ones(3))


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_gram_knows_the_evidence(shape):
    H, e = Gram(Plain(randn(*shape))), randn(2, shape[0])
    matrix = checks.dense(H)
    S = 0.3 * matrix @ matrix.T + 0.04 * torch.eye(shape[0])
    law = torch.distributions.MultivariateNormal(torch.zeros(shape[0]).double(), S.double())
    torch.testing.assert_close(H.log_evidence(e, 0.3, 0.04), law.log_prob(e))


def test_gram_loses_no_digits_where_the_noise_is_small():
    matrix = randn(8, 5)
    H, e = Gram(Plain(matrix)), randn(2, 8)
    for sigma_y2 in (1e-2, 1e-6, 1e-10):
        system = matrix.T @ matrix + sigma_y2 * torch.eye(5)
        expected = torch.linalg.solve(system, (e @ matrix).T).T
        torch.testing.assert_close(H.pull(e, 1.0, sigma_y2), expected, rtol=1e-8, atol=1e-9)


def test_reduced_data_say_all_of_the_signal():
    gram = Gram(Plain(randn(9, 4)))
    H, y = gram.reduced(), randn(2, 9)
    torch.testing.assert_close(H.pinv(H.data(y)), gram.pinv(y), rtol=1e-10, atol=1e-12)
    whole, part = gram.pull(y, 0.5, 0.1), H.pull(H.data(y), 0.5, 0.1)
    torch.testing.assert_close(whole, part, rtol=1e-10, atol=1e-12)
    with pytest.raises(ShapeError, match="solve is exact"):
        Gram(Plain(randn(4, 9))).reduced()


@pytest.mark.parametrize("name", OPERATORS)
def test_keeps_the_linear_contract(name):
    H = OPERATORS[name]()
    x, v = randn(2, *H.signal_shape), randn(2, *H.signal_shape, seed=2)
    y, u = data(H, 3), data(H, 4)
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
    assert checks.solve_gap(H, data(H, 1), r2, sigma_y2) < 1e-12


@pytest.mark.parametrize("name", OPERATORS)
def test_noiseless_solve_is_the_pseudoinverse(name):
    H = OPERATORS[name]()
    y = data(H, 1)
    torch.testing.assert_close(H.adjoint(H.solve(y, 1.0, 0.0)), H.pinv(y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in OPERATORS | ITERATIVE if "each image" not in n])
def test_the_norm_is_the_largest_singular_value_or_a_little_less(name):
    H = (OPERATORS | ITERATIVE)[name]()
    largest = float(torch.linalg.matrix_norm(checks.dense(H), 2))
    assert 0.9 * largest <= H.norm <= (1 + 1e-9) * largest


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
    assert H(x).dtype.to_real() == H.pinv(H(x)).dtype == torch.float32
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


@pytest.mark.parametrize("boundary", ["unknown", "mirror", "circular"])
@pytest.mark.parametrize("size", [(3, 5), (2, 4), (5, 3), (4, 3), (1, 6)])
@pytest.mark.parametrize("even", [True, False])
def test_convolutions_are_scipys(boundary, size, even):
    """Also of kernels of even sizes, and of one that is larger than a mirrored signal."""
    from scipy.ndimage import convolve

    x, kernel = randn(2, 9, 8), randn(*size, seed=2)
    if even:
        kernel = sum(kernel.flip(axes) for axes in ((), (0,), (1,), (0, 1)))
    H = convolution((2, 9, 8), kernel, boundary)
    mode = {"unknown": "constant", "mirror": "reflect", "circular": "wrap"}[boundary]
    expected = torch.stack([torch.tensor(convolve(c, kernel.numpy(), mode=mode)) for c in x])
    if boundary == "unknown":
        (above, below), (left, right) = reach(kernel)
        expected = expected[:, above : 9 - below, left : 8 - right]
    torch.testing.assert_close(H(x[None])[0], expected, rtol=0, atol=1e-12)
    assert isinstance(H, SVDOperator) == (boundary == "circular") or boundary == "mirror"


@pytest.mark.parametrize("boundary", ["unknown", "mirror", "circular"])
def test_a_convolution_tells_by_how_much_it_multiplies_waves(boundary):
    """H^T H of a point far from all edges, as an even kernel on a circle."""
    H, point = convolution((1, 19, 24), SYMMETRIC, boundary), torch.zeros(1, 1, 19, 24)
    point[0, 0, 9, 12] = 1
    around = H.adjoint(H(point.double()))[0, 0].roll((-9, -12), (0, 1))
    wanted = torch.fft.rfft2(around).real
    torch.testing.assert_close(H.gains((19, 24)), wanted, rtol=0, atol=1e-12)
    assert H.gains((2, 24)) is None
    assert Inpainting(torch.ones(3) > 0).gains((19, 24)) is None


def test_a_blur_with_unknown_surroundings_solves_in_few_iterations():
    """White data, which ask most of it; a photograph of 1024 x 1024 takes 10."""
    taps = gaussian_taps(2.0)
    H, products = Convolution((3, 112, 128), torch.outer(taps, taps)), []
    cut = H._cut
    H._cut = lambda x: (products.append(0), cut(x))[1]
    for sigma_y in (0.05, 0.1):
        for r2 in (0.25, 0.01):
            products.clear()
            H.pull(randn(1, *H.data_shape), r2, sigma_y**2)
            assert len(products) <= 32


def test_the_surroundings_take_part_in_what_is_known_of_a_blur():
    """Exact: what a kernel sees beyond the frame is pulled too, less the farther it is."""
    H = Convolution((9, 9), torch.ones(3, 3, dtype=torch.float64) / 9)
    pulled = H.pull(torch.ones(1, 7, 7, dtype=torch.float64), 1.0, 0.01)[0]
    assert (pulled[0].abs() > 0).all()
    assert pulled[0, 0].abs() < pulled[4, 4].abs()


@pytest.mark.parametrize("n", [1, 2, 3, 8, 13])
def test_the_fast_cosine_transform_is_scipys(n):
    from scipy.fft import dctn

    x = randn(2, 5, n)
    expected = torch.tensor(dctn(x.numpy(), axes=(1, 2), norm="ortho"))
    torch.testing.assert_close(dct2(x), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(idct2(expected), x, rtol=0, atol=1e-13)
    assert dct2(x.float()).dtype == torch.float32


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


def test_what_a_large_operator_sees_it_sees_in_float32():
    H = CircularBlur((1, 1024, 1024), KERNEL).float()
    s = H.singular_values
    assert H.observed[s > 0.01 * s.max()].all()


@pytest.mark.parametrize(
    ("make", "error", "mend"),
    [
        (lambda: BlockAverage((3, 8, 8), 4)(torch.zeros(1, 3, 9, 8)), ShapeError, r"\(3, 9, 8\)"),
        (lambda: BlockAverage((3, 9, 8), 4), ShapeError, "8 x 8"),
        (lambda: BlockAverage((3, 8, 8), 0), SettingError, "Try 4"),
        (lambda: Bicubic((3, 8, 8), 0), SettingError, "Try 4"),
        (lambda: CircularBlur((3, 2, 2), KERNEL), ShapeError, "3 x 5"),
        (lambda: SeparableBlur((3, 8, 8), TAPS), ShapeError, "unknown surroundings"),
        (lambda: Convolution((3, 2, 9), KERNEL), ShapeError, "3 x 5"),
        (lambda: WalshHadamard((3, 6, 6)), ShapeError, "4 x 4"),
        (lambda: WalshHadamard((3, 4, 4), ratio=0.5), SettingError, "4 keeps a quarter"),
    ],
)
def test_bad_shapes_and_settings_say_how_to_mend_them(make, error, mend):
    with pytest.raises(error, match=mend) as caught:
        make()
    assert isinstance(caught.value, HDaggerError)
