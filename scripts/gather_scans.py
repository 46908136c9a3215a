"""Gathers the scans that train and test the priors of heads and bodies.

    python scripts/gather_scans.py DIR

leaves DIR/mri/{train,test} and DIR/{chest,head}/{train,test}, volumes as NIfTI, and the licences
of their packages in DIR/licences. It needs apt-get, dpkg-deb and pip, nibabel and pynrrd, and
100 MB of downloads.

    mri/train   Colin27, with skull and without (Debian's mricron-data, BSD-3-clause), the average
                of 152 persons (nilearn 0.14.1, BSD and the notice of MNI), one patient (brain2 of
                pyradiomics 3.0.1, BSD-3-clause)
    mri/test    another patient, with a tumour (brain1 of pyradiomics)
    chest/train one patient's CT (lung2 of pyradiomics); chest/test another's (lung1)
    head/train  one head's CT (Debian's invesalius-examples, GPL-2), all but every tenth slice;
                head/test  those
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from gather_photos import download

from hdagger.volumes import read_volume, write_nifti

MRICRON = "mricron-data/usr/share/mricron/templates"
CRANIUM = "invesalius-examples/usr/share/doc/invesalius-examples/examples/Cranium.inv3"
CRANIUM_SHAPE, CRANIUM_SPACING = (108, 256, 256), (1.5, 0.957032, 0.957032)
PYRADIOMICS = "pyradiomics-3.0.1"
PARTS = {
    "brain2": "mri/train",
    "brain1": "mri/test",
    "lung2": "chest/train",
    "lung1": "chest/test",
}


def wheel(name: str, folder: Path) -> Path:
    """A wheel of the package index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name]
    subprocess.run(command, cwd=folder, check=True)
    (found,) = folder.glob(f"{name.split('==')[0]}-*.whl")
    return found


def sources_of_pyradiomics(folder: Path) -> Path:
    """Its source package, which pip cannot build with today's setuptools."""
    if not (folder / PYRADIOMICS).exists():
        python = folder / "old/bin/python"
        subprocess.run([sys.executable, "-m", "venv", folder / "old"], check=True)
        tools = ["numpy", "setuptools<80", "wheel", "versioneer"]
        subprocess.run([python, "-m", "pip", "--quiet", "install", *tools], check=True)
        command = [python, "-m", "pip", "--quiet", "download", "--no-deps", "--no-build-isolation"]
        command += ["--no-binary", "pyradiomics", PYRADIOMICS.replace("-", "==")]
        subprocess.run(command, cwd=folder, check=True)
        with tarfile.open(folder / f"{PYRADIOMICS}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder / PYRADIOMICS


def main(folder: Path) -> None:
    packages, licences = folder / "packages", folder / "licences"
    for part in (packages, licences, *(folder / p / q for p in ("mri", "chest", "head")
                                       for q in ("train", "test"))):  # fmt: skip
        part.mkdir(parents=True, exist_ok=True)
    for package in ("mricron-data", "invesalius-examples"):
        notice = download(package, packages) / f"usr/share/doc/{package}/copyright"
        (licences / package).write_bytes(notice.read_bytes())
    for name in ("ch2", "ch2better"):
        copied(packages / MRICRON / f"{name}.nii.gz", folder / f"mri/train/{name}.nii.gz")
    with zipfile.ZipFile(wheel("nilearn==0.14.1", packages)) as archive:
        (name,) = (n for n in archive.namelist() if "mni_icbm152_t1" in n)
        archive.extract(name, packages)
        copied(packages / name, folder / "mri/train/mni152.nii.gz")
    found = sources_of_pyradiomics(packages)
    (licences / "pyradiomics").write_bytes((found / "LICENSE.txt").read_bytes())
    for name, part in PARTS.items():
        copied(found / f"data/{name}_image.nrrd", folder / part / f"{name}.nii.gz")
    with tarfile.open(packages / CRANIUM) as archive:
        (member,) = (m for m in archive.getmembers() if m.name.endswith("/matrix.dat"))
        file = archive.extractfile(member)
        assert file is not None
        slices = np.frombuffer(file.read(), "<i2").reshape(CRANIUM_SHAPE).astype(np.float32)
    affine = np.diag([-CRANIUM_SPACING[2], CRANIUM_SPACING[1], CRANIUM_SPACING[0], 1.0])
    test = np.arange(len(slices)) % 10 == 5
    for part, kept in (("train", ~test), ("test", test)):
        values = torch.from_numpy(slices[kept])  # rows from back to front, as the file has them
        write_nifti(folder / f"head/{part}/cranium.nii.gz", values, affine)


def copied(source: Path, target: Path) -> None:
    volume = read_volume(source)
    write_nifti(target, volume.values, volume.affine)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
