"""Sinograms in .npz and HDF5 files: counts or line integrals, with the geometry of the scan.

Nothing in a file is executed, and sizes are checked before reading. Names and units are those of
docs/ct.md. Geometry has no default: a wrong one gives pictures that only look right.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import FileError, SettingError
from ...files import MOST_BYTES, brief, check_file, read_arrays
from .scan import MU_WATER, Fan, Parallel

HDF5 = (".h5", ".hdf5")

MEND = "See docs/ct.md for the names that a sinogram's file has."

NAMES = ("counts", "line_integrals", "i0", "sigma", "angles", "bin", "offset", "source_to_axis")
NAMES += ("source_to_detector", "mu_water", "pixel", "affine")

GRID = 0.225
"""Deviation of line integrals between a slice and its pixels, in those of a pixel of water: the
root mean square over 23 and 60 views of seven slices of a chest (lung2 of pyradiomics, which the
prior learned from), pixels of 2.5 mm averaged from 0.63 mm, one ray a bin against four."""

MOST_LINE_INTEGRAL = 20.0
"""No detector sees a photon in e^20."""

FULL_TURN = 2 * math.pi + 0.1

OFF_CENTRE = 0.5
"""Bins by which the middle of a detector may be off."""


@dataclass(frozen=True)
class Said:
    """What a command says of a file, beyond what the file says.

    Attributes:
        counts: Photons of a ray in air, where the numbers are counts; None for what the file
            says that they are.
        i0: Photons of a ray in air, for the noise of line integrals.
        degrees: Whether angles are in degrees.
        offset: Of the detector, mm; None for what the file says.
    """

    counts: float | None = None
    i0: float | None = None
    degrees: bool = False
    offset: float | None = None


@dataclass(frozen=True)
class Sinogram:
    """What a scan measured.

    Attributes:
        p: Line integrals of mu, ``(slices, views, bins)``; 0 where nothing was seen.
        noise: Their deviation by photons, infinite where nothing was seen.
        angles: Of the views, radians.
        detector: Bins and distances.
        mu_water: Attenuation of water, a mm.
        pixel: Of the slices to restore, mm, if the file says so.
        affine: Of these slices, if the file says so.
        notes: What is to be told, a sentence each.
    """

    p: Float[Tensor, "slices views bins"]
    noise: Float[Tensor, "slices views bins"]
    angles: tuple[float, ...]
    detector: Parallel
    mu_water: float
    pixel: float | None
    affine: np.ndarray | None
    notes: list[str]


def read_sinogram(path: Path, said: Said) -> Sinogram:
    """Reads a sinogram, and holds its numbers against its geometry.

    Raises:
        HDaggerError: It cannot be read, lacks something, or cannot be what it says it is.
    """
    if said.counts is not None and said.i0 is not None:
        raise SettingError("Wanted --counts or --i0, but got both. Leave one out.")
    arrays = _read(path)
    name = next((name for name in ("counts", "line_integrals") if name in arrays), None)
    if name is None:
        raise FileError(
            f"Wanted counts or line_integrals in {path}, but it has "
            f"{', '.join(arrays)[:200] or 'nothing'}. {MEND}"
        )
    values = torch.from_numpy(np.array(arrays[name], np.float64))
    angles = _angles(arrays, said, path)
    values = _stacked(values, len(angles), path)
    if not values.isfinite().any():
        raise FileError(f"Wanted finite numbers, but {name} of {path} has none. {MEND}")
    detector = _detector(arrays, values.shape[2], said, path)
    notes: list[str] = []
    if name == "counts" or said.counts is not None:
        i0 = said.counts or said.i0 or _i0(arrays, values, path)
        _check_counts(values, path)
        p, noise = of_counts(values, i0)
        if dark := int((values == 0).sum()):
            notes.append(f"{dark} rays have no photons and are dropped")
    else:
        _check_line_integrals(values, path)
        p, noise = values, _deviation(arrays, values, said, path)
        noise = noise.masked_fill(~values.isfinite(), math.inf)
    if hidden := int(noise.isinf().sum()):
        notes.append(f"{hidden} of {noise.numel()} rays say nothing")
    if not noise.isfinite().any(2).any(1).all():
        raise FileError(f"Wanted rays that were seen, but a slice of {path} has none. {MEND}")
    p = torch.where(noise.isfinite(), p, 0)
    check_middle(p, noise, angles, detector)
    pixel = _number(arrays, "pixel", path) if "pixel" in arrays else None
    mu_water = _number(arrays, "mu_water", path) if "mu_water" in arrays else MU_WATER
    return Sinogram(p, noise, angles, detector, mu_water, pixel, _affine(arrays, path), notes)


def write_sinogram(path: Path, arrays: Mapping[str, np.ndarray | float]) -> None:
    """Writes what :func:`read_sinogram` reads, as .npz."""
    assert arrays.keys() <= set(NAMES), "names that are read"
    np.savez_compressed(path, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() not in HDF5:
        return read_arrays(path, "a sinogram", MEND)
    check_file(path, "a sinogram")
    try:
        import h5py
    except ImportError as error:
        raise FileError(
            "Wanted h5py for HDF5 files, but it is not installed. pip install 'hdagger[ct]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, Any] = {
                name: file.attrs[name] for name in NAMES if name in file.attrs
            }
            for name in NAMES:
                if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                    continue
                dataset = file[name]
                if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
                    raise ValueError(f"{name} is no plain dataset")
                if dataset.dtype.kind not in "biuf" or math.prod(dataset.shape) * 8 > MOST_BYTES:
                    raise ValueError(f"{name} holds {dataset.dtype} of shape {dataset.shape}")
                found[name] = dataset[()]
            return {name: np.asarray(value) for name, value in found.items()}
    except Exception as error:  # whatever a broken file makes h5py raise
        raise FileError(
            f"Wanted a sinogram, but {path} is not one that can be read ({brief(error)}). {MEND}"
        ) from error


def _number(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> float:
    """One number of the file.

    Raises:
        FileError: There is none.
    """
    value = arrays.get(name)
    if value is None or value.size != 1 or value.dtype.kind not in "iuf" or np.isnan(value).any():
        got = "none" if value is None else f"{value.dtype} of shape {value.shape}"
        raise FileError(f"Wanted {name}, one number, in {path}, but got {got}. {MEND}")
    return float(value.reshape(()))


def _angles(arrays: Mapping[str, np.ndarray], said: Said, path: Path) -> tuple[float, ...]:
    angles = arrays.get("angles")
    if angles is None or angles.ndim != 1 or not angles.size or angles.dtype.kind not in "iuf":
        got = "none" if angles is None else f"{angles.dtype} of shape {angles.shape}"
        raise FileError(f"Wanted angles, one a view, in {path}, but got {got}. {MEND}")
    angles = np.radians(angles.astype(float)) if said.degrees else angles.astype(float)
    if not np.isfinite(angles).all():
        raise FileError(f"Wanted finite angles, but those of {path} are not. Mend the file.")
    reach = float(np.abs(angles).max())
    if reach > FULL_TURN and not said.degrees:
        raise FileError(
            f"Wanted angles in radians, a turn at most, but those of {path} reach {reach:g}. "
            "If they are in degrees, give --degrees."
        )
    return tuple(angles.tolist())


def _stacked(values: Tensor, views: int, path: Path) -> Float[Tensor, "slices views bins"]:
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[1] != views or values.shape[2] < 2:
        shape = " x ".join(map(str, values.shape))
        turned = values.ndim == 3 and values.shape[2] == views
        mend = "Transpose its last two axes" if turned else "Cut the angles or the views"
        raise FileError(
            f"Wanted (views, bins) or (slices, views, bins) with {views} views, as there are "
            f"angles, but {path} has {shape}. {mend}."
        )
    return values


def _detector(arrays: Mapping[str, np.ndarray], bins: int, said: Said, path: Path) -> Parallel:
    width = _number(arrays, "bin", path)
    offset = _number(arrays, "offset", path) if said.offset is None else said.offset
    near = _number(arrays, "source_to_axis", path)
    if not math.isfinite(offset) or abs(offset) > bins * width:
        raise FileError(
            f"Wanted the offset of the detector, mm, but got {offset:g}, more than its "
            f"{bins * width:g} mm. Give 0 if its middle ray passes the axis."
        )
    if near == math.inf:
        return Parallel(bins, width, offset)
    return Fan(bins, width, offset, near, _number(arrays, "source_to_detector", path))


def _i0(arrays: Mapping[str, np.ndarray], values: Tensor, path: Path) -> float | Tensor:
    """Photons in air: one number, or one for each bin, ``(bins,)`` or ``(views, bins)``."""
    found = arrays.get("i0")
    if found is None:
        raise FileError(
            f"Wanted i0, the photons of a ray in air, in {path}, but got none. Give --i0, such as "
            f"--i0 {float(values.max()):.3g}, which the brightest ray shows."
        )
    i0 = torch.from_numpy(np.array(found, np.float64))
    if tuple(i0.shape) not in ((), (1,), tuple(values.shape[2:]), tuple(values.shape[1:])):
        raise FileError(
            f"Wanted one i0, or one for each of {values.shape[2]} bins, but {path} has "
            f"{' x '.join(map(str, i0.shape))}. Average the air scans."
        )
    if not (i0 > 0).all() or not i0.isfinite().all():
        raise FileError(f"Wanted i0 above 0, but {path} has {float(i0.min()):g}. Mend the file.")
    return i0


def of_counts(
    counts: Float[Tensor, "*rays"], i0: float | Tensor
) -> tuple[Float[Tensor, "*rays"], Float[Tensor, "*rays"]]:
    """Line integrals -ln(N / I0) of N photons and their deviation, for var ln N = 1 / N.

    Without photons a ray says nothing: its deviation is infinite.
    """
    seen = counts.isfinite() & (counts > 0)
    counts = torch.where(seen, counts, 1)
    return -(counts / i0).log(), torch.where(seen, counts.rsqrt(), math.inf)


def _check_counts(counts: Tensor, path: Path) -> None:
    """Refuses what cannot be counts.

    Raises:
        FileError: Some are negative, or all are small.
    """
    finite = counts[counts.isfinite()]
    low, high = float(finite.min()), float(finite.max())
    if low < 0:
        raise FileError(
            f"Wanted counts of 0 or more, but {path} has {low:g}. "
            "If these are line integrals, name them line_integrals."
        )
    if high < 10:
        raise FileError(
            f"Wanted counts of photons, but the largest of {path} is {high:g}, as of a share. "
            "Multiply them by the photons in air."
        )


def _check_line_integrals(p: Tensor, path: Path) -> None:
    """Refuses what cannot be line integrals.

    Raises:
        FileError: They are too large, or fall where a ray passes the body.
    """
    seen = p.isfinite()
    largest = float(torch.where(seen, p, 0).max())
    if largest > MOST_LINE_INTEGRAL:
        raise FileError(
            f"Wanted line integrals, 0 in air and {MOST_LINE_INTEGRAL:g} at most, but those of "
            f"{path} reach {largest:g}, as counts do. Give --counts I0, the photons in air."
        )
    rim = max(1, p.shape[2] // 50)
    mean = torch.where(seen, p, 0).mean((0, 1))
    edge, middle = float(torch.cat([mean[:rim], mean[-rim:]]).mean()), float(mean.mean())
    if edge > 1.05 * max(middle, 0) and edge > 0.1:
        raise FileError(
            f"Wanted line integrals, which rise where a ray passes the body, but those of {path} "
            f"fall from {edge:.3g} at the rim to {middle:.3g}, as counts do. Give --counts I0."
        )


def _deviation(arrays: Mapping[str, np.ndarray], p: Tensor, said: Said, path: Path) -> Tensor:
    """Of line integrals: as the file says, or by photons."""
    i0 = said.i0
    if i0 is None and "sigma" in arrays:
        sigma = torch.from_numpy(np.array(arrays["sigma"], np.float64))
        if tuple(sigma.shape) not in ((), (1,), tuple(p.shape[1:]), tuple(p.shape)):
            raise FileError(
                f"Wanted one sigma, or one for each of the line integrals, but {path} has "
                f"{' x '.join(map(str, sigma.shape))}. Expand it."
            )
        if not (sigma > 0).all():
            raise FileError(f"Wanted sigma above 0, but {path} has others. Use inf for no data.")
        return sigma.expand_as(p).clone()
    if i0 is None and "i0" in arrays:
        i0 = _i0(arrays, p, path)
    if i0 is None:
        raise FileError(
            f"Wanted the noise of {path}, but it has no i0 and no sigma. "
            f"Give --i0 {photons_shown(p):.1g}, which the grain of its views shows."
        )
    return (p.nan_to_num(0).exp() / i0).sqrt()


def photons_shown(p: Float[Tensor, "slices views bins"]) -> float:
    """The photons in air that the grain along the bins lets guess, where least is in the way."""
    first, middle, last = p[..., :-2], p[..., 1:-1], p[..., 2:]
    grain = ((first - 2 * middle + last).square() / 6).flatten()
    level = ((first + middle + last) / 3).flatten()
    grain, level = grain[level.isfinite()], level[level.isfinite()]
    through = level <= level.kthvalue(1 + len(level) // 5).values
    typical = float((grain * (-level).exp())[through].median())
    return 0.455 / max(typical, 1e-12)  # the median of a squared standard normal


def check_middle(
    p: Float[Tensor, "slices views bins"],
    noise: Float[Tensor, "slices views bins"],
    angles: tuple[float, ...],
    detector: Parallel,
) -> None:
    """Refuses a detector whose middle is elsewhere than said.

    The middle of the mass in parallel views goes round as x cos t + y sin t; what is constant
    beside that is the detector's error.

    Raises:
        SettingError: It is off by half a bin or more, and surely so.
    """
    if isinstance(detector, Fan) or len(angles) < 8 or max(angles) - min(angles) < 1.0:
        return
    seen = torch.where(noise.isfinite(), p, 0)
    mass = seen.sum(2)
    if not (mass > 0).all():
        return
    place = detector.places()
    middle = (seen @ place / mass).mean(0)
    t = torch.tensor(angles, dtype=torch.float64)
    design = torch.stack([t.cos(), t.sin(), torch.ones_like(t)], 1)
    found = torch.linalg.lstsq(design, middle[:, None]).solution
    rest = middle - (design @ found)[:, 0]
    variance = rest.square().sum() / (len(t) - 3)
    sure = float((variance * torch.linalg.inv(design.T @ design)[2, 2]).sqrt())
    off = float(found[2])
    if abs(off) > OFF_CENTRE * detector.width + 4 * sure:
        raise SettingError(
            f"Wanted a detector whose middle is at {detector.offset:g} mm, but the middle of what "
            f"it sees goes round one at {detector.offset - off:.3g} mm. "
            f"Give --offset {detector.offset - off:.3g}, or leave out views that are cut off."
        )


def _affine(arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray | None:
    affine = arrays.get("affine")
    if affine is None:
        return None
    if affine.shape != (4, 4) or affine.dtype.kind not in "iuf" or not np.isfinite(affine).all():
        raise FileError(f"Wanted an affine of 4 x 4 numbers, but that of {path} is none. {MEND}")
    return affine.astype(np.float64)
