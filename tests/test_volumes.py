"""Volumes in every format come out in one orientation, and planes are cut from them."""

import gzip

import numpy as np
import pytest
import torch

from hdagger.domains.ct.bodies import Bodies
from hdagger.domains.ct.learning import BodyPlan, BodyTraining
from hdagger.domains.mri.heads import Heads
from hdagger.domains.mri.learning import HeadPlan, HeadTraining
from hdagger.errors import FileError
from hdagger.planes import Planes, Pose
from hdagger.priors.unet import UNetDenoiser
from hdagger.volumes import read_volume, write_nifti

SHAPE = (4, 5, 6)
SPACING = (3.0, 2.0, 1.5)


@pytest.fixture
def values():
    return torch.arange(120.0).view(SHAPE) - 30


@pytest.fixture
def affine():
    return np.array([[-1.5, 0, 0, 7], [0, -2, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1.0]])


def test_nifti_comes_back_whichever_way_its_axes_lie(tmp_path, values, affine):
    import nibabel
    from nibabel.orientations import (
        apply_orientation,
        axcodes2ornt,
        inv_ornt_aff,
        io_orientation,
        ornt_transform,
    )

    write_nifti(tmp_path / "a.nii.gz", values, affine)
    volume = read_volume(tmp_path / "a.nii.gz")
    assert torch.equal(volume.values, values)
    assert volume.spacing == SPACING
    np.testing.assert_allclose(volume.affine, affine)
    image = nibabel.load(tmp_path / "a.nii.gz")
    for codes in ("RAS", "PIR", "SLA"):
        turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(codes))
        array = apply_orientation(np.asarray(image.dataobj), turn)
        turned = image.affine @ inv_ornt_aff(turn, image.shape)
        nibabel.save(nibabel.Nifti1Image(array, turned), tmp_path / f"{codes}.nii")
        again = read_volume(tmp_path / f"{codes}.nii")
        assert torch.equal(again.values, values)
        assert again.spacing == SPACING
        np.testing.assert_allclose(again.affine, affine)


def test_nrrd_is_read_like_nifti(tmp_path, values, affine):
    import nrrd

    header = {
        "space": "left-posterior-superior",
        "space directions": [[1.5, 0, 0], [0, 2, 0], [0, 0, 3]],
        "space origin": [-7, -8, 9],
    }
    for encoding in ("raw", "gzip"):
        array = values.numpy().T.astype(np.int16)
        nrrd.write(str(tmp_path / "a.nrrd"), array, {**header, "encoding": encoding})
        volume = read_volume(tmp_path / "a.nrrd")
        assert torch.equal(volume.values, values)
        np.testing.assert_allclose(volume.affine, affine)


def test_a_header_that_names_another_file_is_refused(tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(24))
    (tmp_path / "a.nrrd").write_text(
        "NRRD0005\ntype: short\ndimension: 3\nsizes: 2 2 3\nencoding: raw\nendian: little\n"
        "space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\ndata file: secret.raw\n\n"
    )
    with pytest.raises(FileError, match="names another file"):
        read_volume(tmp_path / "a.nrrd")


def test_a_volume_is_refused_by_the_size_that_it_says(tmp_path):
    head = (
        "NRRD0005\ntype: short\ndimension: 3\nsizes: 9000 9000 9000\nencoding: gzip\n"
        "endian: little\nspace: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + gzip.compress(bytes(100)))
    with pytest.raises(FileError, match="9000 x 9000 x 9000"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.dcm"])
def test_noise_is_no_volume(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(FileError, match="Wanted"):
        read_volume(tmp_path / name)


def dicom(path, number, values, uid="1.2.3", **more):
    """A slice as a scanner stores it."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = f"{uid}.{number}"
    one.SeriesInstanceUID, one.Modality = uid, "CT"
    one.Rows, one.Columns = values.shape
    one.PixelSpacing, one.SliceThickness = [2.0, 1.5], 3.0
    one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    one.ImagePositionPatient = [-7, -8, 9 + 3.0 * number]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 1
    one.RescaleSlope, one.RescaleIntercept = 1, -1024
    for name, value in more.items():
        setattr(one, name, value)
    one.PixelData = (values.numpy() + 1024).astype("<i2").tobytes()
    one.save_as(path, enforce_file_format=True)


def test_a_dicom_series_is_ordered_by_its_place_not_by_its_names(tmp_path, values, affine):
    for number, name in enumerate(("c", "a", "d", "b")):
        dicom(tmp_path / name, number, values[number])
    (tmp_path / "notes.txt").write_text("not a picture")
    volume = read_volume(tmp_path)
    assert torch.equal(volume.values, values)
    assert (volume.spacing, volume.modality) == (SPACING, "CT")
    np.testing.assert_allclose(volume.affine, affine)


def test_padding_around_a_field_of_view_becomes_its_lowest_value(tmp_path, values):
    plane = values[0].clone()
    plane[0] = -2000
    dicom(tmp_path / "a.dcm", 0, plane, PixelPaddingValue=-976)
    volume = read_volume(tmp_path / "a.dcm")
    assert float(volume.values.min()) == float(values[0, 1:].min())
    assert volume.notes == ["padding around the field of view is taken for its lowest value"]


def test_two_series_or_a_missing_slice_are_said(tmp_path, values):
    for number in (0, 1, 3):
        dicom(tmp_path / f"{number}", number, values[number])
    with pytest.raises(FileError, match="A slice is missing"):
        read_volume(tmp_path)
    dicom(tmp_path / "2", 2, values[2], uid="1.2.4")
    with pytest.raises(FileError, match=r"holds 2: 1\.2\.3, 1\.2\.4"):
        read_volume(tmp_path)


@pytest.fixture
def planes(tmp_path):
    """A ball of 20 mm in a volume of 1 mm."""
    place = torch.arange(48.0) - 23.5
    r2 = place[:, None, None] ** 2 + place[:, None] ** 2 + place**2
    write_nifti(tmp_path / "ball.nii.gz", (r2 < 400).float() * 5 - 1, np.diag([-1, -1, 1.0, 1]))
    return Planes(tmp_path, 32, 2.0)


def test_a_plane_has_the_size_that_its_pixels_say(planes):
    area = float(((planes.in_turn(1) + 1) / 5).sum()) * 4
    assert area == pytest.approx(np.pi * 20**2, rel=0.12)  # a little above or below the middle
    outside = planes.in_turn(1)[0, 0, 0]
    assert torch.equal(outside, torch.full_like(outside, -1))


def test_planes_are_reproducible_and_moved(planes):
    pose = Pose(turn=1.0, scales=(0.9, 1.1), shift=0.05, warp=0.01, mirror=True)
    x = planes.draw(4, 1, pose)
    assert torch.equal(x, planes.draw(4, 1, pose))
    assert not torch.equal(x, planes.draw(4, 2, pose))
    assert x.shape == (4, 1, 32, 32)
    assert float(x.min()) >= -1.001
    assert float(x.max()) <= 4.001


def test_a_folder_without_volumes_is_said(tmp_path):
    with pytest.raises(FileError, match=r"has no \.nii"):
        Planes(tmp_path, 32, 2.0)


@pytest.fixture
def head(tmp_path):
    place = torch.linspace(-1, 1, 40)
    r2 = place[:, None, None] ** 2 + place[:, None] ** 2 + place**2
    folder = tmp_path / "scans"
    folder.mkdir()
    write_nifti(folder / "a.nii.gz", (r2 < 0.8) * (100 + 900 * r2), np.diag([-4, -4, 4.0, 1]))
    return folder


def test_heads_have_a_phase_and_highlights_of_about_one(head):
    heads = Heads(head, 32)
    x = heads.draw(6, 1)
    assert x.shape == (6, 2, 32, 32)
    assert torch.equal(x, heads.draw(6, 1))
    bright = x.norm(dim=1).flatten(1).quantile(0.99, dim=1)
    assert 0.6 < float(bright.min()) <= float(bright.max()) < 1.6
    assert float(x[:, 1].abs().max()) > 0.2
    assert heads.in_turn(3, 0).shape == (3, 2, 32, 32)


def test_bodies_are_in_thousands_of_hounsfield_units(head):
    x = Bodies(head, 32, 4.0).draw(6, 1)
    assert float(x.min()) >= -1
    assert 0.5 < float(x.max()) < 1.2


@pytest.mark.parametrize(
    ("plan_of", "training_of", "channels"),
    [(HeadPlan, HeadTraining, 2), (BodyPlan, BodyTraining, 1)],
)
def test_a_training_on_scans_leaves_a_prior(head, tmp_path, plan_of, training_of, channels):
    (tmp_path / "plan.toml").write_text(
        'scans = "scans"\nside = 16\nhours = 0.0003\nbatch = 4\n[unet]\nwidths = [8, 16]\n'
        f"embedding = 16\nheads = 2\nspread = true\nchannels = {channels}\n"
    )
    training = training_of(plan_of.read(tmp_path / "plan.toml"), tmp_path / "run")
    training.run(lambda now: None)
    assert UNetDenoiser.load(tmp_path / "run/prior.safetensors").channels == channels
    assert (tmp_path / "run/samples.png").exists()
