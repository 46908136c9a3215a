"""``hdagger mri``: images from undersampled k-space, with error bars."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import SettingError
from ...files import check_file, whole_folder
from ...options import (
    AsJson,
    Folder,
    Method,
    PriorName,
    Samples,
    Seed,
    Setting,
    Steps,
    check_plan,
    check_prior,
    check_seed,
    check_steps,
)
from ...progress import progress
from ...recipe import Recipe, settings_said
from ...telling import note, tell

mri = typer.Typer(help="MRI: images from undersampled k-space, with error bars.")


@mri.command()
def restore(
    kspace: Annotated[Path, typer.Argument(help="Raw data: a .h5 file of fastMRI or ISMRMRD.")],
    maps: Annotated[
        str | None,
        typer.Option(help="Coil maps, .npy or .h5; by default espirit, from k-space's middle."),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Noise of each real component, in the units of k-space; else found."),
    ] = None,
    chosen: Annotated[
        str | None, typer.Option("--slice", help="12 or 8-16, from 0 on; by default all.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The image, .npy or .h5, if it is known, to compare with.")
    ] = None,
    method: Method = "auto",
    setting: Setting = None,
    steps: Steps = None,
    samples: Samples = 20,
    seed: Seed = 0,
    prior: PriorName = "brain",
    out: Folder = Path("restored"),
    as_json: AsJson = False,
) -> None:
    """Restore the image behind undersampled k-space: draw samples of what it may be.

    The folder gets *report.html*, *mean.npy* and *std.npy* (NIfTI where the file says how slices
    lie), *summary.json*, *recipe.toml*, and *samples.npz* with *measurement.npz* and pictures, of
    several slices in a folder each. Not a medical device.

    Examples:

        hdagger mri restore kspace.h5 --slice 12 -o out

        hdagger mri restore kspace.h5 --maps maps.npy --sigma 0.01 --truth truth.npy -o out
    """
    check_steps(steps)
    check_prior(prior)
    check_file(kspace, "raw data of a scanner")
    plan = Recipe(method, settings_said(setting or []), steps or 0, samples, seed, prior)

    from ...restoration import restore
    from .pages import slice_folder, summary_words, write_restoration, write_slice
    from .raw import numbers_in
    from .reading import open_raw, read, read_truth

    file = open_raw(kspace)
    numbers = numbers_in(chosen, file.slices, kspace)
    with whole_folder(out, "mri") as folder:
        done = []
        with progress(f"{len(numbers)} x {plan.samples} samples") as watch:
            for k, number in enumerate(numbers):
                reading = read(file, number, maps, sigma)
                known = None if truth is None else read_truth(truth, number, reading.scan)
                if k == 0:
                    for found in reading.notes:
                        note(f"{kspace.name}: {found}")
                count = lambda now, all_, k=k: watch(k * all_ + now, len(numbers) * all_)
                drawn = restore(plan, reading.measurement, count, item=number)
                own = slice_folder(folder, len(numbers), number)
                done.append(write_slice(own, reading, drawn, known))
        summary = write_restoration(folder, done, file.affine)
    if as_json:
        tell(summary)
    else:
        print(f"{summary_words(summary)}\n{out / 'report.html'}")


@mri.command()
def simulate(
    picture: Annotated[
        Path, typer.Argument(help="A picture, or a volume: NIfTI, NRRD, DICOM (magnitude).")
    ],
    acceleration: Annotated[float, typer.Option(help="All lines over measured ones.")] = 4.0,
    coils: Annotated[int, typer.Option(help="On a ring around the body.")] = 8,
    sigma: Annotated[
        float, typer.Option(help="Noise of each real component; an image is about 1.")
    ] = 0.01,
    pixels: Annotated[int, typer.Option(help="Pixels a side of the image.")] = 128,
    chosen: Annotated[
        str | None, typer.Option("--slice", help="12 or 8-16, from 0 on; else the middle one.")
    ] = None,
    seed: Seed = 0,
    out: Folder = Path("simulated"),
    as_json: AsJson = False,
) -> None:
    """Simulate the k-space of a picture, to try *restore* on.

    The folder gets *kspace.h5* as fastMRI lays it out, *maps.npy* and *truth.npy*.

    Examples:

        hdagger mri simulate head.nii.gz --acceleration 4 --coils 8 --sigma 0.01 -o sim

        hdagger mri simulate picture.png --acceleration 8 -o sim
    """
    if not picture.is_dir():
        check_file(picture, "a picture or a volume")
    if not 1 <= acceleration <= 32:
        raise SettingError(f"Wanted an acceleration of 1 to 32, but got {acceleration:g}. Try 4.")
    if not 1 <= coils <= 64:
        raise SettingError(f"Wanted 1 to 64 coils, but got {coils}. Try 8.")
    if not 0 < sigma <= 10:
        raise SettingError(f"Wanted noise above 0, up to 10, but got {sigma:g}. Try 0.01.")
    if not 32 <= pixels <= 512 or pixels % 2:
        raise SettingError(f"Wanted 32 to 512 pixels a side, an even number, but got {pixels}.")
    check_seed(seed)

    from .pages import write_simulation
    from .raw import h5py_for
    from .simulation import read_slices, simulate

    h5py_for(out / "kspace.h5")
    slices = read_slices(picture, chosen, pixels)
    simulated = simulate(slices, acceleration, coils, sigma, pixels, seed)
    about = f"{picture.name}, {coils} coils, acceleration {acceleration:g}, seed {seed}"
    with whole_folder(out, "mri-simulate") as folder:
        write_simulation(folder, simulated, about)
    if as_json:
        files = {"measurement": "kspace.h5", "maps": "maps.npy", "truth": "truth.npy"}
        tell({name: str(out / file) for name, file in files.items()} | {"sigma_y": sigma})
        return
    print(
        f"{out / 'kspace.h5'}: simulated of {about}\n"
        f"Next: hdagger mri restore {out / 'kspace.h5'} --maps {out / 'maps.npy'} "
        f"--sigma {sigma:g} --truth {out / 'truth.npy'} -o out"
    )


@mri.command()
def train(
    plan: Annotated[Path, typer.Argument(help="Training plan; see training/brain.toml.")],
    out: Folder = Path("runs/brain"),
    as_json: AsJson = False,
) -> None:
    """Train a prior of heads, or go on with a training that was stopped.

    Example:

        hdagger mri train training/brain.toml -o runs/brain
    """
    check_plan(plan)

    from .learning import HeadPlan, HeadTraining

    HeadTraining(HeadPlan.read(plan), out).run_aloud(as_json)
