"""``hdagger lens``: the galaxy behind a gravitational lens, with error bars."""

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

lens = typer.Typer(help="Gravitational lenses: the galaxy behind one, with error bars.")


@lens.command()
def restore(
    image: Annotated[
        Path, typer.Argument(help="FITS file of the image, without the lens's light.")
    ],
    lens_file: Annotated[
        Path, typer.Option("--lens", help="lens.toml: the models and their numbers.")
    ],
    noise: Annotated[
        Path | None,
        typer.Option(help="FITS of the noise: ERR, VAR or WHT; by default the image's own."),
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(help="One deviation for all pixels, in the image's units.")
    ] = None,
    psf: Annotated[
        Path | None, typer.Option(help="FITS of the point spread, at the scale of the image.")
    ] = None,
    pixel_scale: Annotated[
        float | None, typer.Option(help="Arcsec a pixel; by default as the WCS says.")
    ] = None,
    source_size: Annotated[
        float | None, typer.Option(help="Side of the source's frame, arcsec; else found.")
    ] = None,
    pixels: Annotated[int, typer.Option(help="Pixels a side of the source.")] = 64,
    truth: Annotated[
        Path | None, typer.Option(help="FITS of the source, if it is known, to compare with.")
    ] = None,
    method: Method = "auto",
    setting: Setting = None,
    steps: Steps = None,
    samples: Samples = 20,
    seed: Seed = 0,
    prior: PriorName = "galaxy",
    out: Folder = Path("unlensed"),
    as_json: AsJson = False,
) -> None:
    """Restore the source of a lensed image: draw samples of what it may be.

    The folder gets *report.html* with *figure.png*, *mean.fits*, *std.fits*, *samples.fits*,
    *model.fits* and *residual.fits* (in units of the noise), pictures of the source,
    *samples.npz*, *summary.json*, *recipe.toml* and *measurement.npz*.

    Examples:

        hdagger lens restore image.fits --noise noise.fits --psf psf.fits --lens lens.toml -o out

        hdagger lens restore image.fits --sigma 0.01 --pixel-scale 0.05 --lens lens.toml
    """
    if not 8 <= pixels <= 512:
        raise SettingError(f"Wanted sources of 8 to 512 pixels a side, but got {pixels}. Try 64.")
    if pixel_scale is not None and not 1e-4 <= pixel_scale <= 100:
        raise SettingError(f"Wanted pixels of 0.0001 to 100 arcsec, but got {pixel_scale:g}.")
    if source_size is not None and not 1e-3 <= source_size <= 1000:
        raise SettingError(f"Wanted a source of 0.001 to 1000 arcsec, but got {source_size:g}.")
    check_steps(steps)
    check_prior(prior)
    check_file(image, "an image")
    check_file(lens_file, "a lens")
    plan = Recipe(method, settings_said(setting or []), steps or 0, samples, seed, prior)

    from ...restoration import restore
    from .pages import summary_words, write_restoration
    from .reading import Files, read, read_truth

    files = Files(image, lens_file, noise, sigma, psf, pixel_scale, source_size, pixels)
    reading = read(files)
    known = None if truth is None else read_truth(truth, reading)
    for found in reading.notes:
        note(f"{image.name}: {found}")
    with whole_folder(out, "lens") as folder:
        with progress(f"{plan.samples} samples") as watch:
            drawn = restore(plan, reading.measurement, watch)
        summary = write_restoration(folder, reading, drawn, known)
    if as_json:
        tell(summary)
    else:
        print(f"{summary_words(summary)}\n{out / 'report.html'}")


@lens.command()
def simulate(
    source: Annotated[
        Path | None,
        typer.Argument(help="Picture of a galaxy on a dark sky; by default a Sersic profile."),
    ] = None,
    lens_file: Annotated[
        Path | None, typer.Option("--lens", help="lens.toml; by default one that is common.")
    ] = None,
    peak: Annotated[float, typer.Option(help="Of the image over its noise.")] = 25.0,
    pixels: Annotated[int, typer.Option(help="Pixels a side of the image.")] = 100,
    pixel_scale: Annotated[float, typer.Option(help="Arcsec a pixel.")] = 0.05,
    fwhm: Annotated[float, typer.Option(help="Of the point spread, arcsec.")] = 0.1,
    seed: Seed = 0,
    out: Folder = Path("simulated"),
    as_json: AsJson = False,
) -> None:
    """Simulate the image of a galaxy behind a lens, to try *restore* on.

    The folder gets *image.fits*, *noise.fits*, *psf.fits*, *lens.toml* and *truth.fits*.

    Examples:

        hdagger lens simulate -o sim

        hdagger lens simulate galaxy.png --lens lens.toml --peak 50 -o sim
    """
    for path, what in ((source, "a picture of a galaxy"), (lens_file, "a lens")):
        if path is not None:
            check_file(path, what)
    if not 1 <= peak <= 1e5:
        raise SettingError(f"Wanted a peak of 1 to 100000 deviations, but got {peak:g}. Try 25.")
    if not 16 <= pixels <= 1024:
        raise SettingError(f"Wanted images of 16 to 1024 pixels a side, but got {pixels}.")
    if not 1e-4 <= pixel_scale <= 100:
        raise SettingError(f"Wanted pixels of 0.0001 to 100 arcsec, but got {pixel_scale:g}.")
    check_seed(seed)

    from .pages import write_simulation
    from .simulation import scene

    view, simulated = scene(source, lens_file, pixels, pixel_scale, fwhm, peak, seed)
    with whole_folder(out, "lens-simulate") as folder:
        write_simulation(folder, view, simulated)
    if as_json:
        files = {"measurement": "image.fits", "lens": "lens.toml"}
        files |= {name: f"{name}.fits" for name in ("noise", "psf", "truth")}
        tell({name: str(out / file) for name, file in files.items()})
        return
    print(
        f"{out / 'image.fits'}: {view.lens}\nNext: hdagger lens restore {out / 'image.fits'} "
        f"--noise {out / 'noise.fits'} --psf {out / 'psf.fits'} --lens {out / 'lens.toml'} "
        f"--truth {out / 'truth.fits'} -o out"
    )


@lens.command()
def train(
    plan: Annotated[Path, typer.Argument(help="Training plan; see training/galaxies.toml.")],
    out: Folder = Path("runs/galaxies"),
    as_json: AsJson = False,
) -> None:
    """Train a galaxy prior, or go on with a training that was stopped.

    Example:

        hdagger lens train training/galaxies.toml -o runs/galaxies
    """
    check_plan(plan)

    from .learning import GalaxyPlan, GalaxyTraining

    GalaxyTraining(GalaxyPlan.read(plan), out).run_aloud(as_json)
