"""``hdagger ct``: slices of a body from its X-ray projections, with error bars."""

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

ct = typer.Typer(help="Computed tomography: slices from few projections, with error bars.")


@ct.command()
def restore(
    sinogram: Annotated[
        Path, typer.Argument(help=".npz or HDF5: counts or line_integrals, and the geometry.")
    ],
    counts: Annotated[
        float | None, typer.Option(help="The numbers are counts, of so many photons in air.")
    ] = None,
    i0: Annotated[
        float | None, typer.Option(help="Photons of a ray in air, for the noise.")
    ] = None,
    degrees: Annotated[bool, typer.Option("--degrees", help="Angles are in degrees.")] = False,
    offset: Annotated[
        float | None, typer.Option(help="Of the detector, mm; by default as the file says.")
    ] = None,
    pixels: Annotated[int, typer.Option(help="Pixels a side of a slice.")] = 128,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            help="Side of a pixel, mm; by default as the file says, or so that the body fits."
        ),
    ] = None,
    number: Annotated[
        int | None, typer.Option("--slice", help="Which slice, from 0; by default all.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help=".npy or NIfTI in HU, if known, to compare with.")
    ] = None,
    method: Method = "auto",
    setting: Setting = None,
    steps: Steps = None,
    samples: Samples = 20,
    seed: Seed = 0,
    prior: PriorName = "chest",
    out: Folder = Path("reconstructed"),
    as_json: AsJson = False,
) -> None:
    """Restore slices from a sinogram: draw samples of what they may be.

    The folder gets *report.html*, *mean* and *std* in HU (NIfTI where the place is known, else
    .npy), pictures of them, *samples.npz* in HU, *summary.json*, *recipe.toml* and
    *measurement.npz*.

    This is research software and no medical device.

    Examples:

        hdagger ct restore sinogram.npz -o out

        hdagger ct restore scan.h5 --counts 50000 --degrees --slice 12 --prior chest
    """
    if not 16 <= pixels <= 512:
        raise SettingError(f"Wanted slices of 16 to 512 pixels a side, but got {pixels}. Try 128.")
    if pixel_size is not None and not 1e-3 <= pixel_size <= 20:
        raise SettingError(f"Wanted pixels of 0.001 to 20 mm, but got {pixel_size:g}.")
    for name, photons in (("counts", counts), ("i0", i0)):
        if photons is not None and not 10 <= photons <= 1e12:
            raise SettingError(f"Wanted 10 to 1e12 photons, but got --{name} {photons:g}.")
    check_steps(steps)
    check_prior(prior)
    check_file(sinogram, "a sinogram")
    plan = Recipe(method, settings_said(setting or []), steps or 0, samples, seed, prior)

    from ...restoration import Prior, prepare
    from .pages import summary_words, write_restoration
    from .reading import read, read_truth
    from .sinograms import Said

    reading = read(sinogram, Said(counts, i0, degrees, offset), pixels, pixel_size, number)
    known = None if truth is None else read_truth(truth, reading)
    for found in reading.notes:
        note(f"{sinogram.name}: {found}")
    count = len(reading.measurements)
    with whole_folder(out, "ct") as folder:
        at_hand = Prior.of(plan)
        title = f"{plan.samples} samples" if count == 1 else f"{count} slices"
        with progress(title) as watch:
            drawn = [
                prepare(plan, measurement, at_hand).run(
                    lambda done, total, k=k: watch(k * total + done, count * total), k
                )
                for k, measurement in zip(reading.numbers, reading.measurements, strict=True)
            ]
        summary = write_restoration(folder, reading, drawn, known)
    if as_json:
        tell(summary)
    else:
        print(f"{summary_words(summary)}\n{out / 'report.html'}")


@ct.command()
def simulate(
    volume: Annotated[
        Path | None,
        typer.Argument(
            help="CT in HU: NIfTI, NRRD, or a DICOM series; by default a body of ellipses."
        ),
    ] = None,
    views: Annotated[int, typer.Option(help="How many.")] = 23,
    arc: Annotated[float, typer.Option(help="Degrees over which they are spread.")] = 180.0,
    i0: Annotated[float, typer.Option(help="Photons of a ray in air.")] = 1e4,
    number: Annotated[
        int | None, typer.Option("--slice", help="Which slice, from 0; by default all.")
    ] = None,
    pixels: Annotated[int, typer.Option(help="Pixels a side of the slices to restore.")] = 128,
    seed: Seed = 0,
    out: Folder = Path("simulated"),
    as_json: AsJson = False,
) -> None:
    """Simulate the photons that a scanner would count, to try *restore* on.

    The folder gets *sinogram.npz* with its geometry, and *truth* in HU.

    Examples:

        hdagger ct simulate -o sim

        hdagger ct simulate chest.nii.gz --slice 24 --views 60 --arc 90 --i0 1e5 -o sim
    """
    if not 1 <= views <= 3600:
        raise SettingError(f"Wanted 1 to 3600 views, but got {views}. Try 23.")
    if not 0 < arc <= 360:
        raise SettingError(f"Wanted an arc of 360 degrees at most, but got {arc:g}. Try 180.")
    if not 10 <= i0 <= 1e12:
        raise SettingError(f"Wanted 10 to 1e12 photons, but got {i0:g}. Try 1e4.")
    if not 16 <= pixels <= 512:
        raise SettingError(f"Wanted slices of 16 to 512 pixels a side, but got {pixels}. Try 128.")
    check_seed(seed)

    from .pages import truth_name, write_simulation
    from .simulation import Plan, read_slices, simulate, simulate_phantom

    plan = Plan(views, arc, i0, pixels, seed)
    if volume is None:
        simulated = simulate_phantom(plan)
    else:
        slices = read_slices(volume, number)
        with progress(f"{len(slices.x)} slices") as watch:
            simulated = simulate(slices, plan, watch)
    with whole_folder(out, "ct-simulate") as folder:
        write_simulation(folder, simulated)
    truth = out / truth_name(simulated)
    if as_json:
        tell(
            {
                "measurement": str(out / "sinogram.npz"),
                "operator": str(simulated.scan),
                "truth": str(truth),
            }
        )
        return
    print(
        f"{out / 'sinogram.npz'}: {simulated.scan}\nNext: hdagger ct restore "
        f"{out / 'sinogram.npz'} --truth {truth} -o out"
    )


@ct.command()
def train(
    plan: Annotated[Path, typer.Argument(help="Training plan; see training/chest.toml.")],
    out: Folder = Path("runs/chest"),
    as_json: AsJson = False,
) -> None:
    """Train a prior of bodies, or go on with a training that was stopped.

    Example:

        hdagger ct train training/chest.toml -o runs/chest
    """
    check_plan(plan)

    from .learning import BodyPlan, BodyTraining

    BodyTraining(BodyPlan.read(plan), out).run_aloud(as_json)
