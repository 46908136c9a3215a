"""``hdagger check``: are the error bars of a method right?"""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import completion
from ..domains.pictures.arguments import check_text
from ..domains.pictures.options import complete
from ..errors import FileError, SettingError
from ..files import check_folder, whole_file
from ..options import AsJson, DomainName, check_domain, check_prior
from ..priors.cards import FIELD, check_field
from ..progress import progress
from ..recipe import CHOSEN, Recipe, settings_said
from ..telling import Exit, tell

if TYPE_CHECKING:
    from ..calibration import Calibration


def check(
    method: Annotated[
        str,
        typer.Option(
            help="Of hdagger restore; auto and quick too.", autocompletion=completion.methods
        ),
    ] = "auto",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the method, as eta=0.5; may be repeated."),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            help="What is measured, as a measurement file says it, as average:4 (which is the "
            "default); may be repeated, for a column each.",
            autocompletion=complete,
        ),
    ] = None,
    sigma_y: Annotated[
        float | None,
        typer.Option(help="Noise on the data, in their units; 0.1, or 0 if they are rounded."),
    ] = None,
    prior: Annotated[
        str,
        typer.Option(
            help="field (a Gaussian random field), one of hdagger priors, or a file.",
            autocompletion=completion.priors,
        ),
    ] = FIELD,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures, or of clips, parts of which are measured; by default draws "
            "of the prior."
        ),
    ] = None,
    domain: DomainName = "pictures",
    steps: Annotated[
        int | None, typer.Option(help="Noise levels to walk down; by default as in restore.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of what is measured; by default the prior's own, or 32."),
    ] = None,
    simulations: Annotated[int, typer.Option(help="How many are measured.")] = 40,
    draws: Annotated[int, typer.Option(help="Samples of each, 2 or more.")] = 39,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    label: Annotated[
        int | None, typer.Option(help="Draw towards this class, if the prior knows classes.")
    ] = None,
    guidance: Annotated[
        float, typer.Option(help="How far towards the class; 1 is the plain conditional prior.")
    ] = 1.0,
    save_memory: Annotated[
        bool, typer.Option(help="Less memory for a large network's gradient, a third more time.")
    ] = False,
    conformal: Annotated[
        bool,
        typer.Option(
            "--conformal",
            help="Find the factor by which the 90 % intervals hold by construction on such "
            "signals; 9 simulations or more.",
        ),
    ] = False,
    store: Annotated[
        bool, typer.Option(help="Keep the verdict, for the reports of restore.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw coverage against level: .svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a method by simulation: do its intervals hold the truth as often as they say?

    Draws of the prior are measured and restored from their measurements, just as hdagger restore
    does it, which checks the method. With --pictures it is crops of those, which checks the
    method and the prior. Where the intervals of one operator do not hold, the exit code is 1.

    Examples:

        hdagger check

        hdagger check --method tmpd --set iterations=10 --plot tmpd.svg

        hdagger check --prior photo --pictures holiday/ --store

        hdagger check --prior photo --operator average:4 --operator gauss:2 --draws 8

        hdagger check --prior photo --pictures holiday/ --conformal --store
    """
    operators = operator or ["average:4"]
    _refuse(operators, sigma_y, size, simulations, draws, steps, prior, store, plot)
    check_domain(domain)
    if domain == "pictures":
        for text in operators:
            check_text(text)
    if prior != FIELD:
        check_prior(prior, label)
    else:
        check_field(pictures)
    if pictures is not None:
        check_folder(pictures, "what is to be measured")
    recipe = Recipe(
        method=method,
        settings=settings_said(setting or ()),
        steps=steps or 0,
        samples=draws,
        seed=seed,
        prior=prior,
        label=label,
        guidance=guidance,
        save_memory=save_memory,
    )
    from ..calibration import plan
    from ..verdicts import check_place
    from ..verdicts import store as keep

    of = lambda text, at_hand: plan(
        recipe, text, sigma_y, simulations, pictures, size, domain, conformal, at_hand
    )
    with ExitStack() as stack:
        drawing = None if plot is None else _drawing(stack, plot)
        first = of(operators[0], None)
        ready = [first, *(of(text, first.prior) for text in operators[1:])]
        if store:
            for each in ready:
                check_place(each.promised)
        found = []
        for each in ready:
            with progress(f"{simulations} simulations of {each.operator}") as watch:
                found.append(each.run(watch))
            if store:
                keep(found[-1].verdict)
        if drawing is not None:
            drawing.write_text(found[0].svg())
    if as_json:
        for each in found:
            tell(_numbers(each))
    else:
        print(_words(found, method))
    if not all(each.holds for each in found):
        raise typer.Exit(Exit.FAILED)


def _refuse(
    operators: list[str],
    sigma_y: float | None,
    size: int | None,
    simulations: int,
    draws: int,
    steps: int | None,
    prior: str,
    store: bool,
    plot: Path | None,
) -> None:
    """What is wrong whatever the prior and the method are, said before anything is imported."""
    if sigma_y is not None and not 0 <= sigma_y < math.inf:
        raise SettingError(f"Wanted noise of 0 or more, but got {sigma_y}. Try --sigma-y 0.1.")
    for name, value, least, mend in (
        ("--size", size, 8, 32),
        ("--simulations", simulations, 2, 40),
        ("--draws", draws, 2, 39),
        ("--steps", steps, 1, 20),
    ):
        if value is not None and value < least:
            raise SettingError(f"Wanted {least} or more, but got {name} {value}. Try {mend}.")
    if prior == FIELD and store:
        raise SettingError(
            "Wanted a prior to keep a verdict on, but got the field. Try --prior photo."
        )
    if plot is not None and len(operators) > 1:
        raise SettingError(
            f"Wanted one operator to draw, but got {len(operators)}. Leave --plot out, or all "
            "but one --operator."
        )
    if plot is not None and (plot.suffix != ".svg" or plot.is_dir()):
        raise FileError(f"Wanted a .svg file for --plot, but got {plot}. Try check.svg.")


def _drawing(stack: ExitStack, plot: Path) -> Path:
    """Where to draw; refused before any work if it cannot be written."""
    try:
        return stack.enter_context(whole_file(plot))
    except FileError as error:
        raise FileError(
            f"Wanted a place to draw, but {plot} cannot be written. Choose another with --plot."
        ) from error


def _numbers(found: "Calibration") -> dict[str, Any]:
    """The numbers, for a machine."""
    subject, scores = found.subject, found.scores
    one, mean = scores.psnr or (None, None)
    return {
        "verdict": found.words,
        "method": subject.method,
        "settings": dict(subject.settings),
        "steps": subject.steps,
        "operator": subject.operator,
        "sigma_y": subject.sigma_y,
        "truths": found.truths,
        "shape": found.shape,
        "simulations": found.simulations,
        "draws": found.draws,
        "coverage": {str(level): held for level, held in scores.covered.items()},
        "coverage_90_by_activity": scores.thirds,
        "chance": found.chance,
        "chi2_dof": scores.chi2_dof,
        "p_value": found.p_value,
        "crps": scores.crps,
        "energy_score": scores.energy,
        "fine_texture": scores.texture,
        "spread_over_error": scores.bands,
        "psnr_of_one": one,
        "psnr_of_the_mean": mean,
        "conformal_factors": found.factors,
        "nfe": scores.nfe,
        "seconds_a_sample": scores.seconds,
    }


def _words(found: "list[Calibration]", asked: str) -> str:
    """The numbers, for a person: a sentence and a column for each operator."""
    lines = []
    for each in found:
        name = f"{each.subject.operator}: " if len(found) > 1 else ""
        lines += [f"{name}{words}" for words in (each.words, each.promise) if words]
    if asked in CHOSEN:
        stands = ", ".join(dict.fromkeys(each.subject.method for each in found))
        lines.insert(0, f"{asked} stands for {stands}")
    columns = [
        each.scores.described() | {"ranks of one element": f"p = {each.p_value:.2g}"}
        for each in found
    ]
    rows = [[name, *(column.get(name, "") for column in columns)] for name in _names(columns)]
    if len(found) > 1:
        rows.insert(0, ["", *(each.subject.operator for each in found)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ([cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)] for row in rows)
    return "\n".join([*lines, *(f"  {'  '.join(row)}".rstrip() for row in cells)])


def _names(columns: list[dict[str, str]]) -> list[str]:
    """Of all rows that any column has, in their order."""
    return list(dict.fromkeys(name for column in columns for name in column))
