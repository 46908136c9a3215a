"""The command line as a user meets it: the real program, real files, real exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger.measurement import Measurement
from hdagger.samplers import METHODS
from hdagger.samples import PosteriorSamples


def picture(side=24, seed=0, channels=3):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    image = coarse.resize((side, side), Image.Resampling.BICUBIC)
    return image if channels == 3 else image.convert("L")


QUICK = ("--samples", 2, "--steps", 4)


def test_a_picture_is_damaged_and_restored(run):
    picture().save("clean.png")
    assert run("degrade", "clean.png", "--upscale", 2, "-o", "small")[0] == 0
    code, out, _ = run("restore", "small/measurement.npz", *QUICK, "-o", "large", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary == json.loads(Path("large/summary.json").read_text())
    assert summary["nfe"] == 5  # at one of four levels it is asked twice
    assert summary["shape"] == [3, 24, 24]
    assert summary["residual_max"] < 1e-6
    files = {str(path.relative_to("large")) for path in Path("large").rglob("*.*")}
    assert files == {
        "samples", "samples/000.png", "samples/001.png", "samples.npz", "mean.png", "std.png",
        "summary.json", "recipe.toml", "report.html", "given.png", ".hdagger.json",
    } - {"samples"}  # fmt: skip
    page = Path("large/report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page
    draws = PosteriorSamples.load(Path("large/samples.npz")).draws
    y = Measurement.load(Path("small/measurement.npz")).y
    assert (torch.nn.functional.avg_pool2d(draws.double(), 2) - y).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("options", "mask_side"),
    [
        (("--mask", "mask.png"), 36),
        (("--upscale", 2), 0),
        (("--upscale", 3, "--kernel", "bicubic"), 0),
        (("--blur", "gauss:1.5", "--sigma-y", 0.05), 0),
        (("--blur", "motion:5,30"), 0),
        (("--blur", "disk:2"), 0),
        (("--blur", "gauss:1.5,mirror", "--sigma-y", 0.05), 0),
        (("--blur", "kernel.png"), 0),
        (("--blur", "kernel.png,circular"), 0),
        (("--blur", "kernel.npy"), 0),
        (("--denoise", 25), 0),
        (("--mask", "mask.png", "--upscale", 2), 18),
        (("--blur", "gauss:1", "--upscale", 2, "--sigma-y", 0.05), 0),
        (("--operator", "gauss:2"), 0),
        (("--operator", "kernel:kernel.png | mask:mask.png"), 34),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_damage_is_undone(run, options, mask_side, channels):
    """What was done to a picture is undone from the file alone, inside the frame that it shows."""
    clean = picture(36, channels=channels)
    clean.save("clean.png")
    Image.fromarray(np.eye(mask_side or 1, dtype=np.uint8) * 255).save("mask.png")
    Image.fromarray(np.eye(3, dtype=np.uint8) * 255).save("kernel.png")
    np.save("kernel.npy", np.ones((3, 1)) / 3)
    assert run("degrade", "clean.png", *options, "-o", ".")[0] == 0
    code, _, err = run("restore", "damaged.png", *options, "--samples", 2, "--steps", 20)
    assert code == 0, err
    mean = PosteriorSamples.load(Path("restored/samples.npz")).mean
    truth = np.asarray(clean, dtype=np.float32).reshape(36, 36, channels) / 127.5 - 1
    height, width = ((36 - side) // 2 for side in mean.shape[1:])
    truth = truth[height : height + mean.shape[1], width : width + mean.shape[2]]
    assert min(mean.shape[1:]) >= 18
    error = mean.numpy().transpose(1, 2, 0) - truth
    assert np.sqrt(np.mean(error**2)) < 0.15


def test_a_gray_picture_gets_colours(run):
    picture(12, channels=1).save("gray.png")
    code, out, _ = run("restore", "gray.png", "--colorize", *QUICK, "--json")
    assert code == 0
    assert json.loads(out)["shape"] == [3, 12, 12]
    mean = PosteriorSamples.load(Path("restored/samples.npz")).draws.double()
    luma = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]).double(), mean)
    given = torch.from_numpy(np.asarray(Image.open("gray.png"), dtype=np.float64)) / 127.5 - 1
    assert (luma - given).abs().max() < 1e-3


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("cells", "projected")]
)
def test_every_method_has_a_name(run, method):
    picture(8).save("damaged.png")
    code, out, err = run(
        "restore", "damaged.png", "--upscale", 2, "--method", method,
        "--denoise", 0 if method == "projection" else 10, "--samples", 1, "--steps", 2, "--json",
        *(("--set", "particles=2", "--set", "twist=pigdm") if method == "smc" else ()),
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["recipe"]["method"] == method


def test_a_recipe_repeats_an_earlier_output_to_the_bit(run):
    """Found noise, a mask, a setting and a method that auto stood for: all of it is in there."""
    picture().save("damaged.png")
    mask = Image.new("L", (24, 24))
    mask.putpixel((3, 4), 255)
    mask.save("mask.png")
    for k, options in enumerate(
        [
            ("--mask", "mask.png", "--upscale", 2, "--sigma-y", 0.05),
            ("--blur", "gauss:1", "--method", "pigdm", "--set", "eta=0.3", "--set", "solver=heun"),
            ("--denoise", 20, "--seed", 9),
        ]
    ):
        assert run("restore", "damaged.png", *options, *QUICK, "-o", f"first{k}")[0] == 0
        recipe = f"first{k}/recipe.toml"
        code, _, err = run("restore", "damaged.png", "--recipe", recipe, "-o", f"again{k}")
        assert code == 0, err
        first, again = (
            PosteriorSamples.load(Path(f"{name}{k}", "samples.npz")) for name in ("first", "again")
        )
        assert torch.equal(first.draws, again.draws)
        assert first.provenance["recipe"] == again.provenance["recipe"]
        assert Path(recipe).read_text() == Path(f"again{k}/recipe.toml").read_text()
    varied = run(
        "restore", "damaged.png", "--recipe", recipe, "--samples", 1, "--seed", 1, "--json"
    )
    assert json.loads(varied[1])["recipe"]["samples"] == 1


def test_what_is_said_beside_a_recipe_goes_before_it(run):
    """Another damage, or another method: nothing of the recipe's own is left of these."""
    picture().save("damaged.png")
    options = ("--denoise", 20, "--method", "pigdm", "--set", "solver=heun", *QUICK)
    assert run("restore", "damaged.png", *options, "-o", "first")[0] == 0
    varied = ("--denoise", 40, "--method", "ddrm", "--json", "-o", "second")
    code, out, err = run("restore", "damaged.png", "--recipe", "first/recipe.toml", *varied)
    assert code == 0, err
    told = json.loads(out)
    assert told["sigma_y"] == pytest.approx(80 / 255)
    assert set(told["recipe"]["settings"]) == {"eta", "eta_b"}
    assert "denoise = 40" in Path("second/recipe.toml").read_text()


def test_a_blur_is_undone_inside_the_frame_of_the_picture(run):
    """A photograph with its true surroundings, blurred by scipy: no border of artefacts."""
    from scipy.ndimage import gaussian_filter

    scene = np.asarray(picture(64, seed=3), dtype=np.float64)
    blurred = gaussian_filter(scene, (2, 2, 0))[16:48, 16:48]
    Image.fromarray(blurred.round().astype(np.uint8)).save("soft.png")
    code, out, err = run(
        "restore", "soft.png", "--blur", "gauss:2", "--sigma-y", 0.05, "--samples", 1,
        "--steps", 6, "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["shape"] == [3, 32, 32]
    draw = PosteriorSamples.load(Path("restored/samples.npz")).draws[0]
    error = draw.numpy().transpose(1, 2, 0) - (scene[16:48, 16:48] / 127.5 - 1)
    edge = np.ones((32, 32), dtype=bool)
    edge[3:-3, 3:-3] = False
    assert np.sqrt(np.mean(error[edge] ** 2)) < 2 * np.sqrt(np.mean(error[~edge] ** 2))


def test_holes_and_noise_are_found(run):
    clean = picture()
    holes = clean.convert("RGBA")
    holes.putpixel((3, 4), (0, 0, 0, 0))
    holes.save("holes.png")
    code, out, err = run("restore", "holes.png", *QUICK, "--json")
    assert code == 0
    assert json.loads(out)["operator"] == "mask"
    assert "1 transparent pixel" in err
    noise = np.random.default_rng(0).normal(0, 20, (24, 24, 3))
    Image.fromarray((np.asarray(clean) + noise).clip(0, 255).astype(np.uint8)).save("noisy.png")
    code, out, err = run("restore", "noisy.png", *QUICK, "--json")
    assert code == 0
    assert json.loads(out)["sigma_y"] * 127.5 == pytest.approx(20, rel=0.3)


def test_sixteen_bits_stay_sixteen(run):
    sixteen_bits().save("fine.png")
    assert run("restore", "fine.png", "--denoise", 5, *QUICK)[0] == 0
    written = np.asarray(Image.open("restored/mean.png"))
    assert written.dtype == np.uint16
    mean = PosteriorSamples.load(Path("restored/samples.npz")).mean[0].clamp(-1, 1)
    assert np.abs(written - (mean.numpy() + 1) * 32767.5).max() <= 1


def test_no_stale_sample_stays_among_new_ones(run):
    picture(8).save("damaged.png")
    Path("restored").mkdir()
    Path("restored/notes.txt").write_text("of the user")
    for samples in (4, 2):
        options = ("--denoise", 20, "--steps", 1, "--samples", samples)
        assert run("restore", "damaged.png", *options)[0] == 0
    assert sorted(path.name for path in Path("restored/samples").glob("*.png")) == [
        "000.png",
        "001.png",
    ]
    assert Path("restored/notes.txt").read_text() == "of the user"


def test_a_seed_reproduces_and_more_samples_extend(run):
    picture(8).save("damaged.png")
    options = ("restore", "damaged.png", "--denoise", 30, "--steps", 3)
    run(*options, "--samples", 1, "-o", "one")
    run(*options, "--samples", 3, "-o", "three")
    run(*options, "--samples", 1, "--seed", 1, "-o", "other")
    one, three, other = (
        PosteriorSamples.load(Path(name, "samples.npz")).draws
        for name in ("one", "three", "other")
    )
    torch.testing.assert_close(one[0], three[0], rtol=0, atol=1e-5)  # another batch
    assert not torch.equal(one[0], other[0])


def write_png_header(path, width, height):
    """A PNG whose header promises this size, and nothing else."""
    import struct
    import zlib

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body)


def bad_files():
    picture().save("good.png")
    whole = Path("good.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("this is no picture\n")
    Path("empty.png").write_bytes(b"")
    Path("folder.png").mkdir()
    write_png_header("huge.png", 20_000, 20_000)
    picture(12).save("smaller.png")
    picture().convert("CMYK").save("cmyk.jpg")
    np.save("nan.npy", np.full((8, 8, 3), np.nan))
    np.save("far.npy", np.full((8, 8, 3), 200.0))
    np.save("flat.npy", np.zeros(8))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("text.npz").write_text("no archive")
    Path("locked").write_text("a file, not a folder")
    Path("prior.safetensors").write_text("no prior")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.png", "--denoise", 9), "does not exist"),
        (("cut.png", "--denoise", 9), "is broken"),
        (("text.png", "--denoise", 9), "is not one that can be read"),
        (("empty.png", "--denoise", 9), "0 bytes"),
        (("folder.png", "--denoise", 9), "is a folder"),
        (("huge.png", "--denoise", 9), "megapixels"),
        (("cmyk.jpg", "--denoise", 9), "Convert it to sRGB"),
        (("nan.npy", "--denoise", 9), "finite numbers"),
        (("far.npy", "--denoise", 9), "x / 127.5 - 1"),
        (("flat.npy", "--denoise", 9), "numpy.moveaxis"),
        (("objects.npy", "--denoise", 9), "numpy.save"),
        (("text.npz",), "hdagger degrade"),
        (("good.png", "--mask", "smaller.png"), "a mask of 24 x 24"),
        (("good.png", "--mask", "missing.png"), "does not exist"),
        (("good.png", "--denoise", 9, "--steps", 0), "--steps"),
        (("good.png", "--denoise", 9, "--samples", 0), "from 1 to 1000"),
        (("good.png", "--denoise", 9, "--method", "magic"), "auto, quick, drawn"),
        (("good.png", "--denoise", 9, "--prior", "magic"), "hdagger priors"),
        (("good.png", "--denoise", 9, "--prior", "prior.safetensors"), "hdagger train"),
        (("good.png", "--denoise", -1), "from 0 to 10"),
        (("good.png", "--denoise", "nan"), "from 0 to 10"),
        (("good.png", "--denoise", 9, "--sigma-y", 0.1), "Leave one out"),
        (("good.png", "--upscale", 99), "1 to 16"),
        (("good.png", "--upscale", 2, "--kernel", "sinc"), "box or bicubic"),
        (("good.png", "--blur", "gauss:x"), "a deviation in pixels"),
        (("good.png", "--blur", "motion:5,x"), "an angle in degrees"),
        (("good.png", "--blur", "good.png", "--upscale", "two"), "hdagger --help"),
        (("good.png", "--colorize"), "Save it as grayscale"),
        (("good.png", "--denoise", 9, "-o", "locked"), "Choose another with -o"),
        (("good.png", "--denoise", 9, "--sparkle"), "hdagger --help"),
        (("good.png", "--upscale", 2, "--kernel", "sinc"), "--kernel box or bicubic"),
        (("good.png", "--denoise", 9, "--kernel", "bicubic"), "--upscale"),
        (("good.png", "--denoise", 9, "--guidance", 2), "--label"),
        (("good.png", "--denoise", 9, "--set", "eta=1"), "--method"),
        (("good.png", "--denoise", 9, "--method", "ddrm", "--set", "eta"), "NAME=VALUE"),
        (("good.png", "--denoise", 9, "--method", "ddrm", "--set", "zeta=1"), "eta, eta_b"),
        (("good.png", "--denoise", 9, "--method", "ddrm", "--set", "eta=2"), "[0, 1]"),
        (("good.png", "--operator", "none:42", "--denoise", 9), "none"),
        (("good.png", "--operator", "jpeg:10", "--sigma-y", 0.1), "round"),
        (("good.png", "--recipe", "missing.toml"), "does not exist"),
        (("good.png", "--recipe", "text.png"), "TOML"),
        ((), "hdagger --help"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_line_and_leaves_nothing(run, arguments, says):
    bad_files()
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    code, out, err = run("restore", *arguments)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert says in err
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert after == before


def sixteen_bits():
    return Image.fromarray((np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("one.png", lambda: picture(8).resize((1, 1))),
        ("row.png", lambda: picture(8).resize((9, 1))),
        ("sixteen.png", sixteen_bits),
        ("palette.png", lambda: picture(8).convert("P")),
        ("alpha.png", lambda: picture(8).convert("RGBA")),
        ("gray-alpha.png", lambda: picture(8).convert("LA")),
        ("bits.png", lambda: picture(8).convert("1")),
        ("photo.webp", lambda: picture(8)),
        ("photo.tif", lambda: picture(8)),
    ],
)
def test_unusual_pictures_are_handled(run, name, make):
    make().save(name)
    code, out, err = run("restore", name, "--denoise", 20, *QUICK, "--json")
    assert code == 0, err
    height_width = [make().height, make().width]
    assert json.loads(out)["shape"][1:] == height_width


def test_a_float_array_is_a_picture(run):
    np.save("picture.npy", np.zeros((6, 9, 3), dtype=np.float32))
    code, out, err = run("restore", "picture.npy", "--denoise", 20, *QUICK, "--json")
    assert code == 0, err
    assert json.loads(out)["shape"] == [3, 6, 9]


def test_a_sideways_photograph_is_turned(run):
    image = picture(8).resize((10, 6))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save("turned.jpg", exif=exif)
    _, out, _ = run("restore", "turned.jpg", "--denoise", 20, *QUICK, "--json")
    assert json.loads(out)["shape"] == [3, 10, 6]


def test_degrade_refuses_what_it_cannot_do(run):
    picture(9).save("clean.png")
    for arguments, says in ((("--upscale", 2), "8 x 8"), ((), "Wanted a damage")):
        code, _, err = run("degrade", "clean.png", *arguments)
        assert code == 2
        assert says in err
        assert len(err.strip().splitlines()) == 1


def test_a_seed_damages_again_in_the_same_way(run):
    picture(8).save("clean.png")
    data = []
    for k, seed in enumerate((3, 3, 4)):
        assert run("degrade", "clean.png", "--sigma-y", 0.1, "--seed", seed, "-o", f"d{k}")[0] == 0
        data.append(Measurement.load(Path(f"d{k}", "measurement.npz")).y)
    assert torch.equal(data[0], data[1])
    assert (data[0] - data[2]).abs().mean() > 0.05


def test_the_bundled_priors_are_listed(run):
    code, out, _ = run("priors")
    assert code == 0
    for word in ("photo", "licence", "sha256", "recipe", "evaluation"):
        assert word in out


@pytest.mark.parametrize("command", ["restore", "degrade", "train", "priors"])
def test_help_has_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"hdagger {command}" in out


HEAVY = (
    "torch",
    "numpy",
    "PIL",
    "jaxtyping",
    "matplotlib",
    "mujoco",
    "diffusers",
    "scipy",
    "astropy",
)


REFUSED = """
restore missing.png
restore good.png --samples 0
restore good.png --steps -3
restore good.png --seed -1
restore good.png --method magic
restore good.png --guidance 3
restore good.png --label 3
restore good.png --prior magic
restore good.png --prior missing.safetensors
restore good.png --recipe missing.toml
restore good.png --recipe bad.toml
restore good.png --kernel sinc --upscale 2
restore good.png --upscale 99
restore good.png --denoise nan
restore good.png --mask missing.png
restore good.png --blur missing.png
restore good.png --blur gauss:much
restore good.png --blur motion:0,30
restore good.png --blur motion:15,up
restore good.png --blur disk:0
restore good.png --operator averge:4
restore good.png --operator none:42
restore good.png --operator gray:3
restore good.png --operator average:2.5
restore good.png --operator bicubic:99
restore good.png --operator gauss:999,mirror
restore good.png --operator kernel:missing.npy
restore good.png --operator kernel
restore good.png --operator jpeg:500
restore good.png --operator jpeg:10,9:9:9
restore good.png --operator bits:99
restore good.png --operator clip:-1
restore good.png --operator gamma:x
restore good.png --set eta=1
restore good.png --method ddrm --set eta
restore good.png --method ddrm --set colour=red
restore good.png --method ddrm --set eta_b=much
restore good.png --method ddrm --set eta_b=7
restore good.png --method drawn --set eta=2
restore good.png --method pigdm --set solver=magic
restore good.png --method pigdm --set data_variance=0
restore good.png --method projection --set schedule=sometimes
restore good.png --method smc --set twist=magic
restore good.png --method smc --set twist.eta=9
restore good.png --method smc --set twist=pigdm --set twist.iterations=5
degrade missing.png
degrade good.png
degrade good.png --operator none:42
degrade good.png --blur missing.png
degrade good.png --denoise 20 --seed -1
check --operator averge:4
check --operator average:much
check --method ddrm --set colour=red
check --prior magic
check --domain magic
check --pictures .
check --prior photo --pictures missing
check --simulations -5
bench mixture --dim 7
bench field --nfe 1
bench sparsity --samples 3
bench motion --schedule sometimes
bench talk --pictures missing -o out
priors add x --from missing.pt
priors add x --from model.pkl
priors add photo --from missing.pt
priors check magic
priors calibrate magic --pictures .
priors calibrate photo --pictures missing
priors calibrate photo --pictures . --count 1
priors calibrate photo --pictures . --domain magic
ct restore missing.npy
ct restore good.png --prior magic
ct restore good.png --method ddrm --set colour=red
ct train missing.toml
mri restore missing.h5
mri restore good.png --prior magic
mri restore good.png --method ddrm --set eta=2
mri train missing.toml
lens restore missing.fits --lens lens.toml
lens restore good.png --lens good.png --method ddrm --set eta=2
lens train missing.toml
motion sample --method magic
motion sample --method ddrm --set colour=red
motion sample --physics sometimes
motion denoise missing.bvh
motion inbetween missing.bvh --keep 0:10
motion train missing.toml
batch missing -o out
batch good.png -o out --recipe bad.toml
batch good.png -o out --domain magic
batch good.png -o out --shard 9/8
batch good.png -o out --workers 0
serve --port -1
serve --prior magic
train missing.toml
train bad.toml
compare missing
compare missing absent
report missing
""".strip().splitlines()
"""Command lines that are refused before anything heavy is imported: one more is one line more.

Slower are refusals that take a look into a file (a picture that is none, a mask of another
size), or whose right words stand beside what they name (the contenders of ``bench mixture``, the
settings of a training plan), and what settings must be together, which is the method's own code.
"""


def runs(lines):
    """A program that runs command lines one after the other, and says of each how it ended and
    what heavy things it was the first to import."""
    return (
        "import sys; from hdagger.cli.main import main; codes = []; seen = set()\n"
        f"for line in {lines!r}:\n"
        "    sys.argv[1:] = line.split()\n"
        "    try: main()\n    except SystemExit as end: codes.append(end.code)\n"
        f"    new = {{name for name in {HEAVY} if name in sys.modules}} - seen; seen |= new\n"
        "    if new: print(line, 'imports', sorted(new), file=sys.stderr)\n"
        "print(codes, file=sys.stderr)"
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["", *(f"{name} --help" for name in ("restore", "check", "motion", "lens", "bench"))], 0),
        (REFUSED, 2),
    ],
    ids=["help", "refusals"],
)
def test_help_and_what_needs_no_network_import_nothing_heavy(tmp_path, lines, expected):
    """It is what makes them start at once."""
    (tmp_path / "good.png").write_bytes(b"not looked at")
    (tmp_path / "bad.toml").write_text("method = [")
    done = subprocess.run(
        [sys.executable, "-c", runs(lines)], cwd=tmp_path, capture_output=True, text=True
    )
    *said, codes = done.stderr.splitlines()
    assert not [line for line in said if " imports [" in line]
    assert codes == str([expected] * len(lines)), said


def test_the_public_names_load_and_are_typed():
    import hdagger

    assert set(hdagger.__all__) <= set(dir(hdagger))
    assert Path(hdagger.__file__).with_name("py.typed").exists()
    stated = set(re.findall(r"import \w+ as (\w+)", Path(hdagger.__file__).read_text()))
    assert stated == set(hdagger.__all__)
    assert callable(hdagger.solve)
    assert callable(hdagger.restore)


def test_importing_hdagger_is_light():
    code = "import sys, hdagger; print([name for name in ('torch', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
