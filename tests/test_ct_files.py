"""Sinograms in files, the commands; and what is wrong with each."""

import json
import math

import numpy as np
import pytest
import torch
from pages import is_made_again

from hdagger.domains.ct.domain import CT
from hdagger.domains.ct.phantom import chest
from hdagger.domains.ct.projector import Projector, water
from hdagger.domains.ct.reading import read, read_truth
from hdagger.domains.ct.scan import Fan, Frame, Parallel, Scan
from hdagger.domains.ct.simulation import Plan, hounsfield, read_slices, simulate_phantom
from hdagger.domains.ct.sinograms import GRID, Said, photons_shown, read_sinogram
from hdagger.errors import HDaggerError
from hdagger.priors import zoo
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samples import PosteriorSamples
from hdagger.volumes import read_volume, write_nifti

h5py = pytest.importorskip("h5py")

MADE = simulate_phantom(Plan(views=20, i0=1e5, pixels=64, seed=2))
P = -(MADE.counts.clamp(min=1) / 1e5).log().numpy()
GOOD = {
    "counts": MADE.counts.numpy(),
    "i0": 1e5,
    "angles": np.array(MADE.scan.angles),
    "bin": 4.56,
    "offset": 0.0,
    "source_to_axis": np.inf,
}
"""A sinogram, all well."""


def written(folder, name="s.npz", without=(), **said):
    """A file like GOOD but for what is said."""
    arrays = {k: v for k, v in (GOOD | said).items() if k not in without}
    if name.endswith(".npz"):
        np.savez(folder / name, **arrays)
    else:
        with h5py.File(folder / name, "w") as file:
            for key, value in arrays.items():
                if np.ndim(value):
                    file[key] = value
                else:
                    file.attrs[key] = value
    return folder / name


def line_integrals(folder, **said):
    said = {"line_integrals": P} | said
    return written(folder, without=("counts", *said.pop("without", ())), **said)


@pytest.mark.parametrize("name", ["s.npz", "s.h5"])
def test_a_reading_holds_the_line_integrals_and_their_noise(tmp_path, name):
    found = read(written(tmp_path, name, pixel=4.56), Said(), pixels=64)
    assert found.scan == MADE.scan
    (measurement,) = found.measurements
    assert measurement.domain == "ct"
    assert measurement.signal_shape == (1, 64, 64)
    known = water(Projector(MADE.scan)).numpy()
    np.testing.assert_allclose(measurement.y, P[0] - known, atol=1e-12)
    grid = GRID * 0.0206 * 4.56
    np.testing.assert_allclose(measurement.sigma_y**2, 1 / GOOD["counts"][0] + grid**2)
    assert "64 x 64 pixels of 4.56 mm" in found.notes


def test_the_noise_is_at_most_what_is_said(tmp_path):
    """What a slice and its pixels differ by was measured on another body."""
    (measurement,) = read(written(tmp_path, pixel=4.56), Said(), pixels=64).measurements
    assert CT.posed(measurement, zoo.card("chest"), None).problem.at_most


def test_counts_are_line_integrals_with_their_noise(tmp_path):
    counts = read_sinogram(written(tmp_path), Said())
    said = read_sinogram(written(tmp_path, without=("i0",)), Said(counts=1e5))
    named = read_sinogram(line_integrals(tmp_path, line_integrals=GOOD["counts"]), Said(1e5))
    for found in (said, named):
        torch.testing.assert_close(found.p, counts.p)
        torch.testing.assert_close(found.noise, counts.noise)
    bins = read_sinogram(written(tmp_path, i0=np.full(91, 1e5)), Said())
    torch.testing.assert_close(bins.p, counts.p)
    found = read_sinogram(line_integrals(tmp_path), Said())
    torch.testing.assert_close(found.noise, counts.noise)
    found = read_sinogram(line_integrals(tmp_path, without=("i0",)), Said(i0=1e5))
    torch.testing.assert_close(found.noise, counts.noise)
    found = read_sinogram(line_integrals(tmp_path, without=("i0",), sigma=0.1), Said())
    assert (found.noise == 0.1).all()


def test_rays_without_photons_and_nan_say_nothing(tmp_path):
    counts = GOOD["counts"].copy()
    counts[0, 3, 40:47] = 0
    counts[0, 4, 10] = np.nan
    found = read(written(tmp_path, counts=counts), Said(), 64)
    assert "7 rays have no photons and are dropped" in found.notes
    assert "8 of 1820 rays say nothing" in found.notes
    noise = found.measurements[0].sigma_y
    assert int(noise.isinf().sum()) == 8
    assert found.measurements[0].y.isfinite().all()
    p = P.copy()
    p[0, 4, 10] = np.nan
    noise = read_sinogram(line_integrals(tmp_path, line_integrals=p), Said()).noise
    assert int(noise.isinf().sum()) == 1


def test_a_grid_holds_the_body_where_nobody_says_its_pixels(tmp_path):
    found = read(written(tmp_path), Said(), 64)
    assert 230 < 64 * found.scan.frame.pixel < 300
    assert read(written(tmp_path), Said(), 64, pixel=3.0).scan.frame.pixel == 3
    half = read(written(tmp_path, bin=2.28), Said(), 64).scan.frame.pixel
    assert half == pytest.approx(found.scan.frame.pixel / 2)


def test_fans_angles_in_degrees_and_slices(tmp_path):
    p = np.repeat(P, 3, 0)
    path = line_integrals(
        tmp_path, line_integrals=p, source_to_axis=500.0, source_to_detector=1000.0, offset=2.0,
        angles=np.degrees(GOOD["angles"]), affine=np.diag([-4.56, 4.56, 3, 1]),
    )  # fmt: skip
    found = read(path, Said(degrees=True), 64, number=1)
    assert found.scan.detector == Fan(91, 4.56, 2.0, 500.0, 1000.0)
    assert found.scan.angles == pytest.approx(MADE.scan.angles)
    assert len(found.measurements) == 1
    assert found.affine[:, 3].tolist() == [0, 0, 3, 1]
    assert len(read(path, Said(degrees=True), 64).measurements) == 3


@pytest.mark.parametrize("shift", [-3, 2])
@pytest.mark.parametrize("views", [20, 40])
def test_the_offset_of_a_detector_is_found(tmp_path, shift, views):
    scan = Scan(Frame(64, 64, 4.56), Parallel(91, 4.56, 1.0), tuple(0.1 * k for k in range(views)))
    p = np.stack([chest(1).line_integrals(scan, t, 1)[:, 0] for t in scan.angles])
    moved = np.roll(p, shift, 1)  # what lay at a bin's place lies elsewhere
    said = {"angles": np.array(scan.angles), "line_integrals": moved}
    with pytest.raises(HDaggerError, match="--offset") as told:
        read_sinogram(line_integrals(tmp_path, offset=1.0, **said), Said())
    offset = float(str(told.value).split("--offset ")[1].split(",")[0])
    assert offset == pytest.approx(1.0 - 4.56 * shift, abs=0.4)
    read_sinogram(line_integrals(tmp_path, offset=1.0, **said), Said(offset=offset))


def test_the_grain_of_views_shows_their_photons():
    assert photons_shown(torch.from_numpy(P).double()) == pytest.approx(1e5, rel=0.3)


BAD = {
    "no file": (lambda f: f / "none.npz", "does not exist"),
    "no sinogram": (lambda f: written(f, without=("counts",)), "Wanted counts or line_integrals"),
    "no angles": (lambda f: written(f, without=("angles",)), "Wanted angles"),
    "no width": (lambda f: written(f, without=("bin",)), "Wanted bin, one number"),
    "no offset": (lambda f: written(f, without=("offset",)), "Wanted offset, one number"),
    "no beam": (lambda f: written(f, without=("source_to_axis",)), "Wanted source_to_axis"),
    "half a fan": (lambda f: written(f, source_to_axis=500.0), "Wanted source_to_detector"),
    "no photons in air": (lambda f: written(f, without=("i0",)), "Give --i0, such as --i0 1.01e"),
    "no noise": (
        lambda f: line_integrals(f, without=("i0",)),
        r"no i0 and no sigma. Give --i0 \de\+0\d, which the grain",
    ),
    "degrees": (lambda f: written(f, angles=np.degrees(GOOD["angles"])), "give --degrees"),
    "turned": (
        lambda f: written(f, counts=GOOD["counts"].swapaxes(1, 2)),
        "Transpose its last two axes",
    ),
    "too many angles": (lambda f: written(f, angles=np.arange(5.0) / 5), "Cut the angles"),
    "counts as line integrals": (
        lambda f: line_integrals(f, line_integrals=GOOD["counts"]),
        "reach 100999, as counts do. Give --counts I0",
    ),
    "shares as line integrals": (
        lambda f: line_integrals(f, line_integrals=np.exp(-P)),
        "fall from 0.999 at the rim to",
    ),
    "shares as counts": (lambda f: written(f, counts=np.exp(-P)), "as of a share"),
    "negative counts": (lambda f: written(f, counts=-GOOD["counts"]), "counts of 0 or more"),
    "nothing seen": (lambda f: written(f, counts=0 * GOOD["counts"]), "as of a share"),
    "nothing at all": (lambda f: written(f, counts=np.nan * GOOD["counts"]), "has none"),
    "dark": (
        lambda f: written(f, counts=np.stack([GOOD["counts"][0], 0 * GOOD["counts"][0]])),
        "a slice of .* has none",
    ),
    "i0 of another size": (lambda f: written(f, i0=np.ones(3)), "Wanted one i0"),
    "i0 of nothing": (lambda f: written(f, i0=0.0), "i0 above 0"),
    "sigma of another size": (
        lambda f: line_integrals(f, without=("i0",), sigma=np.ones(3)),
        "Wanted one sigma",
    ),
    "sigma of nothing": (
        lambda f: line_integrals(f, without=("i0",), sigma=0.0),
        "sigma above 0",
    ),
    "an offset of a metre": (lambda f: written(f, offset=1000.0), "more than its 414.96 mm"),
    "no width at all": (lambda f: written(f, bin=0.0, offset=0.0), "2 to 100000 bins"),
    "an axis beyond the detector": (
        lambda f: written(f, source_to_axis=500.0, source_to_detector=400.0),
        "an axis between source and detector",
    ),
    "angles that are not": (lambda f: written(f, angles=GOOD["angles"] * np.nan), "finite angles"),
    "an affine of 3": (lambda f: written(f, affine=np.eye(3)), "4 x 4 numbers"),
    "texts": (lambda f: written(f, bin="wide"), "Wanted bin, one number"),
    "no HDF5": (lambda f: (f / "s.h5").write_text("x") and f / "s.h5", "not one that can be read"),
    "a group": (lambda f: grouped(f), "angles is no plain dataset"),
}


def grouped(folder):
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_group("angles")
    return folder / "s.h5"


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_told_in_one_line(tmp_path, case):
    make, words = BAD[case]
    with pytest.raises(HDaggerError, match=words) as told:
        read(make(tmp_path), Said(), 64)
    assert str(told.value).startswith("Wanted")
    assert "\n" not in str(told.value)


def test_a_body_beyond_the_detector_is_told(tmp_path):
    counts = GOOD["counts"][..., 22:-22]
    found = read(written(tmp_path, counts=counts), Said(), 64)
    assert any("reaches beyond the detector in" in note for note in found.notes)


@pytest.mark.parametrize("ends", [[], [0], [-1], [0, -1]])
def test_views_that_see_the_body_in_an_outermost_bin_are_counted(tmp_path, ends):
    counts = GOOD["counts"].copy()
    counts[:, 3, ends] = counts.min()
    notes = " ".join(read(written(tmp_path, counts=counts), Said(), 64).notes)
    assert ("reaches beyond the detector in 1 of 20 views" in notes) == bool(ends)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0, 4071, "not rescaled. Add their RescaleIntercept"), (-3024, 1000, "there is padding")],
)
def test_values_that_are_no_hu_are_told(low, high, words):
    with pytest.raises(HDaggerError, match=words):
        hounsfield(torch.linspace(low, high, 8).view(1, 2, 4), "x.nii")
    assert hounsfield(torch.full((1, 1, 1), -1000.0), "x.nii") == -1


@pytest.fixture
def volume(tmp_path):
    """A CT of three slices, 64 x 64 pixels of 4.56 mm, 5 mm apart."""
    picture = chest(0).picture(Frame(64, 64, 4.56))
    hu = 1000 * torch.stack([picture, picture.flip(1), picture]).float()
    affine = np.array([[-4.56, 0, 0, 10], [0, -4.56, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "ct.nii.gz", hu, affine)
    return tmp_path / "ct.nii.gz"


def test_slices_of_a_volume_lie_where_they_did(volume, tmp_path):
    whole, one = read_slices(volume), read_slices(volume, 2)
    assert len(whole.x) == 3
    assert whole.pixel == pytest.approx(4.56)
    torch.testing.assert_close(one.x[0], whole.x[2])
    np.testing.assert_allclose(
        one.affine @ [5, 6, 0, 1], read_volume(volume).affine @ [5, 6, 2, 1]
    )
    with pytest.raises(HDaggerError, match="a slice from 0 to 2"):
        read_slices(volume, 3)
    write_nifti(tmp_path / "thin.nii", torch.full((1, 8, 8), -1000.0), np.diag([1.0, 2, 3, 1]))
    with pytest.raises(HDaggerError, match="square pixels"):
        read_slices(tmp_path / "thin.nii")


def tiny(path):
    """A prior that has learned nothing, in its file."""
    torch.manual_seed(0)
    UNetDenoiser(UNetShape(channels=1, widths=(8, 16), embedding=8, heads=2)).save(path)
    return path


def test_simulate_and_restore_by_command(run, tmp_path):
    prior = tiny(tmp_path / "tiny.safetensors")
    code, out, err = run("ct", "simulate", "--pixels", 32, "--views", 12, "--arc", 90, "-o", "sim")
    assert code == 0, err
    command = out.split("Next: hdagger ")[1].split(" -o out")[0].split()
    more = ["--pixels", 32, "--prior", prior, "--samples", 2, "--steps", 3, "--json", "-o", "out"]
    code, out, err = run(*command, *more)
    assert code == 0, err
    assert "32 x 32 pixels of 9.12 mm" in err
    assert "98 degrees of 180 were not seen" in err
    summary = json.loads(out)
    assert summary["method"] == "pigdm"
    assert {"rmse_hu", "coverage", "coverage_unseen", "bias_hu_lung"} <= summary["truth"].keys()
    assert summary["std_unseen_over_seen"] > 0
    folder = tmp_path / "out"
    for name in [
        "report.html",
        "mean.npy",
        "std.npy",
        "summary.json",
        "recipe.toml",
        "measurement.npz",
    ]:
        assert (folder / name).stat().st_size > 0
    samples = PosteriorSamples.load(folder / "samples.npz")
    assert samples.draws.shape == (2, 1, 32, 32)
    assert samples.provenance["units"] == "HU"
    mean = np.load(folder / "mean.npy")
    np.testing.assert_allclose(mean, samples.mean.numpy(), rtol=1e-5, atol=1e-3)
    truth = np.load(tmp_path / "sim/truth.npy")
    assert truth.min() == -1000
    assert samples.mean.mean() < -100  # in HU, most of it air
    page = (folder / "report.html").read_text()
    assert "no medical device" in page
    assert "Lung, -1350 to 150 HU" in page
    assert "filtered back projection" in page


def test_a_volume_is_restored_slice_by_slice_where_it_lies(run, volume, tmp_path):
    prior = tiny(tmp_path / "tiny.safetensors")
    code, _, err = run("ct", "simulate", volume, "--pixels", 32, "--views", 8, "-o", "sim")
    assert code == 0, err
    shared = ["--pixels", 32, "--prior", prior, "--samples", 2, "--steps", 2]
    shared += ["--truth", "sim/truth.nii.gz"]
    assert run("ct", "restore", "sim/sinogram.npz", *shared, "-o", "all")[0] == 0
    assert run("ct", "restore", "sim/sinogram.npz", *shared, "--slice", 1, "-o", "one")[0] == 0
    every, alone = (read_volume(tmp_path / name / "mean.nii.gz") for name in ("all", "one"))
    torch.testing.assert_close(alone.values[0], every.values[1], rtol=1e-4, atol=0.5)
    assert alone.affine[2, 3] == every.affine[2, 3] + 5
    truth = read_volume(tmp_path / "sim/truth.nii.gz")
    np.testing.assert_allclose(truth.affine, every.affine, atol=1e-5)
    assert truth.affine[:3, 3] == pytest.approx([10 - 2.28, 20 - 2.28, 30], abs=1e-4)
    summary = json.loads((tmp_path / "all/summary.json").read_text())
    assert [row["slice"] for row in summary["slices"]] == [0, 1, 2]
    errors = [row["truth"]["rmse_hu"] for row in summary["slices"]]
    assert summary["truth"]["rmse_hu"] == pytest.approx(sum(errors) / 3)
    assert (tmp_path / "all/measurement-0002.npz").is_file()
    for name, title in (("all", "3 slices from their projections"), ("one", "A slice from its")):
        assert title in (tmp_path / name / "report.html").read_text()
        assert is_made_again(tmp_path / name)


def test_a_slice_has_a_truth_of_its_own(tmp_path):
    path = written(tmp_path, counts=np.repeat(GOOD["counts"], 3, 0), pixel=4.56)
    hu = np.stack([np.full((64, 64), value) for value in (-1000.0, 0.0, 500.0)])
    np.save(tmp_path / "t.npy", hu)
    for number, value in ((0, -1), (1, 0), (2, 0.5)):
        truth = read_truth(tmp_path / "t.npy", read(path, Said(), 64, number=number))
        assert truth.shape == (1, 64, 64)
        assert (truth == value).all()
    assert len(read_truth(tmp_path / "t.npy", read(path, Said(), 64))) == 3


def test_a_slice_is_a_job(tmp_path):
    path = written(tmp_path, counts=np.repeat(GOOD["counts"], 2, 0), pixel=4.56)
    job = CT.job(path, {"pixels": 32, "number": 1})
    assert job.measurement.signal_shape == (1, 32, 32)
    assert "32 x 32 pixels of 4.56 mm" in job.notes
    with pytest.raises(HDaggerError, match="one slice a job"):
        CT.job(path, {"pixels": 32})
    with pytest.raises(HDaggerError, match="but got lens"):
        CT.job(path, {"lens": 1})


def test_a_truth_of_another_size_is_told(tmp_path):
    reading = read(written(tmp_path), Said(), 64)
    np.save(tmp_path / "t.npy", np.full((1, 8, 8), -1000.0))
    with pytest.raises(HDaggerError, match="slices of 64 x 64 pixels"):
        read_truth(tmp_path / "t.npy", reading)
    (tmp_path / "t.npy").write_text("x")
    with pytest.raises(HDaggerError, match="Wanted slices in HU"):
        read_truth(tmp_path / "t.npy", reading)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["restore", "s.npz", "--pixels", 4], "16 to 512 pixels"),
        (["restore", "s.npz", "--pixel-size", 0], "pixels of 0.001"),
        (["restore", "s.npz", "--counts", 1], "got --counts 1"),
        (["restore", "s.npz", "--i0", 0], "got --i0 0"),
        (["restore", "s.npz", "--steps", 0], "1 step or more"),
        (["restore", "s.npz"], "s.npz does not exist"),
        (["restore", "good.npz", "--slice", 1], "a slice from 0 to 0"),
        (["restore", "good.npz", "--counts", 100, "--i0", 100], "got both"),
        (["simulate", "--views", 0], "1 to 3600 views"),
        (["simulate", "--arc", 400], "360 degrees"),
        (["simulate", "--i0", 1], "10 to 1e12"),
        (["simulate", "--pixels", 1], "16 to 512"),
        (["simulate", "--seed", -1], "a seed of 0"),
        (["simulate", "none.nii"], "none.nii does not exist"),
        (["train", "none.toml"], "none.toml does not exist"),
    ],
)
def test_bad_commands_are_one_line_and_code_2(run, tmp_path, arguments, words):
    written(tmp_path, "good.npz")
    code, _, err = run("ct", *arguments)
    assert code == 2
    assert words in " ".join(err.split())


def test_a_fan_s_opening_is_between_its_outer_rays():
    fan = Fan(101, 2.0, 0.0, 300.0, 600.0)
    assert fan.opening == pytest.approx(2 * math.atan(100 / 600))
