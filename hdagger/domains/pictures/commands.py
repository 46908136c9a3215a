"""``hdagger restore`` and ``hdagger degrade``: pictures in, pictures and a report out."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ... import completion
from ...errors import SettingError
from ...files import check_file
from ...options import AsJson, Folder, Seed, Setting, check_prior, check_seed, check_steps
from ...progress import progress
from ...recipe import CHOSEN, Recipe, read_toml, settings_said
from ...samplers import METHODS
from ...streams import DASH, check_output, read_from, written_to
from ...telling import note, tell
from .options import (
    Blur,
    Colorize,
    Damages,
    Denoise,
    Kernel,
    Mask,
    OperatorText,
    SigmaY,
    Upscale,
)


def restore(
    picture: Annotated[
        Path, typer.Argument(help="Damaged picture, or a measurement .npz; - reads one.")
    ],
    mask: Mask = None,
    upscale: Upscale = None,
    kernel: Kernel = None,
    blur: Blur = None,
    colorize: Colorize = None,
    denoise: Denoise = None,
    sigma_y: SigmaY = None,
    operator: OperatorText = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="A recipe.toml of an earlier restoration, to repeat or to vary."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join((*CHOSEN, *METHODS))}; auto by default.",
            autocompletion=completion.methods,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="One soft picture at once, without error bars that hold."),
    ] = False,
    setting: Setting = None,
    steps: Annotated[
        int | None, typer.Option(help="Noise levels to walk down; by default enough.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="How many to draw; 8 by default, whose mean is nearly that of many."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the noise; the same seed, the same samples.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="One of hdagger priors, or a .safetensors file.",
            autocompletion=completion.priors,
        ),
    ] = None,
    label: Annotated[
        int | None, typer.Option(help="Restore towards this class, if the prior knows classes.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How far towards the class; 1 is the plain conditional prior."),
    ] = None,
    save_memory: Annotated[
        bool | None,
        typer.Option(
            "--save-memory",
            help="Less memory for a large network's gradient, a third more time.",
        ),
    ] = None,
    out: Folder = Path("restored"),
    as_json: AsJson = False,
) -> None:
    """Restore a picture: the mean of what it may have been, and how sure that is.

    Say what happened to it, once or more; say nothing, and a .jpg file's own tables, holes
    (transparent pixels) or noise are found. What comes out: *mean.png*, the answer; *std.png*,
    where the samples disagree; *samples/\\*.png*, what else it may have been; *samples.npz*
    (floats, without loss), *summary.json*, *recipe.toml*, *report.html*. With a dash for the
    picture and for the folder, a picture comes in by a pipe, and *mean.png* goes out by one.

    Examples:

        hdagger restore noisy.png

        hdagger restore old.jpg -o out

        hdagger restore noisy.png --quick

        hdagger restore old.jpg --mask holes.png --upscale 2

        hdagger restore scan.png --mask scratches.png

        hdagger restore small.png --upscale 4 --sigma-y 0.02 -o large

        hdagger restore shaken.png --blur motion:15,30 --sigma-y 0.05

        hdagger restore small.png --upscale 4 --method pigdm --set eta=0.5 --set solver=heun

        hdagger restore small.png --recipe large/recipe.toml -o again

        cat noisy.png | hdagger restore - -o - > clear.png
    """
    check_output(out, as_json)
    if picture != DASH:
        check_file(picture, "a picture")
    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y, operator)
    plan = Recipe()
    if recipe is not None:
        plan = Recipe.from_toml(recipe)
        damages = damages.or_else(
            Damages.from_table(read_toml(recipe, "a recipe").get("damage", {}))
        )
    damages.check_files()
    if quick and method is not None:
        raise SettingError(
            f"Wanted one method, but got --quick and --method {method}. Leave one out."
        )
    said: dict[str, Any] = {
        "method": "quick" if quick else method,
        "steps": steps,
        "samples": 1 if quick and samples is None else samples,
        "seed": seed,
        "prior": prior,
        "label": label,
        "guidance": guidance,
        "save_memory": save_memory,
    }
    check_steps(steps)
    check_prior(prior or plan.prior, plan.label if label is None else label)
    kept = {} if said["method"] not in (None, plan.method) else dict(plan.settings)
    said["settings"] = kept | settings_said(setting or [])
    plan = replace(plan, **{name: value for name, value in said.items() if value is not None})

    from ...report import residual_words
    from ...restoration import restore
    from .figures import answer_words
    from .job import job_of

    with read_from(picture, "a picture") as file:
        job = job_of(file, damages)
    with written_to(out, "restore", "mean.png") as folder:
        for found in job.notes:
            note(found)
        with progress(f"samples: {plan.samples}") as watch:
            drawn = restore(plan, job.measurement, watch)
        summary = job.write(folder, drawn)
    if as_json:
        tell(summary)
        return
    told = [answer_words(drawn), summary["warning"], residual_words(summary), summary["checked"]]
    told += [] if out == DASH else [str(out / "mean.png"), str(out / "report.html")]
    for line in filter(None, told):
        note(line) if out == DASH else print(line)


def degrade(
    picture: Annotated[Path, typer.Argument(help="Clean picture; - reads one.")],
    mask: Mask = None,
    upscale: Upscale = None,
    kernel: Kernel = None,
    blur: Blur = None,
    colorize: Colorize = None,
    denoise: Denoise = None,
    sigma_y: SigmaY = None,
    operator: OperatorText = None,
    seed: Seed = 0,
    out: Folder = Path("degraded"),
    as_json: AsJson = False,
) -> None:
    """Damage a clean picture, to see how well it is restored.

    The options are those of *restore*, and do what it undoes. A blur needs surroundings: the
    result is smaller than the picture by its reach. What comes out: *damaged.png*
    to look at and *measurement.npz* to restore, which holds the data without rounding, the
    operator and the noise. To a dash for the folder goes *damaged.png*.

    Examples:

        hdagger degrade clean.png --upscale 4

        hdagger degrade clean.png --blur gauss:2 --sigma-y 0.1 -o blurred

        hdagger degrade clean.png --operator "average:2 | jpeg:10"

        hdagger restore blurred/measurement.npz
    """
    check_output(out, as_json)
    if picture != DASH:
        check_file(picture, "a picture")
    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y, operator)
    damages.check_files()
    noise = damages.noise or 0.0
    check_seed(seed)
    if damages.text == "none" and noise == 0:
        raise SettingError(
            "Wanted a damage, but got none. Give --mask, --upscale, --blur, --colorize, "
            "--denoise, --sigma-y or --operator."
        )

    from .domain import PICTURES
    from .files import read_picture
    from .reading import with_files
    from .words import picture_of
    from .writing import write_picture

    text, arrays = with_files(damages.text)
    with read_from(picture, "a picture") as file:
        clean = read_picture(file)
    measurement = PICTURES.measure(clean.pixels, text, arrays, noise, seed)
    with written_to(out, "degrade", "damaged.png") as folder:
        measurement.save(folder / "measurement.npz")
        write_picture(folder / "damaged.png", picture_of(measurement), clean.bits, clean.extras)
    if as_json:
        tell({"measurement": str(out / "measurement.npz"), "operator": text, "sigma_y": noise})
    elif out != DASH:
        print(f"{out / 'measurement.npz'}: {text}, sigma_y {noise:g}")
