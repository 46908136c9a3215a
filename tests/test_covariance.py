"""What a noisy signal leaves open: C as a dense matrix, and priors whose C is known."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from hdagger import solving, spectra
from hdagger.covariance import ExactField, LocalSpectra, White
from hdagger.domains.pictures.bands import PictureBands
from hdagger.errors import FileError
from hdagger.linalg import conjugate_gradients, dct2, fast_length, idct2
from hdagger.operators.convolution import convolution
from hdagger.operators.spectral import Identity
from hdagger.priors import checkpoint
from hdagger.priors.analytic import GaussianField
from hdagger.priors.base import Counted, moments
from hdagger.priors.tiles import Tiled
from hdagger.problem import Problem
from hdagger.rings import RINGS
from hdagger.samplers import METHODS
from hdagger.solving import Network, solve
from hdagger.spectra import SpectralTable, middles, shares_of
from hdagger.tensors import SampleNoise

F64 = torch.float64
SHAPE = (3, 4, 5)
BANDS = PictureBands(SHAPE)
UNKNOWN = lambda circle: None
SIGMA = torch.tensor(0.7, dtype=F64)
LEVELS = torch.tensor([0.1, 1.0, 10.0], dtype=F64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed), dtype=F64)


NODES = torch.tensor([[-2.0, -1.0], [-3.0, -1.5], [-4.0, -3.0]], dtype=F64)
TABLE = SpectralTable(0.3, BANDS, LEVELS, NODES, 0.01 + 0.99 * uniform(3, 2, BANDS.count))
TOLD = SIGMA**2 * (-4 * uniform(1, *SHAPE, seed=1)).exp()
"""A variance that a network tells, which reaches over both nodes of the table and beyond."""


def matrix_of(C, rows=60):
    """C as a matrix; it is given the unit vectors as rows."""
    return C.times(torch.eye(rows, dtype=F64).view(rows, *SHAPE)).flatten(1)


def covariance_drawn(C, count):
    """The covariance of C's draws, without Monte Carlo: unit vectors as noise, block by block."""
    total, block = torch.zeros(60, 60, dtype=F64), 0
    blocks = []
    C.draw(lambda shape: blocks.append(shape) or torch.zeros(shape, dtype=F64))
    for block, shape in enumerate(blocks):
        numbers = shape[1] * shape[2] * shape[3]
        for units in torch.eye(numbers, dtype=F64).split(count):
            calls = iter(range(len(blocks)))
            padded = torch.cat([units, units.new_zeros(count - len(units), numbers)])
            noise = lambda shape, calls=calls, block=block, padded=padded: (
                padded.view(shape) if next(calls) == block else torch.zeros(shape, dtype=F64)
            )
            columns = C.draw(noise).flatten(1)
            total += columns.T @ columns
    return total


def local(rows):
    return TABLE.at(SIGMA, torch.zeros(rows, *SHAPE, dtype=F64), TOLD.expand(rows, *SHAPE))


@pytest.mark.parametrize(
    "make",
    [
        local,
        lambda rows: local(rows).typical(),
        lambda rows: TABLE.at(SIGMA, torch.zeros(rows, *SHAPE, dtype=F64), None),
        lambda rows: White(SIGMA**2 / 3, (rows, *SHAPE)),
    ],
    ids=["by place", "typical", "nothing told", "white"],
)
def test_a_covariance_is_one_and_its_draws_have_it(make):
    C = matrix_of(make(60))
    torch.testing.assert_close(C, C.T, rtol=0, atol=1e-12)
    values = torch.linalg.eigvalsh(C)
    assert values.min() > 0
    assert values.max() <= SIGMA**2 * (1 + 1e-9)
    torch.testing.assert_close(covariance_drawn(make(240), 240), C, rtol=0, atol=1e-10)


def test_a_covariance_is_the_sum_over_the_classes_of_places():
    rows = 60
    C, dense = local(rows), torch.zeros(60, 60, dtype=F64)
    units = torch.eye(60, dtype=F64).view(60, *SHAPE)
    for R, c in zip(C.shares, C.spectra, strict=True):
        dense += (R * BANDS.inverse(c[:, BANDS.band] * BANDS.forward(R * units))).flatten(1)
    torch.testing.assert_close(matrix_of(C), dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 7, 9), (1, 8, 8), (4, 5, 30), (3, 1, 1)])
def test_a_picture_comes_back_from_its_coefficients(shape):
    bands, x = PictureBands(shape), uniform(2, *shape)
    torch.testing.assert_close(bands.inverse(bands.forward(x)), x, rtol=0, atol=1e-12)
    a, b = bands.forward(x), bands.forward(uniform(2, *shape, seed=1))
    assert bands.band.shape == a.shape[1:]
    weights = torch.ones(a.shape[-1], dtype=F64) * 2
    weights[0] = weights[-1] = 1  # a real picture's spectrum: one half stands for both
    inner = (weights * (a.conj() * b).real).flatten(1).sum(1)
    torch.testing.assert_close(inner, (x * uniform(2, *shape, seed=1)).flatten(1).sum(1))
    power = (bands.power(x) * bands.held).sum(1)
    torch.testing.assert_close(power, x.square().flatten(1).sum(1))
    y = uniform(2, *shape, seed=2)
    found = bands.products(x, y)
    half = (bands.power(x + y) - bands.power(x - y)) / 4
    for product, expected in zip(found, (bands.power(x), half, bands.power(y)), strict=True):
        torch.testing.assert_close(product, expected)


def test_bands_are_the_same_frequencies_whatever_the_size():
    sizes = [(3, 9, 14), (3, 48, 31), (3, 112, 80)]
    found = []
    for shape in sizes:
        bands = PictureBands(shape)
        assert bands.count == 3 * RINGS
        height, width = bands.torus
        rows, columns = torch.fft.fftfreq(height).abs(), torch.fft.rfftfreq(width)
        radius = 2 * (rows[:, None].square() + columns.square()).sqrt()
        assert torch.equal(bands.band[1], bands.band[0] + RINGS)
        found.append(torch.stack([radius.flatten(), bands.band[0].flatten()], dim=1))
    radius, band = torch.cat(found).double().T
    assert (band[radius.argsort(stable=True)].diff() >= 0).all()
    assert (int(band.min()), int(band.max())) == (0, RINGS - 1)
    assert PictureBands((3, 9, 14)).alike((3, 5, 7)).count == 3 * RINGS
    assert PictureBands((3, 9, 14)).alike((1, 5, 7)) is None
    assert [fast_length(n) for n in (24, 25, 46, 112)] == [24, 30, 48, 120]


def test_a_ring_without_a_frequency_has_the_power_of_the_nearest_one():
    small = PictureBands((1, 4, 4))
    power = small.power(uniform(1, 1, 4, 4))[0]
    held = small.held > 0
    assert not held.all()
    assert set(power.tolist()) == set(power[held].tolist())


def test_the_squares_of_the_shares_add_up_to_one():
    place = 6 * uniform(2, 1, 4, 5) - 4
    nodes = torch.tensor([-3.0, -1.0, 0.5], dtype=F64)
    shares = shares_of(place, nodes)
    torch.testing.assert_close(shares.square().sum(0), torch.ones_like(place))
    at = shares_of(nodes.view(1, 1, 1, 3), nodes)[:, 0, 0, 0]
    torch.testing.assert_close(at, torch.eye(3, dtype=F64), rtol=0, atol=1e-7)
    between = shares_of(torch.tensor([[-2.0, -9.0, 9.0]], dtype=F64), nodes)[:, 0]
    expected = torch.tensor([[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1]], dtype=F64).T
    torch.testing.assert_close(between.square(), expected)


def spectra_at(sigma, told=None):
    sigma = torch.tensor(sigma, dtype=F64)
    return TABLE.at(sigma, torch.zeros(1, *SHAPE, dtype=F64), told).spectra[:, 0]


def test_a_table_is_exact_at_its_levels_and_held_outside_of_them():
    for k, level in enumerate(LEVELS.tolist()):
        expected = level**2 * TABLE.spectra[k]
        torch.testing.assert_close(spectra_at(level), expected, rtol=1e-9, atol=0)
        assert spectra_at(level).max() <= level**2
    between = spectra_at(10**-0.5)
    geometric = (TABLE.spectra[0] * TABLE.spectra[1]).sqrt()
    expected = 0.1 * geometric
    torch.testing.assert_close(between, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(spectra_at(0.001) / 1e-6, spectra_at(0.1) / 1e-2)
    torch.testing.assert_close(spectra_at(50.0), spectra_at(10.0))


def test_places_are_told_by_their_variance_and_where_nothing_is_told_all_are_alike():
    D = torch.zeros(2, *SHAPE, dtype=F64)
    told = torch.ones_like(D)
    for k, sigma in enumerate(LEVELS):
        for number in (0, 1):
            C = TABLE.at(sigma, D, sigma**2 * NODES[k, number].exp() * told)
            one = torch.zeros(2, dtype=F64)
            one[number] = 1
            torch.testing.assert_close(C.shares[:, 0, 0, 2, 2], one, rtol=0, atol=1e-3)
    above = 100 * LEVELS[-1]
    C = TABLE.at(above, D, LEVELS[-1] ** 2 * NODES[-1, 1].exp() * told)
    assert float(C.shares[1].min()) == pytest.approx(1)
    C = TABLE.at(SIGMA, D, None)
    torch.testing.assert_close(C.shares.flatten(), torch.full((2,), 0.5**0.5, dtype=F64))
    alone = replace(TABLE, nodes=NODES[:, :1], spectra=TABLE.spectra[:, :1])
    assert alone.at(SIGMA, D, told).shares.flatten().tolist() == [1]


def of_cosines(bands):
    """The band of each coefficient of the cosine transform."""
    components, height, width = bands.shape
    ring = bands._of_cosines.view(height, width).int()
    return ring + RINGS * torch.arange(components)[:, None, None]


class Coloured:
    """x0 whose cosine coefficients have one variance in each band, with its exact denoiser."""

    def __init__(self, bands, power):
        self.bands, self.power = bands, power[of_cosines(bands)]

    def forward(self, x):
        return dct2(self.bands.mixed(x))

    def inverse(self, z):
        return self.bands.unmixed(idct2(z))

    def __call__(self, x, sigma):
        return self.inverse(self.power / (self.power + sigma**2) * self.forward(x))


def test_what_is_measured_of_a_gaussian_prior_is_its_covariance():
    bands = PictureBands((3, 16, 12))
    power = (-5 * uniform(bands.count)).exp()
    prior = Coloured(bands, power)
    z = torch.randn(40, 3, 16, 12, generator=seeded(), dtype=F64)
    truths, seen = prior.inverse(prior.power.sqrt() * z), []
    table = SpectralTable.measured(
        prior, truths, bands, within=(0.05, 20.0), watch=lambda *done: seen.append(done)
    )
    assert seen[-1] == (70, 70)
    assert (float(table.levels[0]), float(table.levels[-1])) == pytest.approx((0.05, 20))
    assert table.data_variance == pytest.approx(float(truths.var()))
    band = of_cosines(bands)
    held = band.flatten().bincount(minlength=bands.count)
    chance = (2 / (40 * held)).sqrt()
    for level, measured in zip(table.levels, table.spectra, strict=True):
        exact = power / (power + level**2)
        off = (measured[0] / exact - 1) / chance
        assert off[held > 0].abs().max() < 4.5
        if level > 2:  # far from 1, where the table ends
            assert off[held > 0].square().mean() == pytest.approx(1, abs=0.5)
    again = SpectralTable.measured(prior, truths, bands, within=(0.05, 20.0))
    other = SpectralTable.measured(prior, truths, bands, seed=1, within=(0.05, 20.0))
    assert torch.equal(again.spectra, table.spectra)
    assert not torch.equal(other.spectra, table.spectra)


class Halves:
    """White x0, the left half of another variance than the right one, which the prior tells."""

    v = torch.cat([torch.full((16, 16), 0.02), torch.full((16, 16), 0.5)], dim=1).double()

    def __call__(self, x, sigma):
        return self.moments(x, sigma)[0]

    def moments(self, x, sigma):
        D = self.v / (self.v + sigma**2) * x
        return D, (sigma**2 * self.v / (self.v + sigma**2)).expand_as(x)


def test_a_network_that_tells_its_variance_has_a_covariance_by_place():
    prior, bands = Halves(), PictureBands((1, 16, 32))
    x0 = prior.v.sqrt() * torch.randn(32, 1, 16, 32, generator=seeded(), dtype=F64)
    table = SpectralTable.measured(prior, x0, bands)
    sigma = torch.tensor(1.0, dtype=F64)
    C = table.at(sigma, x0[:1], prior.moments(x0[:1], sigma)[1])
    exact = prior.v / (prior.v + 1)
    for column in (3, 28):
        unit = torch.zeros(1, 1, 16, 32, dtype=F64)
        unit[..., 8, column] = 1
        found = C.times(unit)[0, 0, 8, column]
        assert float(found / exact[8, column]) == pytest.approx(1, rel=0.1)


def test_a_table_survives_its_file(tmp_path):
    path = tmp_path / "photo.covariance.safetensors"
    TABLE.save(path, "ab", "crops of pictures")
    found = SpectralTable.load(path, "ab", PictureBands((3, 9, 9)))
    for name in ("levels", "nodes", "spectra"):
        torch.testing.assert_close(
            getattr(found, name), getattr(TABLE, name), rtol=1e-6, atol=0, msg=name
        )
    assert found.data_variance == TABLE.data_variance
    assert found.bands.shape == (3, 9, 9)
    assert checkpoint.read_kind(path)[1]["truths"] == "crops of pictures"


def broken(**changes):
    """The file of a table in which something is another."""
    tensors = {"levels": LEVELS, "nodes": NODES, "spectra": TABLE.spectra}
    build = {"data_variance": 0.3, "prior_sha256": "ab", "truths": ""}
    kind = changes.pop("kind", spectra.KIND)
    for name, value in changes.items():
        (tensors if name in tensors else build)[name] = value
    state = {name: t.float().contiguous() for name, t in tensors.items() if t is not None}
    return kind, {name: value for name, value in build.items() if value is not None}, state


S = TABLE.spectra
BROKEN = {
    "a unet": {"kind": "unet"},
    "other weights": {"prior_sha256": "cd"},
    "no weights": {"prior_sha256": None},
    "no nodes": {"nodes": None},
    "gray": {"spectra": S[..., :RINGS]},
    "too few levels": {"levels": LEVELS[:2]},
    "one level": {"levels": LEVELS[:1], "nodes": NODES[:1], "spectra": S[:1]},
    "no classes": {"nodes": NODES[:, :0], "spectra": S[:, :0]},
    "flat": {"nodes": NODES[:, 0], "spectra": S[:, 0]},
    "no number": {"spectra": torch.where(S > 0.5, S, torch.nan)},
    "above 1": {"spectra": 1.1 * S / S.max()},
    "zero": {"spectra": 0 * S},
    "levels that fall": {"levels": LEVELS.flip(0)},
    "a level of 0": {"levels": LEVELS - LEVELS[0]},
    "an infinite level": {"levels": LEVELS / torch.tensor([1, 1, 0])},
    "nodes that fall": {"nodes": NODES.flip(1)},
    "nodes without number": {"nodes": torch.nan * NODES},
    "a negative variance": {"data_variance": -1.0},
    "a word for a variance": {"data_variance": "much"},
    "a list for a variance": {"data_variance": [1]},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN)
def test_a_file_that_holds_no_covariances_of_the_prior_is_refused_in_one_line(tmp_path, changes):
    path = tmp_path / "photo.covariance.safetensors"
    checkpoint.write(path, *broken(**changes))
    with pytest.raises(FileError, match=r"photo\.covariance\.safetensors") as error:
        SpectralTable.load(path, "ab", BANDS)
    assert "\n" not in str(error.value)
    assert "hdagger priors calibrate" in str(error.value)


def test_a_file_of_something_else_is_refused_in_one_line(tmp_path):
    path = tmp_path / "photo.covariance.safetensors"
    for write in (
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b"\xff" * 100),
        lambda: save_file({"a": torch.zeros(2)}, path),
    ):
        write()
        with pytest.raises(FileError) as error:
            SpectralTable.load(path, "ab", BANDS)
        assert "\n" not in str(error.value)


def test_what_data_are_by_band_belongs_to_its_row_and_inverts_a_system_that_bands_make_diagonal():
    bands = PictureBands((3, 12, 12))
    v = torch.randn(3, 3, 12, 12, generator=seeded(), dtype=F64)
    gain = (0.1 + uniform(3, bands.count))[:, of_cosines(bands)].view(3, 3, 12, 12)
    prior = Coloured(bands, torch.ones(bands.count))
    system = lambda v: prior.inverse(gain[: len(v)] * prior.forward(v))
    C = whole(bands, 3)
    noise = SampleNoise(0, [(k,) for k in range(3)])
    together = C.in_data(system, UNKNOWN, 0.0, v, noise).inverse(v)
    alone = C.in_data(system, UNKNOWN, 0.0, v[:1], SampleNoise(0, [(0,)])).inverse(v[:1])
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-12)
    held = C.in_data(system, UNKNOWN, torch.full((3, 1, 1, 1), 10.0, dtype=F64), v, noise)
    torch.testing.assert_close(held.inverse(v), v / 10, rtol=0, atol=1e-12)
    torch.testing.assert_close(held.informed(v), 0 * v, rtol=0, atol=1e-12)
    assert held.information.tolist() == [0, 0, 0]
    free = C.in_data(system, UNKNOWN, 0.0, v, noise)
    torch.testing.assert_close(free.informed(v), v, rtol=0, atol=1e-12)
    assert free.information.tolist() == [3 * 12 * 12] * 3
    assert C.in_data(system, UNKNOWN, 0.0, v[:, :1], noise) is None
    assert C.in_data(system, UNKNOWN, 0.0, v.to(torch.complex128), noise) is None


def test_what_a_convolution_makes_of_data_is_known_by_frequency_not_by_ring_alone():
    """A blur along one direction is nothing that rings can tell."""
    H = convolution((3, 40, 48), torch.full((1, 9), 1 / 9))
    bands, sigma_y = PictureBands((3, 40, 48)), 0.1
    spectra = 4 * (-0.4 * (torch.arange(bands.count) % RINGS).double()).exp()
    C = LocalSpectra(bands, spectra.view(1, 1, -1), torch.ones(1, 1, 1, 1, 1, dtype=F64), 1, 4.0)
    calls = []

    def system(v):
        calls.append(v)
        return H(C.times(H.adjoint(v))) + sigma_y**2 * v

    e = torch.randn(1, *H.data_shape, generator=seeded(), dtype=F64)
    noise = SampleNoise(0, [(0,)])
    tried = C.in_data(system, UNKNOWN, sigma_y**2, e, noise)
    calls.clear()
    told = C.in_data(system, H.gains, sigma_y**2, e, noise)
    assert not calls
    many = told.bands.held > 40
    torch.testing.assert_close(told.variance[:, many], tried.variance[:, many], rtol=0.35, atol=0)
    needed = []
    for known in (tried, told):
        calls.clear()
        conjugate_gradients(system, e, tolerance=1e-6, near=known.inverse)
        needed.append(len(calls))
    assert needed[1] < 0.6 * needed[0], needed


def test_components_that_are_independent_can_be_taken_apart():
    bands, v = PictureBands((3, 12, 9)), torch.randn(2, 3, 12, 9, generator=seeded(), dtype=F64)
    place = torch.randn(2, 1, 12, 9, generator=seeded(), dtype=F64)
    shares = shares_of(place, torch.arange(3.0))
    C = LocalSpectra(bands, uniform(3, bands.count)[:, None], shares, 2, 4.0)
    apart = C.apart()
    each = zip(apart.parts, apart.mixed(v).split(1, 1), strict=True)
    found = apart.unmixed(torch.cat([one.times(part) for one, part in each], dim=1))
    torch.testing.assert_close(found, C.times(v), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gain", [None, 0.5 + uniform(30, 16, seed=2)])
def test_a_component_by_itself_tells_of_data_what_all_tell_of_it(gain):
    """All of them are tried with the same normals, so that what is found is the same."""
    bands, v = PictureBands((3, 12, 9)), torch.randn(2, 3, 12, 9, generator=seeded(), dtype=F64)
    C = LocalSpectra(bands, uniform(1, bands.count)[:, None], torch.ones(1, 1, 1, 1, 1), 2, 4.0)
    apart, probe = C.apart(), torch.randn(2, 3, 12, 9, generator=seeded(), dtype=F64)
    system, gains = lambda v: C.times(v) + 0.1 * v, lambda circle: gain
    whole = C.in_data(system, gains, 0.1, v, lambda shape: apart.unmixed(probe))
    for k, (one, part) in enumerate(zip(apart.parts, apart.mixed(v).split(1, 1), strict=True)):
        alone = lambda v, one=one: one.times(v) + 0.1 * v
        noise = lambda shape, k=k: probe[:, k : k + 1]
        found = one.in_data(alone, gains, 0.1, part, noise)
        mine = slice(k * RINGS, (k + 1) * RINGS)
        torch.testing.assert_close(found.variance, whole.variance[:, mine], rtol=1e-9, atol=0)
        torch.testing.assert_close(
            found.inverse(part), apart.mixed(whole.inverse(v))[:, k : k + 1], rtol=0, atol=1e-9
        )


def whole(bands, rows, spectrum=1.0, most=4.0):
    """One class of places, and one number for all bands."""
    spectra = torch.full((1, 1, bands.count), spectrum, dtype=F64)
    return LocalSpectra(bands, spectra, torch.ones(1, 1, 1, 1, 1, dtype=F64), rows, most)


def test_a_scaled_covariance_is_that_of_its_row_and_stays_below_sigma2():
    bands = PictureBands((3, 8, 8))
    v = torch.randn(1, 3, 8, 8, generator=seeded(), dtype=F64).expand(3, -1, -1, -1)
    scaled = whole(bands, 3).scaled(torch.tensor([[1.0], [0.5], [9.0]], dtype=F64))
    wanted = torch.tensor([1.0, 0.5, 4.0], dtype=F64).view(3, 1, 1, 1) * v
    torch.testing.assert_close(scaled.times(v), wanted, rtol=0, atol=1e-12)
    exact = ExactField(GaussianField(6)).at(torch.tensor(1.0, dtype=F64), v, None)
    assert exact.scaled(torch.tensor([[3.0]])) is exact


def by_cosines(bands, factor, x):
    """Each band of cosines times a factor."""
    rings = bands._of_cosines.long().view(x.shape[-2:])
    return idct2(factor[rings] * dct2(x))


@pytest.mark.parametrize("known", [1, RINGS])
def test_the_network_says_how_wide_each_band_is(known):
    """Its errors have an own spectrum; the table has another, and z is no draw of either."""
    bands, rows, sigma = PictureBands((1, 160, 160)), 3, torch.tensor(0.5, dtype=F64)
    own, off = 0.05 + uniform(RINGS), 0.5 + 1.5 * uniform(RINGS, seed=1)
    C = whole(bands, rows).scaled((off * sigma**2 * own)[None])
    n = torch.randn(rows, 1, 160, 160, generator=seeded(), dtype=F64)
    z = uniform(rows, 1, 160, 160, seed=2)
    d = by_cosines(bands, own, z + sigma * n) - z
    found = C.wider(sigma, n, d, torch.ones(rows, known, dtype=F64))
    many = bands.held > 500
    assert many.sum() > 5
    wanted = (1 / off)[many].expand(rows, -1)
    torch.testing.assert_close(found[:, many], wanted, rtol=0.12, atol=0)
    alone = C.wider(sigma, n[1:2], d[1:2], torch.ones(1, known, dtype=F64))
    torch.testing.assert_close(alone, found[1:2], rtol=1e-12, atol=0)


def test_of_a_band_in_which_the_network_hears_nothing_it_stays_as_expected():
    """D is 0: n and z agree by chance alone, which the doubt is as large as."""
    bands, rows, sigma = PictureBands((1, 32, 32)), 40, torch.tensor(5.0, dtype=F64)
    C = whole(bands, rows, 1e-3, most=25.0)
    n, z = torch.randn(2, rows, 1, 32, 32, generator=seeded(), dtype=F64)
    expected = 0.5 + uniform(rows, RINGS)
    found = C.wider(sigma, n, -z, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)


def test_covariances_that_are_known_are_not_widened():
    n = torch.randn(2, 1, 6, 6, generator=seeded(), dtype=F64)
    expected = torch.ones(2, 1, dtype=F64)
    for known in (White(0.5, (2, 1, 6, 6)), ExactField(GaussianField(6)).at(SIGMA, n, None)):
        assert known.wider(SIGMA, n, n, expected) is expected


def test_the_exact_field_is_the_posterior_of_denoising():
    field, sigma = GaussianField(6), torch.tensor(0.4, dtype=F64)
    C = ExactField(field).at(sigma, torch.zeros(36, 1, 6, 6, dtype=F64), None)
    units = torch.eye(36, dtype=F64)
    _, expected = field.flat().posterior(units, torch.zeros(36, dtype=F64), 0.4)
    found = C.times(units.view(36, 1, 6, 6)).flatten(1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    columns = C.draw(lambda shape: units.view(shape)).flatten(1)
    torch.testing.assert_close(columns.T @ columns, expected, rtol=0, atol=1e-12)


class Telling:
    """A prior that tells a variance, both by the place in its tile."""

    def __call__(self, x, sigma):
        return self.moments(x, sigma)[0]

    def moments(self, x, sigma):
        place = torch.arange(x.shape[-1], dtype=x.dtype).expand_as(x)
        return place + 0 * x, place.square()


class Silent(Telling):
    """One that has the method, and tells none."""

    def moments(self, x, sigma):
        return 2 * x, None


def test_moments_go_through_all_that_wraps_a_prior():
    x = uniform(1, 3, 8, 20)
    assert moments(lambda x, sigma: 2 * x, x, SIGMA)[1] is None
    D, variance = Tiled(Telling(), tile=8, overlap=2).moments(x, SIGMA)
    squares = lambda x, sigma: Telling().moments(x, sigma)[1]
    torch.testing.assert_close(D, Tiled(Telling(), tile=8, overlap=2)(x, SIGMA))
    torch.testing.assert_close(variance, Tiled(squares, tile=8, overlap=2)(x, SIGMA))
    assert Tiled(Silent(), tile=8, overlap=2).moments(x, SIGMA)[1] is None
    D, variance = Tiled(lambda x, sigma: 2 * x, tile=8, overlap=2).moments(x, SIGMA)
    assert variance is None
    torch.testing.assert_close(D, 2 * x)
    counted = Counted(Telling())
    network = Network(counted)
    assert network.moments(x, SIGMA)[1].shape == x.shape
    assert (counted.nfe, network.nfe) == (1, 1)
    labelled = Counted(lambda x, sigma, label: x + label)
    assert labelled.moments(x, SIGMA, torch.tensor([3]))[0].min() > 3


class Precise(torch.nn.Module):
    """A network that says what it computes in."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(0.5 * torch.ones(1, 1))
        self.computed = []

    def forward(self, x, sigma):
        return self.moments(x, sigma)[0]

    def moments(self, x, sigma):
        assert x.dtype == torch.float32
        product = x[:, :1] @ self.weight
        self.computed.append(product.dtype)
        return product.float().expand_as(x), torch.ones_like(x)


def test_a_network_computes_in_its_own_precision_or_roughly_and_says_so(monkeypatch):
    x, network = uniform(1, 4), Precise()
    D, variance = Network(network).moments(x, SIGMA)
    assert (D.dtype, variance.dtype, network.computed) == (F64, F64, [torch.float32])
    Network(network, rough=True).moments(x, SIGMA)
    assert network.computed[-1] == torch.bfloat16
    problem = Problem.of(x[0], Identity((4,)), 0.3)
    levels = torch.tensor([20.0, 1.0, 0.1], dtype=F64)
    for able, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(solving, "BFLOAT16", able)
        network.computed.clear()
        drawn = solve(network, problem, METHODS["drawn"], levels=levels, samples=1)
        assert drawn.provenance["network_precision"] == precision
        assert drawn.provenance["nfe"] == 3
        by_level = [precision, "float32", "float32"]  # a difference is taken at the second
        assert network.computed == [getattr(torch, name) for name in by_level]


def test_classes_of_places_that_are_all_alike_are_still_in_order():
    nodes = middles(torch.zeros(4, 1, 8, 8))
    assert (nodes.diff() > 0).all()
    assert nodes.abs().max() < 0.01
