"""Raw data as scanners write them, maps, the commands; and what is wrong with each."""

import json
import re

import numpy as np
import pytest
import torch
from pages import is_made_again
from PIL import Image
from test_mri import SIMULATED, close, disc, randc

from hdagger.domain import DOMAINS
from hdagger.domains.mri.coils import covariance
from hdagger.domains.mri.domain import SCANS
from hdagger.domains.mri.judgement import object_in
from hdagger.domains.mri.kspace import to_image, to_kspace
from hdagger.domains.mri.pages import HEADER, write_simulation
from hdagger.domains.mri.raw import Raw, numbers_in, sampling_of, without_oversampling
from hdagger.domains.mri.raw_fastmri import Header
from hdagger.domains.mri.reading import open_raw, read, read_truth, rim_of
from hdagger.domains.mri.simulation import read_slices
from hdagger.errors import FileError, HDaggerError, SettingError
from hdagger.measurement import Measurement
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samples import PosteriorSamples

h5py = pytest.importorskip("h5py")
pytest.importorskip("nibabel")


@pytest.fixture
def folder(tmp_path):
    """A simulated scan, all well."""
    write_simulation(tmp_path, SIMULATED, "a disc")
    return tmp_path


def readings(folder, **said):
    named = {"maps": str(folder / "maps.npy"), "sigma": 0.02} | said
    return read(open_raw(folder / "kspace.h5"), 0, **named)


def changed(folder, **datasets):
    """The file with other datasets; None takes one away."""
    with h5py.File(folder / "kspace.h5", "a") as file:
        for name, values in datasets.items():
            if name in file:
                del file[name]
            if values is not None:
                file[name] = values
    return folder


def test_a_reading_holds_k_space_without_what_the_readout_oversampled(folder):
    found = readings(folder)
    y = found.measurement.y
    assert found.measurement.domain == "mri"
    assert str(found.scan) == "image:48,48 | coils:6 | lines"
    expected = without_oversampling(SIMULATED.kspace[0], 48)
    close(y, torch.where(SIMULATED.mask, expected, 0), 1e-5)
    assert torch.equal(found.measurement.arrays["mask"], SIMULATED.mask)
    assert "simulated: a disc" in found.notes
    assert "readout oversampled: the middle 48 rows are kept" in found.notes
    found.measurement.save(folder / "m.npz")
    again = Measurement.load(folder / "m.npz")
    H = SCANS.operator(again.operator, again.signal_shape, again.arrays)
    assert H.rank == 2 * 6 * 48 * 16


def test_the_readout_is_cropped_in_the_image_and_noise_stays_as_it_is():
    wide, noise = randc(2, 40, 6), randc(1, 400, 50)
    close(to_image(without_oversampling(wide, 20)), to_image(wide)[:, 10:30])
    thin = without_oversampling(noise, 200)
    assert float(thin.abs().square().mean() / 2) == pytest.approx(1, abs=0.03)


def test_padded_columns_are_masked_though_the_mask_has_them(folder):
    header = HEADER.format(readout=96, rows=48, columns=48, last=37, centre=22)
    every = np.ones(48, bool)
    found = readings(changed(folder, ismrmrd_header=header, mask=every))
    inside = torch.zeros(48, dtype=torch.bool)
    inside[2:40] = True
    assert torch.equal(found.measurement.arrays["mask"], inside)
    assert "10 padded columns of k-space are masked" in found.notes


def test_a_header_is_read_and_entities_are_refused():
    text = HEADER.format(readout=640, rows=320, columns=372, last=331, centre=166)
    assert Header.read(text.encode(), 372) == Header(320, 20, 352)
    assert Header.read("<a/>", 372) == Header(None, 0, 372)
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]>' + text.split("?>")[1]
    with pytest.raises(ValueError, match="entities"):
        Header.read(bomb, 372)


def test_without_a_mask_what_is_exactly_0_was_not_measured():
    kspace = randc(2, 8, 10)
    kspace[..., ::2] = 0
    lines = torch.arange(10) % 2 == 1
    assert torch.equal(sampling_of(kspace), lines)
    kspace[:, :3] = 0
    assert torch.equal(sampling_of(kspace), lines.expand(8, 10) & (torch.arange(8) >= 3)[:, None])


def test_the_rim_of_k_space_is_as_far_along_either_side():
    up, across = (torch.linspace(-1, 1, n + 1)[:-1] for n in (64, 24))
    far = torch.hypot(up[:, None], across).expand(2, 64, 24)
    chosen = rim_of(Raw(far.to(torch.complex128), torch.ones(24, dtype=torch.bool))).real[0]
    assert chosen.min() >= far[0].flatten().sort(descending=True).values[len(chosen) - 1] - 1e-6


def test_noise_is_found_at_the_rim_and_coils_are_whitened(folder):
    mixing = torch.diag(torch.tensor([1, 2, 0.5, 1, 1, 1.5])).to(torch.complex128)
    mixing[0, 1] = 0.4j
    kspace = torch.einsum("cd,sdrn->scrn", mixing, SIMULATED.kspace)
    found = readings(changed(folder, kspace=kspace.numpy()), sigma=None)
    assert any("from the rim" in note for note in found.notes)
    pure = torch.einsum("cd,drn->crn", mixing, 0.02 * randc(6, 96, 48))
    changed(folder, kspace=torch.where(SIMULATED.mask, pure, 0)[None].numpy())
    with h5py.File(folder / "kspace.h5", "a") as file:
        file["kspace"][0, :, 48, 24] = 5.0
    found = readings(folder, sigma=None)
    measured = found.measurement.y[:, :, SIMULATED.mask].flatten(1)
    measured = measured[:, measured.abs().amax(0) < 1]
    s2 = found.measurement.noise**2
    close(covariance(measured) / s2, torch.eye(6).to(torch.complex128), 0.35)
    geometric = float(torch.linalg.det(mixing).abs()) ** (1 / 6)
    assert found.measurement.noise == pytest.approx(0.02 * geometric, rel=0.1)


def test_one_coil_needs_no_maps_and_espirit_is_the_default(folder):
    one = SIMULATED.kspace[:, 0]
    found = readings(changed(folder, kspace=one.numpy()), maps=None)
    assert str(found.scan) == "image:48,48 | coils:1 | lines"
    full = to_kspace(SIMULATED.maps * SIMULATED.truth[0])
    changed(folder, kspace=full[None].numpy(), mask=np.ones(48, bool), ismrmrd_header=None)
    found = readings(folder, maps="espirit")
    alike = (found.measurement.arrays["maps"].conj() * SIMULATED.maps).sum(0).abs()
    assert alike[object_in(SIMULATED.truth[0].abs())].mean() > 0.995


ismrmrd = pytest.importorskip("ismrmrd")


def written(path, kspace, lines, noise=None, averages=1, first=0, skip=True):
    """An ISMRMRD file of one slice, (coils, rows, columns), by its own library."""
    coils, rows, columns = kspace.shape
    header = HEADER.format(
        readout=rows, rows=rows // 2, columns=columns, last=columns - 1, centre=columns // 2
    )
    extra = "<trajectory>cartesian</trajectory></encoding>"
    fov = "<fieldOfView_mm><x>1</x><y>1</y><z>1</z></fieldOfView_mm>"
    header = header.replace("</encoding>", extra).replace("</matrixSize>", f"</matrixSize>{fov}")
    conditions = "<experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz>"
    header = header.replace("<encoding>", f"{conditions}</experimentalConditions><encoding>")
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as data:
        data.write_xml_header(header.encode())
        if noise is not None:
            one = ismrmrd.Acquisition.from_array(noise.astype(np.complex64))
            one.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            one.sample_time_us = 5.0
            data.append_acquisition(one)
        for average in range(averages):
            for column in lines:
                values = kspace[:, first:, column].astype(np.complex64)
                one = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values))
                one.idx.kspace_encode_step_1, one.idx.average = int(column), average
                one.center_sample, one.sample_time_us = rows // 2 - first, 10.0
                data.append_acquisition(one)
        if skip:
            one = ismrmrd.Acquisition.from_array(np.full((coils, rows), 99, np.complex64))
            one.set_flag(ismrmrd.ACQ_IS_NAVIGATION_DATA)
            data.append_acquisition(one)


def test_readouts_of_ismrmrd_are_put_where_they_belong(tmp_path):
    kspace, lines = SIMULATED.kspace[0].numpy(), np.flatnonzero(SIMULATED.mask.numpy())
    noise = 0.02 * 2**0.5 * randc(6, 40_000, seed=9).numpy()
    written(tmp_path / "raw.h5", kspace, lines, noise, averages=2)
    file = open_raw(tmp_path / "raw.h5")
    raw = file.read(0)
    close(raw.kspace, without_oversampling(SIMULATED.kspace[0], 48), 1e-4)
    assert torch.equal(raw.mask, SIMULATED.mask)
    assert "1 readouts of other kinds are left out" in file.notes
    # twice the noise of a readout for half of its dwell time, and two averages
    close(raw.noise, (0.02**2 / 2 * torch.eye(6)).to(torch.complex128), 2e-5)
    np.save(tmp_path / "maps.npy", SIMULATED.maps.numpy())
    found = read(file, 0, str(tmp_path / "maps.npy"))
    assert found.measurement.noise == pytest.approx(0.02 / 2**0.5, rel=0.02)


def test_an_asymmetric_echo_leaves_points_out(tmp_path):
    kspace, lines = SIMULATED.kspace[0].numpy(), np.arange(48)
    kspace = np.where(kspace == 0, 1e-3, kspace)
    written(tmp_path / "raw.h5", kspace, lines, first=20)
    raw = open_raw(tmp_path / "raw.h5").read(0)
    assert raw.mask.shape == (96, 48)
    assert torch.equal(raw.mask, (torch.arange(96) >= 20)[:, None].expand(96, 48))
    close(raw.kspace[:, 20:], torch.from_numpy(kspace)[:, 20:], 1e-4)


BAD = {
    "no file": (lambda f: (f / "kspace.h5").unlink(), "does not exist"),
    "a picture": (lambda f: (f / "kspace.h5").write_bytes(b"GIF89a" * 9), "no HDF5 file"),
    "no k-space": (lambda f: changed(f, kspace=None, reconstruction_rss=1.0), "Point at the file"),
    "real numbers": (lambda f: changed(f, kspace=np.zeros((1, 6, 96, 48))), "float64 of shape"),
    "other axes": (
        lambda f: changed(f, kspace=np.ones((1, 96, 48, 6), complex)),
        r"slices, coils, readout, phase",
    ),
    "its peak at the corner": (
        lambda f: changed(f, kspace=np.fft.ifftshift(SIMULATED.kspace.numpy(), (2, 3))),
        "fftshift",
    ),
    "not finite": (
        lambda f: changed(f, kspace=np.full((1, 6, 96, 48), np.nan + 0j)),
        "4608 points that are not",
    ),
    "nothing": (lambda f: changed(f, kspace=np.zeros((1, 6, 96, 48), complex)), "all 0"),
    "a mask of another length": (
        lambda f: changed(f, mask=np.ones(40, bool)),
        "mask of 48 columns",
    ),
    "a header with entities": (
        lambda f: changed(f, ismrmrd_header='<!DOCTYPE a [<!ENTITY b "c">]><a/>'),
        "declares entities",
    ),
    "maps of other coils": (
        lambda f: np.save(f / "maps.npy", SIMULATED.maps[:3].numpy()),
        r"coil maps of shape \(6, 48, 48\).*--maps espirit",
    ),
    "maps of nothing": (
        lambda f: np.save(f / "maps.npy", 0 * SIMULATED.maps.numpy()),
        "100 % of it lies where they are 0",
    ),
    "maps that are no array": (lambda f: (f / "maps.npy").write_bytes(b"x" * 99), "no .npy file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line_with_what_to_do(folder, name):
    spoil, words = BAD[name]
    spoil(folder)
    with pytest.raises(HDaggerError, match=words) as caught:
        readings(folder)
    assert re.match("Wanted .*(but|got|Give)", str(caught.value))
    assert len(str(caught.value)) < 400


def test_what_a_command_says_may_not_fit_either(folder):
    with pytest.raises(SettingError, match="noise above 0"):
        readings(folder, sigma=-1.0)
    with pytest.raises(
        SettingError, match=r"Wanted 24 fully measured lines .* got 5\. Give --maps"
    ):
        readings(folder, maps="espirit")
    assert numbers_in("3-5", 9, folder) == [3, 4, 5]
    assert numbers_in(None, 2, folder) == [0, 1]
    for text in ("9", "5-3", "x", "-1"):
        with pytest.raises(SettingError, match="Wanted slices from 0 to 8"):
            numbers_in(text, 9, folder)
    scan = readings(folder).scan
    np.save(folder / "t.npy", np.ones((48, 40)))
    assert read_truth(folder / "t.npy", 0, scan).shape == (48, 40)
    np.save(folder / "t.npy", np.ones((5, 5)))
    with pytest.raises(FileError, match="48 x 48 finite pixels, or its middle"):
        read_truth(folder / "t.npy", 0, scan)


def test_a_volume_s_slice_lies_where_it_did(tmp_path):
    import nibabel

    values = np.zeros((60, 50, 4), np.float32)
    values[40, 10, 2] = 1
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = -50, -40, 7
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
    from hdagger.domains.mri.simulation import simulate

    slices = read_slices(tmp_path / "v.nii.gz", "2", 64)
    found = simulate(slices, 1, 1, 1e-6, 64, 0)
    row, column = divmod(int(found.truth[0].abs().argmax()), 64)
    place = found.affine @ [column, row, 0, 1]
    assert np.abs(place[:3] - (affine @ [40, 10, 2, 1])[:3]).max() < 1.7
    with pytest.raises(SettingError, match="0 to 3"):
        read_slices(tmp_path / "v.nii.gz", "4", 64)


def tiny(path):
    torch.manual_seed(0)
    net = UNetDenoiser(UNetShape(channels=2, widths=(8, 8), down=1, up=1, embedding=16, heads=1))
    net.save(path / "prior.safetensors")
    return path / "prior.safetensors"


def test_the_commands_go_from_a_volume_to_a_page(tmp_path, run):
    import nibabel

    values = np.stack([disc(64).numpy().T * k for k in (1, 2, 3)], -1)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([3.0, 3.0, 5.0, 1])), tmp_path / "v.nii.gz")
    sim, out = tmp_path / "sim", tmp_path / "out"
    code, said, err = run(
        "mri", "simulate", tmp_path / "v.nii.gz", "--slice", "1-2", "--pixels", "32",
        "--coils", "4", "--acceleration", "2", "-o", sim,
    )  # fmt: skip
    assert code == 0, err
    assert "Next: hdagger mri restore" in said
    common = (
        "mri", "restore", sim / "kspace.h5", "--maps", sim / "maps.npy", "--sigma", "0.01",
        "--truth", sim / "truth.npy", "--prior", tiny(tmp_path), "--method", "pigdm",
        "--steps", "3", "--samples", "2",
    )  # fmt: skip
    code, said, err = run(*common, "--json", "-o", out)
    assert code == 0, err
    summary = json.loads(said)
    assert [one["slice"] for one in summary["slices"]] == [0, 1]
    assert set(summary["slices"][0]["truth"]["coverage"]) == {"magnitude", "real", "imaginary"}
    assert len(summary["slices"][0]["truth"]["coverage_by_amplification"]) == 4
    page = (out / "report.html").read_text()
    assert "Not a medical device" in page
    assert "<script" not in page
    assert page.count("<img") == 16
    assert is_made_again(out)
    mean = nibabel.load(out / "mean.nii.gz")
    assert mean.shape == (32, 32, 2)
    assert PosteriorSamples.load(out / "slice-001" / "samples.npz").draws.shape == (2, 2, 32, 32)
    assert run(*common, "--slice", "1", "-o", out)[0] == 0
    assert (out / "samples.npz").exists()
    assert not (out / "slice-001").exists()
    np.save(sim / "truth.npy", np.abs(np.load(sim / "truth.npy"))[:, :, 4:-4])
    code, said, err = run(*common, "--slice", "0", "--json", "-o", out)
    assert code == 0, err
    assert set(json.loads(said)["slices"][0]["truth"]["coverage"]) == {"magnitude"}


@pytest.mark.parametrize(("coils", "along"), [(6, "points"), (1, "lines")])
def test_where_no_lines_of_coils_are_amplified_a_truth_is_judged_all_the_same(
    folder, run, coils, along
):
    if along == "points":
        kspace = without_oversampling(SIMULATED.kspace[0], 48)[None]
        kspace[:, :, 1::2] = 0
        changed(folder, kspace=kspace.numpy(), mask=None)
    else:
        changed(folder, kspace=SIMULATED.kspace[:, :coils].numpy())
    maps = ("--maps", folder / "maps.npy") if coils > 1 else ()
    code, said, err = run(
        "mri", "restore", folder / "kspace.h5", *maps, "--sigma", "0.01", "--truth",
        folder / "truth.npy", "--prior", tiny(folder), "--steps", "2", "--samples", "2",
        "--json", "-o", folder / "out",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(said)["slices"][0]["truth"]
    assert "coverage" in found
    assert "coverage_by_amplification" not in found


def test_a_slice_is_a_job(folder):
    said = {"maps": folder / "maps.npy", "sigma": 0.02}
    job = DOMAINS["mri"].job(folder / "kspace.h5", said)
    assert torch.equal(job.measurement.y, readings(folder).measurement.y)
    for wrong in ({"slice": 1}, {"lens": "x"}):
        with pytest.raises(SettingError, match=r"Wanted (slices from|k-space told by slice)"):
            DOMAINS["mri"].job(folder / "kspace.h5", said | wrong)


def test_a_picture_is_simulated_and_has_no_place(tmp_path, run):
    Image.fromarray((disc(40) * 100).byte().numpy()).save(tmp_path / "p.png")
    run("mri", "simulate", tmp_path / "p.png", "--pixels", "32", "-o", tmp_path / "s")
    with h5py.File(tmp_path / "s" / "kspace.h5") as file:
        assert "affine" not in file
        assert file["kspace"].shape == (1, 8, 64, 32)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--acceleration", "0.5"), "1 to 32"),
        (("--coils", "0"), "1 to 64 coils"),
        (("--sigma", "0"), "above 0"),
        (("--pixels", "33"), "even number"),
        (("--seed", "-1"), "seed of 0"),
    ],
)
def test_settings_of_a_simulation_are_bounded(tmp_path, run, option, words):
    (tmp_path / "p.png").write_bytes(b"x")
    code, _, err = run("mri", "simulate", tmp_path / "p.png", *option)
    assert code == 2
    assert words in " ".join(err.split())
