"""Files: pictures of every depth, masks, folders that appear whole, archives, broken content."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import tomllib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.jpeg_file import read_jpeg
from hdagger.domains.pictures.kernels import motion_kernel
from hdagger.domains.pictures.masks import read_mask
from hdagger.domains.pictures.reading import read_kernel
from hdagger.domains.pictures.spectral import CircularBlur
from hdagger.domains.pictures.turn import Turn
from hdagger.domains.pictures.writing import to_image, write_picture
from hdagger.errors import FileError, HDaggerError, SettingError
from hdagger.files import check_file, check_name, read_arrays, toml_string, whole_folder
from hdagger.priors import checkpoint

F64 = torch.float64


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def write_png(path, values, colour, transparent=b"", interlaced=False):
    """A 16-bit PNG by the book, every row with another filter: RFC 2083, section 6."""
    height, width, channels = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    step, body, above = 2 * channels, b"", np.zeros(rows.shape[1], int)
    for k, row in enumerate(rows):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        distances = np.stack(
            [abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)]
        )
        paeth = np.choose(distances.argmin(axis=0), [left, above, corner])
        guesses = [0 * row, left, above, (left + above) // 2, paeth]
        body += bytes([k % 5]) + ((row - guesses[k % 5]) % 256).astype(np.uint8).tobytes()
        above = row
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))]
    chunks += [(b"tRNS", transparent)] if transparent else []
    chunks += [(b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    Path(path).write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


def read_png(path):
    """The values of a 16-bit colour PNG as ``write_picture`` makes them, by the book."""
    content, place, body = Path(path).read_bytes(), 8, b""
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        (sum_,) = struct.unpack(">I", content[place + 8 + length : place + 12 + length])
        assert sum_ == zlib.crc32(kind + data)
        if kind == b"IHDR":
            width, height, bits, colour, *_ = struct.unpack(">IIBBBBB", data)
            assert (bits, colour) == (16, 2)
        body += data if kind == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 2).all()
    return rows[:, 1:].cumsum(axis=0, dtype=np.uint8).view(">u2").reshape(height, width, 3)


def whole(pixels):
    """The 16-bit numbers of pixels, ``(height, width, channels)``."""
    return ((pixels + 1) * 32767.5).round().permute(1, 2, 0).numpy()


def test_sixteen_bit_colours_are_read_in_full():
    values = values_of((9, 7, 4))
    write_png("rgb.png", values[..., :3], 2)
    write_png("rgba.png", values, 6)
    write_png("gray.png", values[..., :1], 0)
    write_png("gray-alpha.png", values[..., :2], 4)
    write_png("key.png", values[..., :3], 2, transparent=values[4, 3, :3].astype(">u2").tobytes())
    tifffile.imwrite("little.tif", values[..., :3], photometric="rgb")
    tifffile.imwrite("big.tif", values[..., :3], photometric="rgb", byteorder=">")
    tifffile.imwrite(
        "packed.tif", values[..., :3], photometric="rgb", compression="zlib", predictor=True
    )
    tifffile.imwrite("alpha.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    for name in (
        "rgb.png",
        "rgba.png",
        "key.png",
        "little.tif",
        "big.tif",
        "packed.tif",
        "alpha.tif",
    ):
        picture = read_picture(Path(name))
        assert np.array_equal(whole(picture.pixels), values[..., :3]), name
        assert picture.bits == 16
        assert picture.rounding == pytest.approx(2 / 65535 / 12**0.5)
        if "alpha" in name or "rgba" in name:
            assert np.array_equal(picture.opaque.numpy(), values[..., 3] >= 32768)
        elif name == "key.png":
            assert np.argwhere(~picture.opaque.numpy()).tolist() == [[4, 3]]
        else:
            assert picture.opaque.all()
    for name in ("gray.png", "gray-alpha.png"):
        assert np.array_equal(whole(read_picture(Path(name)).pixels), values[..., :1])
    opaque = read_picture(Path("gray-alpha.png")).opaque.numpy()
    assert np.array_equal(opaque, values[..., 1] >= 32768)
    many = np.maximum(values, 1)
    many[..., :3] = np.minimum(many[..., :3], many[..., 3:])
    tifffile.imwrite("times.tif", many, photometric="rgb", extrasamples=["assocalpha"])
    expected = many[..., :3] / many[..., 3:] * 65535
    assert np.abs(whole(read_picture(Path("times.tif")).pixels) - expected).max() <= 0.51


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_written_is_what_was_there(bits, channels):
    exif = Image.Exif()
    exif[0x010E] = "a face"
    space = b"GRAY" if channels == 1 else b"RGB "
    given = {"exif": exif.tobytes(), "icc_profile": b"p" * 16 + space + b"p" * 200}
    white = 2**bits - 1
    values = values_of((5, 6, channels)) & white
    pixels = torch.from_numpy(values.astype(float)).permute(2, 0, 1) * (2 / white) - 1
    write_picture(Path("a.png"), pixels, bits, given)
    back = read_picture(Path("a.png"))
    torch.testing.assert_close(back.pixels, pixels, rtol=0, atol=1e-9)
    assert back.bits == bits
    assert back.extras["icc_profile"] == given["icc_profile"]
    with Image.open("a.png") as image:
        assert image.getexif()[0x010E] == "a face"
    if (bits, channels) == (16, 3):
        assert np.array_equal(read_png("a.png"), values)
    write_picture(Path("b.png"), pixels.mean(dim=0).expand(4 - channels, -1, -1), bits, given)
    assert "icc_profile" not in read_picture(Path("b.png")).extras


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg"])
def test_notes_of_every_kind_of_file_are_carried(name):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a face", 6
    profile = b"p" * 16 + b"RGB " + b"p" * 200
    image = Image.fromarray((values_of((4, 6, 3)) // 256).astype(np.uint8))
    image.save(name, exif=exif, icc_profile=profile)
    picture = read_picture(Path(name))
    assert picture.pixels.shape == (3, 6, 4)
    write_picture(Path("out.png"), picture.pixels, picture.bits, picture.extras)
    with Image.open("out.png") as restored:
        assert restored.info["icc_profile"] == profile
        assert dict(restored.getexif()) == {0x010E: "a face"}


def test_alpha_of_less_than_half_is_a_hole():
    image = Image.new("RGBA", (4, 1), (200, 100, 50, 255))
    for x, alpha in enumerate((0, 1, 127, 128)):
        image.putpixel((x, 0), (200, 100, 50, alpha))
    image.save("a.png")
    assert read_picture(Path("a.png")).opaque.tolist() == [[False, False, False, True]]


@pytest.mark.parametrize(
    ("kind", "held"), [("uint8", "float32"), ("uint16", "float32"), ("float64", "float64")]
)
def test_half_of_the_memory_holds_what_a_file_of_16_bits_says_and_no_float_is_cut(kind, held):
    white = 1 if kind == "float64" else np.iinfo(kind).max
    np.save("a.npy", (np.linspace(0, 1, 20).reshape(4, 5) * white).astype(kind))
    picture = read_picture(Path("a.npy"))
    assert picture.lean.dtype == getattr(torch, held)
    assert (picture.lean.double() - picture.pixels).abs().max() <= picture.rounding / 100


@pytest.mark.parametrize(
    ("shape", "words"), [((8000, 8000), r"is too large \(8000 x 8000\)"), ((0, 5), "no pixels")]
)
def test_an_array_has_as_many_pixels_as_a_picture_may_have(shape, words):
    np.lib.format.open_memmap("large.npy", mode="w+", dtype=np.uint8, shape=shape)
    with pytest.raises(FileError, match=words):
        read_picture(Path("large.npy"))


def test_floats_and_wide_integers_have_a_range_or_are_refused():
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    tifffile.imwrite("unit.tif", values)
    picture = read_picture(Path("unit.tif"))
    torch.testing.assert_close(picture.pixels[0], torch.from_numpy(values).double() * 2 - 1)
    tifffile.imwrite("signed.tif", values * 2 - 1)
    tifffile.imwrite("nan.tif", np.full((3, 4), np.nan, np.float32))
    tifffile.imwrite("long.tif", (values * 61035).astype(np.uint32))
    tifffile.imwrite("short.tif", (values * 6103).astype(np.int16))
    planes = np.moveaxis(values_of((4, 5, 3)), 2, 0).copy()
    tifffile.imwrite("planes.tif", planes, photometric="rgb", planarconfig="separate")
    Path("deep.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    for name, says in (
        ("signed.tif", "from 0, black, to 1"),
        ("nan.tif", "from 0, black, to 1"),
        ("long.tif", "white is not known"),
        ("short.tif", "white is not known"),
        ("planes.tif", "Save it as PNG"),
        ("deep.ppm", "Save it as PNG"),
    ):
        with pytest.raises(FileError, match=says):
            read_picture(Path(name))
    tifffile.imwrite("negative.tif", values_of((3, 4)), photometric="miniswhite")
    assert np.array_equal(
        whole(read_picture(Path("negative.tif")).pixels)[..., 0], 65535 - values_of((3, 4))
    )
    Path("deep.pgm").write_bytes(b"P5 2 1 65535\n\x12\x34\xff\xff")
    assert whole(read_picture(Path("deep.pgm")).pixels).ravel().tolist() == [0x1234, 65535]


STROKES = np.zeros((40, 40), bool)
STROKES[10:20, 8:28] = True


def drawing(colour, background=(0, 0, 0, 0)):
    pixels = np.where(STROKES[..., None], np.uint8(colour), np.uint8(background))
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("exact.png", drawing((255,) * 3, (0,) * 3)),
        ("labels.png", drawing((1,) * 3, (0,) * 3)),
        ("red.png", drawing((255, 0, 0), (0, 0, 0))),
        ("lossy.jpg", drawing((255,) * 3, (0,) * 3)),
        ("white.png", drawing((255, 255, 255, 255))),
        ("white on nothing.png", drawing((255, 255, 255, 255), (255, 255, 255, 0))),
        ("red on nothing.png", drawing((200, 30, 30, 255))),
        ("black on nothing.png", drawing((0, 0, 0, 255))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mask_is_what_was_drawn(name, image):
    image.save(name)
    assert np.array_equal(read_mask(Path(name)).numpy(), STROKES)


def test_a_mask_of_black_white_and_nothing_is_its_white():
    image = drawing((255, 255, 255, 255), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 40, 4))
    image.save("m.png")
    assert np.array_equal(read_mask(Path("m.png")).numpy(), STROKES)


def test_soft_edges_do_not_grow_a_mask():
    from PIL import ImageFilter

    drawing((255,) * 3, (0,) * 3).filter(ImageFilter.GaussianBlur(1.5)).save("m.png")
    assert abs(int(read_mask(Path("m.png")).sum()) - 200) <= 8


def test_a_mask_that_leaves_it_open_is_refused():
    image = drawing((255, 0, 0, 255))
    image.paste((0, 0, 120, 255), (0, 30, 40, 34))
    image.save("two.png")
    Image.new("RGBA", (4, 4)).save("nothing.png")
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save("dark.png")
    for name, says in (("two.png", "several"), ("nothing.png", "none"), ("dark.png", "99 of 255")):
        with pytest.raises(FileError, match=says):
            read_mask(Path(name))
    Image.new("L", (4, 4)).save("black.png")
    assert not read_mask(Path("black.png")).any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(3, 5), (4, 6)])
def test_a_kernel_turned_back_blurs_the_stored_picture_alike(orientation, size):
    turn = Turn(orientation)
    kernel = torch.rand(*size, generator=torch.Generator().manual_seed(1), dtype=F64)
    upright = torch.rand(1, 1, 9, 11, generator=torch.Generator().manual_seed(2), dtype=F64)
    blurred = CircularBlur((1, 9, 11), kernel)(upright)
    stored = turn.back(upright)
    back = CircularBlur((1, *stored.shape[2:]), turn.kernel_back(kernel))(stored)
    torch.testing.assert_close(turn(back), blurred, rtol=0, atol=1e-12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("angle", [0, 30, 90, 135, -20])
def test_an_angle_turned_back_is_that_of_the_kernel_turned_back(orientation, angle):
    turn = Turn(orientation)
    assert 0 <= turn.angle_back(angle) < 180
    torch.testing.assert_close(
        motion_kernel(7, turn.angle_back(angle)),
        turn.back(motion_kernel(7, angle)),
        rtol=0, atol=1e-9,
    )  # fmt: skip


def test_the_blur_of_a_lying_jpeg_is_that_of_the_upright_picture():
    """An upright picture blurred along 30 degrees, stored lying: its own blur explains it."""
    rng = torch.Generator().manual_seed(0)
    upright = torch.rand(1, 1, 48, 40, generator=rng, dtype=F64) * 2 - 1
    kernel = motion_kernel(9, 30)
    seen = CircularBlur((1, 48, 40), kernel)(upright)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    to_image(Turn(6).back(seen)).save("lying.jpg", quality=100, exif=exif)
    file = read_jpeg(Path("lying.jpg"))
    from hdagger.domains.pictures.words import operator_of

    for before, given in (("motion:9,30,circular", None), ("kernel:circular", kernel)):
        measurement = file.measurement(before, None, given)
        H = operator_of(measurement)
        y = H(Turn(6).back(upright[0])[None])[0]
        assert (y - measurement.y).abs().mean() < 0.6
    upright_angle = file.measurement("motion:9,120,circular", None)
    y = operator_of(upright_angle)(Turn(6).back(upright[0])[None])[0]
    assert (y - upright_angle.y).abs().mean() > 3


def test_reading_a_jpeg_leaves_the_standard_error_of_the_process_alone(monkeypatch):
    Image.new("RGB", (16, 16)).save("a.jpg")
    content = bytearray(Path("a.jpg").read_bytes())
    content[-6:-2] = b"\xff\xff\x00\x12"
    Path("spoiled.jpg").write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup2", None)
        assert read_jpeg(Path("a.jpg")).exact
        with pytest.raises(FileError, match=r"whole JPEG, but spoiled\.jpg is broken"):
            read_jpeg(Path("spoiled.jpg"))


def write_run(work, *names):
    with whole_folder(Path("out"), work) as partial:
        for name in names:
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_text(f"{work} {name}")


def held():
    return {p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file()} - {
        ".hdagger.json"
    }


def test_a_run_leaves_nothing_of_an_earlier_one_and_all_that_is_foreign():
    write_run("restore", "report.html", "samples/000.png", "samples/001.png", "samples/002.png")
    Path("out/samples/mine.png").write_text("mine")
    Path("out/notes.txt").write_text("mine")
    Path("out/samples/002.png").write_text("painted over")
    write_run("degrade", "measurement.npz")
    write_run("restore", "report.html", "samples/000.png")
    assert held() == {
        "report.html", "samples/000.png", "samples/002.png", "samples/mine.png", "notes.txt",
        "measurement.npz",
    }  # fmt: skip
    write_run("degrade", "other/measurement.npz")
    assert "measurement.npz" not in held()
    write_run("degrade", "measurement.npz")
    assert not Path("out/other").exists()


def test_a_list_cannot_reach_outside_its_folder():
    Path("precious").write_text("restore precious")
    write_run("restore", "a")
    lists = json.loads(Path("out/.hdagger.json").read_text())
    import hashlib

    there = hashlib.sha256(b"restore precious").hexdigest()
    for name in ("../precious", str(Path("precious").resolve())):
        lists["restore"][name] = there
    Path("out/.hdagger.json").write_text(json.dumps(lists))
    write_run("restore", "a")
    assert Path("precious").exists()
    for broken in ("", "[1]", "{", "[" * 5000, '{"restore": 3}'):
        Path("out/.hdagger.json").write_text(broken)
        write_run("restore", "a")


def test_a_run_that_fails_leaves_the_earlier_one(tmp_path):
    write_run("restore", "a", "b")
    with pytest.raises(ZeroDivisionError), whole_folder(Path("out"), "restore") as partial:
        (partial / "a").write_text(f"half of it {1 / 0}")
    assert held() == {"a", "b"}
    assert Path("out/a").read_text() == "restore a"


def test_two_runs_of_degrade_leave_the_second(run):
    Image.effect_noise((8, 8), 60).save("clean.png")
    assert run("degrade", "clean.png", "--denoise", 9)[0] == 0
    Path("degraded/old.png").write_bytes(Path("degraded/damaged.png").read_bytes())
    lists = json.loads(Path("degraded/.hdagger.json").read_text())
    lists["degrade"]["old.png"] = lists["degrade"]["damaged.png"]
    Path("degraded/.hdagger.json").write_text(json.dumps(lists))
    assert run("degrade", "clean.png", "--denoise", 9)[0] == 0
    assert not Path("degraded/old.png").exists()


def test_sigterm_clears_away_what_was_begun():
    code = """
import sys, time
from pathlib import Path
import importlib
command = importlib.import_module("hdagger.cli.main")
from hdagger.files import check_file, check_name, read_arrays, toml_string, whole_folder
from hdagger.priors import checkpoint

@command.app.command()
def linger() -> None:
    with whole_folder(Path("out")) as partial:
        (partial / "half").write_text("half")
        print("begun", flush=True)
        time.sleep(60)

sys.argv = ["hdagger", "linger"]
command.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        time.sleep(0.2)
        program.send_signal(signal.SIGTERM)
        _, err = program.communicate(timeout=60)
    assert program.returncode == 143
    assert err == "hdagger: Stopped; nothing is half-written.\n"
    assert not Path("out").exists()


def test_a_kernel_of_floats_is_its_weights():
    weights = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], dtype=np.float32) / 6
    np.save("k.npy", weights)
    Image.fromarray((weights * 6 * 60).round().astype(np.uint8)).save("k.png")
    for name in ("k.npy", "k.png"):
        torch.testing.assert_close(read_kernel(Path(name)).float(), torch.from_numpy(weights))
    np.save("none.npy", np.zeros((3, 3)))
    with pytest.raises(SettingError, match="black"):
        read_kernel(Path("none.npy"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--denoise", 9, "--seed", -1), "--seed 0"),
        (("--denoise", 9, "--seed", 2**63), "--seed 0"),
        (("--denoise", 9, "--kernel", "nonsense"), "box or bicubic"),
        (("--denoise", 9, "--kernel", "bicubic"), "--upscale"),
        (("--operator", "none:42", "--denoise", 9), "nothing after none"),
        (("--operator", "gray:3 | average:2"), "nothing after gray"),
        (("--denoise", -1), "from 0 to 10"),
        (("--sigma-y", "nan"), "from 0 to 10"),
        (("--mask", "x" * 5000), "cannot be looked at"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else None,
)
def test_an_option_that_says_nothing_is_refused(run, arguments, says):
    Image.new("RGB", (8, 8)).save("a.png")
    code, out, err = run("degrade", "a.png", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert not Path("degraded").exists()


@pytest.mark.parametrize("noise", ["-1", "nan", "inf"])
def test_trackers_have_a_noise_that_can_be(run, noise):
    code, out, err = run("motion", "inbetween", "a.bvh", "--trackers", "head", "--noise", noise)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "0 to 10 metres" in err


@pytest.mark.parametrize("noise", ["0", "-1", "nan", "11"])
def test_a_clip_has_a_noise_that_can_be(run, noise):
    code, out, err = run("motion", "denoise", "a.bvh", "--sigma-y", noise)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "0.001 to 10" in err


@pytest.mark.parametrize("name", ['a "b"', "a\\b", "\N{GRINNING FACE}", "\x7f", "a\nb", "a\udc80"])
def test_a_text_survives_toml(name):
    back = tomllib.loads(f"prior = {toml_string(name)}")["prior"]
    assert back == name.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "a\udc80", "x" * 5000, "\x1b[31m"])
def test_a_name_that_cannot_be_noted_is_refused(name):
    with pytest.raises(SettingError, match="one line of plain text") as refused:
        check_name(name, "a prior")
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(FileError, match=r"cannot be looked at|does not exist"):
        check_file(Path(name), "a picture")


def bombs():
    Path("text.npz").write_text("no archive")
    np.savez("objects.npz", a=np.array([{}], dtype=object))
    np.savez("words.npz", a=np.array(["b", "c"]))
    np.savez_compressed("zeros.npz", a=np.zeros(10**7))
    np.savez("dates.npz", a=np.zeros(3, "M8[s]"))
    np.savez("many.npz", **{f"a{k}": np.zeros(1) for k in range(1100)})
    header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (%d,)}"
    for name, shape in (("promise.npz", 10**12), ("negative.npz", -1)):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("a.npy", (header % shape).ljust(127) + b"\n" + bytes(8))
    with zipfile.ZipFile("plain.npz", "w") as archive:
        archive.writestr("a.npy", b"not an array")
    return [path.name for path in sorted(Path().glob("*.npz"))]


def test_an_archive_is_read_within_bounds():
    given = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array(True),
        "c": np.array("a text"),
        "d": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "e": np.zeros((0, 3), np.complex64),
    }
    np.savez_compressed("good.npz", **given)
    back = read_arrays(Path("good.npz"), "arrays", "Make them again.")
    assert set(back) == set(given)
    for name, value in given.items():
        assert back[name].dtype == value.dtype
        assert np.array_equal(back[name], value)
    for name in bombs():
        if name == "good.npz":
            continue
        with pytest.raises(FileError, match=r"Make them again\.") as refused:
            read_arrays(Path(name), "arrays", "Make them again.", most_bytes=10**6)
        assert len(str(refused.value).splitlines()) == 1


def sources():
    """Whole files of every kind, with what reads each."""
    image = Image.fromarray((values_of((20, 24, 3)) // 256).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a face", 5
    profile = b"p" * 16 + b"RGB " + b"p" * 200
    image.save("a.png", exif=exif, icc_profile=profile)
    image.save("a.tif", exif=exif, compression="tiff_lzw")
    image.save("a.webp", exif=exif, quality=50)
    image.save("a.jpg", exif=exif, quality=50)
    image.convert("P").save("b.png")
    image.convert("RGBA").save("c.png", interlace=True)
    write_png("d.png", values_of((20, 24, 3)), 2)
    write_png("e.png", values_of((20, 24, 2)), 4)
    tifffile.imwrite("b.tif", values_of((20, 24, 3)), photometric="rgb", compression="zlib")
    np.savez_compressed("a.npz", y=np.zeros((3, 4)), c=np.array("text"))
    np.save("a.npy", np.zeros((6, 5)))
    weights = {"a": torch.zeros(3, 4), "b": torch.zeros(2)}
    save_file(weights, "a.safetensors", {"hdagger": json.dumps({"unet": {"widths": [8, 16]}})})
    torch.save(weights, "a.pt")

    def safetensors(path):
        checkpoint.read(path)

    def arrays(path):
        read_arrays(path, "arrays", "Make them again.")

    readers = {".npz": arrays, ".safetensors": safetensors, ".pt": checkpoint.read_state}
    return {path: readers.get(path.suffix, read_picture) for path in sorted(Path().glob("?.*"))}


def mutated(content, draw):
    content = bytearray(content)
    kind = draw.choice(["bytes", "head", "cut", "swap", "grow"])
    if kind == "cut":
        return content[: draw.randrange(len(content))]
    if kind == "grow":
        return content + bytes(draw.randrange(256) for _ in range(draw.randrange(1, 200)))
    if kind == "swap":
        a, b = sorted(draw.sample(range(8, max(60, len(content) - 20)), 2))
        content[a : a + 16], content[b : b + 16] = content[b : b + 16], content[a : a + 16]
        return content
    end = min(120 if kind == "head" else len(content), len(content))
    for _ in range(draw.randint(1, 6)):
        content[draw.randrange(end)] = draw.randrange(256)
    return content


@pytest.mark.parametrize("seed", range(3))
def test_mutated_files_give_a_result_or_one_line(seed):
    draw, readers, refused = random.Random(seed), sources(), []
    for _ in range(300):
        path = draw.choice(list(readers))
        mutant = Path("mutant").with_suffix(path.suffix)
        mutant.write_bytes(mutated(path.read_bytes(), draw))
        try:
            readers[path](mutant)
        except HDaggerError as error:
            refused.append(str(error))
    assert 50 < len(refused) < 300
    assert all(len(m.splitlines()) == 1 and m.startswith("Wanted ") for m in refused)


def test_what_is_degraded_keeps_its_depth_and_its_notes(run):
    values = values_of((8, 8, 3))
    write_png("deep.png", values, 2)
    assert run("degrade", "deep.png", "--operator", "mask:none.png")[0] == 2
    Image.new("L", (8, 8)).save("none.png")
    assert run("degrade", "deep.png", "--operator", "mask:none.png")[0] == 0
    assert np.array_equal(read_png("degraded/damaged.png"), values)
