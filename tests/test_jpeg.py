"""JPEG: the operator against libjpeg, real files as measurements, and files that are broken."""

import io
import json
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from hdagger.domains.pictures.jpeg import SAMPLINGS, Jpeg, JpegTransform, quality_tables
from hdagger.domains.pictures.jpeg_file import read_jpeg
from hdagger.domains.pictures.kernels import motion_kernel
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.domains.pictures.seen_jpeg import SeenJpeg
from hdagger.domains.pictures.turn import Turn
from hdagger.errors import HDaggerError, OperatorAbilityError, SettingError, ShapeError
from hdagger.operators import checks
from hdagger.operators.base import SVDOperator
from hdagger.operators.quantisation import Bits, whole
from hdagger.operators.spectral import Inpainting
from hdagger.problem import Problem
from hdagger.samplers.cells import Cells, mean_within
from hdagger.samplers.guidance import DPS, ReconstructionGuidance
from hdagger.samplers.walk import Step, karras_levels
from hdagger.tensors import SampleNoise

SIZES = [(64, 96), (37, 53), (9, 1)]


def photograph(height, width):
    from skimage import data

    return Image.fromarray(data.astronaut()[60 : 60 + height, 180 : 180 + width])


def pixels(image):
    values = torch.from_numpy(np.array(image, dtype=np.float64))
    return values.reshape(image.height, image.width, -1).permute(2, 0, 1)[None] / 127.5 - 1


def numbers(path):
    import jpeglib

    file = jpeglib.read_dct(str(path))
    parts = [part for part in (file.Y, file.Cb, file.Cr) if part is not None]
    return torch.from_numpy(np.concatenate([part.reshape(-1) for part in parts]).astype(float))


@pytest.mark.parametrize("quality", range(1, 101))
def test_tables_are_those_of_libjpeg(quality):
    buffer = io.BytesIO()
    photograph(8, 8).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        expected = torch.tensor([image.quantization[k] for k in (0, 1)]).view(2, 8, 8)
    assert torch.equal(quality_tables(quality), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "pillow"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
@pytest.mark.parametrize(("quality", "most"), [(10, 0.001), (75, 0.006), (95, 0.03)])
def test_numbers_are_those_of_libjpeg(tmp_path, size, name, pillow, quality, most):
    image = photograph(*size)
    image.save(tmp_path / "a.jpg", quality=quality, subsampling=pillow)
    ours = Jpeg((3, *size), quality, name).encode(pixels(image))[0]
    theirs = numbers(tmp_path / "a.jpg")
    assert (ours - theirs).abs().max() <= 2
    assert (ours != theirs).double().mean() < most


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [5, 50, 95])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_encoding_what_was_decoded_changes_nothing(name, size, quality, dtype):
    H = Jpeg((3, *size), quality, name).to(dtype)
    x = pixels(photograph(*size)).to(dtype)
    y = H(x)
    assert torch.equal(H(H.pinv(y)), y)
    if H.linear.onto:
        assert torch.equal(H(H.decode(y)), y)


@pytest.mark.parametrize("size", SIZES)
def test_the_decomposition_is_that_of_the_definition(size):
    H = JpegTransform((3, *size), quality_tables(20)[[0, 1, 1]], [(2, 1), (1, 1), (1, 1)])
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    y = torch.rand(2, *H.data_shape, dtype=torch.float64)
    torch.testing.assert_close(SVDOperator.forward(H, x), H(x), rtol=0, atol=1e-11)
    torch.testing.assert_close(SVDOperator.pinv(H, y), H.pinv(y), rtol=0, atol=1e-11)
    torch.testing.assert_close(H(torch.full_like(x, 0.3))[0], H.of_constant(0.3))
    assert checks.orthonormal_gap(H, x, y) < 1e-12
    assert checks.adjoint_gap(H, x, y) < 1e-12
    assert checks.pinv_gap(H, x) < 1e-12


def test_gray_and_a_chroma_of_another_matrix():
    x = pixels(photograph(16, 16))[:, :1]
    assert torch.equal(
        torch.cat([Jpeg((1, 16, 16), 30)(x)] * 3, dim=1),
        Jpeg(
            (3, 16, 16),
            quality_tables(30)[[0, 0, 0]],
            "4:4:4",
            torch.eye(3, dtype=torch.float64),
        )(x.expand(-1, 3, -1, -1)),
    )


def test_a_subsampling_that_is_not_known_is_refused():
    with pytest.raises(SettingError, match="4:2:0"):
        Jpeg((3, 16, 16), 10, "4:2:1")
    with pytest.raises(SettingError, match="Save the picture as PNG"):
        Jpeg((3, 16, 16), quality_tables(10)[[0, 1, 1]], [(3, 1), (2, 1), (1, 1)])
    with pytest.raises(ShapeError, match="1 component or 3"):
        Jpeg((2, 16, 16), quality_tables(10))


@pytest.mark.parametrize("size", [(32, 48), (37, 53)])
def test_visible_pixels_tell_their_part_of_the_numbers(size):
    mask = torch.rand(*size, generator=torch.Generator().manual_seed(1)) > 0.4
    mask[:16] = True
    jpeg = Jpeg((3, *size), 10)
    H = Inpainting(mask.expand(3, *size)) @ jpeg
    assert isinstance(H, SeenJpeg)
    x, other = pixels(photograph(*size)), torch.rand(1, 3, *size, dtype=torch.float64)
    y, c = H(x), H.linear(other)
    k = jpeg(x) - jpeg.shift
    middle = H.middle(c, y)
    project = H.shown
    torch.testing.assert_close(project(middle), project(k), rtol=0, atol=1e-9)
    torch.testing.assert_close(middle - project(middle), c - project(c), rtol=0, atol=1e-9)
    torch.testing.assert_close(project(project(c)), project(c), rtol=0, atol=1e-9)
    assert H.outside(x, y).abs().max() <= 0.75
    seen = jpeg.decode(project(k) + jpeg.shift)
    torch.testing.assert_close(seen[..., :16, :], y[..., :16, :], rtol=0, atol=1e-9)


def test_what_a_mask_hides_has_no_say():
    mask = torch.ones(32, 32, dtype=torch.bool)
    mask[8:20, 4:21] = False
    H = Inpainting(mask.expand(3, 32, 32)) @ Jpeg((3, 32, 32), 10)
    x = pixels(photograph(32, 32))
    y = H(x)
    spoiled = torch.where(mask, y, 0.7)
    c = H.linear(x)
    torch.testing.assert_close(H.middle(c, spoiled), H.middle(c, y), rtol=0, atol=1e-12)


def test_the_mean_within_a_cell():
    mean = torch.tensor([0.0, 0.3, 0.3, 30.0, -30.0, 0.2], dtype=torch.float64)
    deviation = torch.tensor([1.0, 1e3, 1e-6, 0.5, 1e-9, 0.4], dtype=torch.float64)
    low, high = torch.full_like(mean, -0.5), torch.full_like(mean, 0.5)
    grid = torch.linspace(-0.5, 0.5, 200_001, dtype=torch.float64)
    logs = -0.5 * ((grid - mean[:, None]) / deviation[:, None]) ** 2
    weights = torch.softmax(logs, dim=1)
    expected = (weights * grid).sum(dim=1)
    torch.testing.assert_close(
        mean_within(mean, deviation, low, high), expected, rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("H", [Jpeg((3, 16, 16), 20), Bits((3, 16, 16), 3)], ids=["jpeg", "bits"])
def test_samples_lie_in_their_cells(H):
    prior = lambda x, sigma: x * 0.3 / (0.3 + sigma**2)
    y = H(pixels(photograph(16, 16)).expand(2, -1, -1, -1))
    problem = Problem(y, H)
    noise = SampleNoise(0, [(0, 0), (0, 1)])
    x = Cells().sample(prior, problem, karras_levels(10, high=8.0), noise)
    assert H.outside(x, y).abs().max() <= 0.5 + 1e-9
    settled = H.snap(x, y)
    assert H.kept(settled, y) == 1.0
    assert (x[0] - x[1]).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", [DPS, ReconstructionGuidance])
def test_rounding_is_never_differentiated(sampler):
    H = Jpeg((3, 16, 16), 20)
    prior = lambda x, sigma: x / (1 + sigma**2)
    problem = Problem(H(pixels(photograph(16, 16))), H)
    with pytest.raises(OperatorAbilityError, match="rounds"):
        sampler().sample(prior, problem, karras_levels(2), SampleNoise(0, [(0, 0)]))


def test_whole_numbers_go_away_from_zero_at_halves():
    y = torch.tensor([0.5, -0.5, 1.5 - 1e-12, 0.49, -2.5])
    assert whole(y.double()).tolist() == [1, -1, 2, 0, -3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turn_is_that_of_exif(orientation):
    from PIL import ImageOps

    image = photograph(5, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", exif=exif)
    with Image.open(buffer) as stored:
        upright = pixels(ImageOps.exif_transpose(stored))
    turn = Turn(orientation)
    assert torch.equal(turn(pixels(image)), upright)
    assert torch.equal(turn.back(upright), pixels(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_angle_is_turned_as_its_line_is(orientation):
    turn = Turn(orientation)
    stored, upright = motion_kernel(9, turn.angle_back(30)), motion_kernel(9, 30)
    torch.testing.assert_close(turn.back(upright), stored, rtol=0, atol=1e-9)
    assert (upright - motion_kernel(9, -30)).abs().max() > 0.05


def save(path, image=None, **options):
    (image or photograph(40, 56)).save(path, **options)
    return path


FILES = {
    "baseline": {"quality": 10},
    "progressive": {"quality": 30, "progressive": True},
    "4:4:4": {"quality": 50, "subsampling": 0},
    "4:2:2, restart markers": {"quality": 20, "subsampling": 1, "restart_marker_blocks": 2},
    "own tables": {"qtables": [[7 + k for k in range(64)], [9] * 64]},
    "rgb": {"quality": 30, "keep_rgb": True},
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_restored_to_a_picture_it_could_have_come_from(tmp_path, run, name):
    path = save(tmp_path / "a.jpg", **FILES[name])
    out = tmp_path / "out"
    code, text, _ = run("restore", path, "-o", out, "--samples", 1, "--steps", 6, "--json")
    assert code == 0
    assert json.loads(text)["kept"] >= 0.999
    assert (out / "report.html").exists()
    with Image.open(path) as given, Image.open(out / "samples" / "000.png") as restored:
        options = {k: v for k, v in FILES[name].items() if k in ("subsampling", "keep_rgb")}
        tables = given.quantization
        restored.save(tmp_path / "again.jpg", qtables=tables, **options)
    same = numbers(tmp_path / "again.jpg") == numbers(path)
    assert same.double().mean() >= 0.998


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:2", "4:2:0", "rgb", "gray"])
def test_an_encoder_errs_by_its_last_rounding_and_what_is_said_of_the_others(tmp_path, kind):
    """With steps of 1: the last rounding has a variance of 1/12, libjpeg's whole numbers in the
    transform 5 % of that."""
    size, channels = (61, 75), 1 if kind == "gray" else 3
    options = {"keep_rgb": True} if kind == "rgb" else {"subsampling": kind} if ":" in kind else {}
    factors = [SAMPLINGS.get(kind, (1, 1)), (1, 1), (1, 1)][:channels]
    colours = torch.eye(3, dtype=torch.float64) if kind == "rgb" else None
    H = Jpeg((channels, *size), torch.ones(channels, 8, 8).int(), factors, colours)
    values = np.random.default_rng(0).integers(256, size=(10, *size, channels), dtype=np.uint8)
    errors = []
    for picture in values:
        image = Image.fromarray(picture.squeeze())
        image.save(tmp_path / "a.jpg", qtables=[[1] * 64] * 2, **options)
        errors.append(H.outside(pixels(image), numbers(tmp_path / "a.jpg")[None])[0])
    counts = [64 * rows * columns for rows, columns in H.transform.grids]
    measured = torch.stack(errors).square().mean(0).split(counts)
    expected = (1 / 12 + H.encoder_error.square()).split(counts)
    for k in range(channels):
        assert float(measured[k].mean() / expected[k].mean()) == pytest.approx(1, abs=0.06)


def test_a_snapped_picture_is_encoded_to_the_same_numbers(tmp_path):
    """Numbers anywhere in their cells, the chroma's as fine as the luma's."""
    size = 64, 96
    path = save(tmp_path / "a.jpg", photograph(*size), qtables=[[9] * 64] * 2)
    H = Jpeg((3, *size), torch.full((3, 8, 8), 9))
    y = numbers(path)[None]
    anywhere = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)).double() - 0.5
    x = H.as_stored(H.snap(H.linear.pinv(y - H.shift + anywhere), y))
    image = Image.fromarray(((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    image.save(tmp_path / "again.jpg", qtables=[[9] * 64] * 2)
    assert (numbers(tmp_path / "again.jpg") == y[0]).double().mean() >= 0.9995


def test_gray_files_stay_gray(tmp_path, run):
    path = save(tmp_path / "a.jpg", photograph(24, 24).convert("L"), quality=20)
    out = tmp_path / "out"
    code, _, _ = run("restore", path, "-o", out, "--samples", 1, "--steps", 2)
    assert code == 0
    with Image.open(out / "samples" / "000.png") as restored:
        assert restored.mode == "L"


def test_what_a_file_says_about_its_picture_survives(tmp_path, run):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a face"
    profile = b"p" * 200
    path = save(tmp_path / "a.jpg", quality=20, exif=exif, icc_profile=profile, comment=b"hello")
    out = tmp_path / "out"
    code, _, _ = run("restore", path, "-o", out, "--samples", 1, "--steps", 2)
    assert code == 0
    with Image.open(out / "samples" / "000.png") as restored:
        assert restored.size == (40, 56)
        assert restored.info["icc_profile"] == profile
        assert restored.info["Comment"] == "hello"
        assert dict(restored.getexif()) == {0x010E: "a face"}


def test_holes_in_a_file(tmp_path, run):
    path = save(tmp_path / "a.jpg", quality=20)
    mask = Image.new("L", (56, 40))
    ImageDraw.Draw(mask).rectangle((10, 10, 30, 14), fill=255)
    mask.save(tmp_path / "m.png")
    arguments = ["restore", path, "--mask", tmp_path / "m.png", "--upscale", 2]
    code, text, _ = run(*arguments, "-o", tmp_path / "out", "--samples", 1, "--steps", 2, "--json")
    assert code == 0
    summary = json.loads(text)
    assert summary["operator"] == "average:2 | jpeg | mask"
    assert summary["shape"] == [3, 80, 112]


def test_without_jpeglib_the_numbers_are_derived_again(tmp_path, monkeypatch):
    path = save(tmp_path / "a.jpg", photograph(48, 64), quality=30, subsampling=0)
    exact = read_jpeg(path)
    monkeypatch.setitem(__import__("sys").modules, "jpeglib", None)
    derived = read_jpeg(path)
    assert exact.exact
    assert not derived.exact
    assert (exact.numbers != derived.numbers).double().mean() < 0.02


REFUSED = {
    "cmyk": lambda path: save(path, photograph(16, 16).convert("CMYK")),
    "cut off": lambda path: path.write_bytes(save(path).read_bytes()[:-200]),
    "no end": lambda path: path.write_bytes(save(path).read_bytes()[:400]),
    "only a beginning": lambda path: path.write_bytes(b"\xff\xd8\xff"),
    "12 bits": lambda path: path.write_bytes(
        save(path).read_bytes().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc1\x00\x11\x0c")
    ),
    "arithmetic": lambda path: path.write_bytes(
        save(path).read_bytes().replace(b"\xff\xc0", b"\xff\xc9")
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, run, name):
    path = tmp_path / "a.jpg"
    REFUSED[name](path)
    code, text, error = run("restore", path, "-o", tmp_path / "out")
    assert (code, text, error.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out").exists()


def test_mutated_files_give_a_measurement_or_one_error(tmp_path):
    draw = random.Random(0)
    sources = [save(tmp_path / f"{name[:4]}.jpg", **FILES[name]).read_bytes() for name in FILES]
    for _ in range(300):
        content = bytearray(draw.choice(sources))
        kind = draw.choice(["bytes", "head", "cut", "swap"])
        if kind == "cut":
            content = content[: draw.randrange(len(content))]
        elif kind == "swap":
            a, b = sorted(draw.sample(range(20, 600), 2))
            content[a : a + 40], content[b : b + 40] = content[b : b + 40], content[a : a + 40]
        else:
            end = 620 if kind == "head" else len(content)
            for _ in range(draw.randint(1, 6)):
                content[draw.randrange(min(end, len(content)))] = draw.randrange(256)
        path = tmp_path / "mutated.jpg"
        path.write_bytes(content)
        try:
            read_jpeg(path)
        except HDaggerError:
            continue


def test_average_before_jpeg_keeps_the_laws():
    jpeg = Jpeg((3, 16, 16), 10)
    H = jpeg @ BlockAverage((3, 64, 64), 4)
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1
    assert torch.equal(H(H.pinv(H(x))), H(x))
    assert torch.equal(H.encoder_error, jpeg.encoder_error)
    assert checks.pinv_gap(H.linear, x) < 1e-12


def test_a_prediction_moves_by_cells_as_wide_as_twice_the_noise():
    """The formula at the top of samplers/cells.py, with its 2 written out."""
    H = Jpeg((3, 16, 16), 40)
    prior = lambda x, sigma: x / (1 + sigma**2)
    y = H(pixels(photograph(16, 16)))
    sigma = torch.tensor(0.3, dtype=torch.float64)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    step = Step(sigma, sigma / 2, 1.0, 0, 2)
    moved = Cells().correct(prior, x, Problem(y, H), step)
    D = prior(x, sigma)
    c, deviation = H.linear(D), 2**0.5 * sigma * H.gain
    low, high = y - H.shift - 0.5, y - H.shift + 0.5
    inside = mean_within(c, deviation, low, high)
    torch.testing.assert_close(moved, D + H.linear.pinv(inside - c), rtol=0, atol=1e-10)
