"""``hdagger priors``: what there is, adding one, and whether to trust it."""

import shlex
from pathlib import Path
from typing import Annotated, Any, no_type_check

import typer
from rich.console import Console
from rich.table import Table

from .. import completion
from ..errors import SettingError
from ..files import check_folder
from ..options import AsJson, DomainName, check_domain, check_prior
from ..priors import cards
from ..progress import progress
from ..signals import check_truths
from ..telling import Exit, tell

priors = typer.Typer(invoke_without_command=True)

Known = Annotated[
    str,
    typer.Argument(help="A prior, or a .safetensors file.", autocompletion=completion.priors),
]


@priors.callback()
@no_type_check  # typer passes the context of the click that it is built on, no typer.Context
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """List the priors with their cards; add one, check one, or calibrate one.

    Examples:

        hdagger priors

        hdagger priors --json

        hdagger priors add celeba --from google/ddpm-celebahq-256

        hdagger priors check photo

        hdagger priors calibrate celeba --pictures faces/
    """
    if context.invoked_subcommand is None:
        console = Console(highlight=False)
        for card in cards.known():
            tell(_facts(card)) if as_json else _print(console, card)


def _print(console: Console, card: Any) -> None:
    console.print(f"[bold]{card.name}[/bold]  {card.subject}")
    size = card.weights.stat().st_size / 1e6 if card.weights.exists() else 0
    channels = "1 channel" if card.channels == 1 else f"{card.channels} channels"
    picture = f"{channels}, " + (f"{card.size} x {card.size}" if card.size else "any size")
    for title, text in (
        ("licence", card.licence),
        ("takes", picture + (f", {card.classes} classes" if card.classes else "")),
        ("units", card.units),
        ("not to be used for", card.unfit_for),
        ("noise levels", f"{card.sigma_min:g} to {card.sigma_max:g}"),
        ("weights", f"{size:.1f} MB, sha256 {card.sha256[:16]}..."),
        ("guided by", card.classifier),
        ("error bars", _calibrated(card)),
        ("source", card.source),
        ("data", card.data),
        ("recipe", card.recipe),
        ("evaluation", card.evaluation),
    ):
        if text:
            console.print(f"  {title}: {text.strip()}", markup=False)


def _facts(card: Any) -> dict[str, Any]:
    """All that is known of a prior."""
    from ..priors import zoo

    told = {name: value for name, value in vars(card).items() if value not in ("", None)}
    told["weights"] = str(card.weights)
    told["calibrated"] = zoo.is_calibrated(card) if card.weights.is_file() else None
    return told


def _calibrated(card: Any) -> str:
    from ..priors import zoo

    is_so = zoo.is_calibrated(card) if card.weights.is_file() else None
    if is_so is None:
        return ""
    return "calibrated, for the method drawn" if is_so else f"open; {zoo.how_to_calibrate(card)}"


@priors.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="A checkpoint file, a diffusers folder, or a hub id; docs/checkpoints.md.",
        ),
    ],
    licence: Annotated[str, typer.Option(help="Of the weights, for the card.")] = "",
    classifier: Annotated[
        str, typer.Option(help="A classifier, already added, that can guide it to a label.")
    ] = "",
    prompt: Annotated[str, typer.Option(help="What --label 0 of a latent prior means.")] = "",
    any_label: Annotated[
        int | None, typer.Option(help='The label that stands for "any", if it learned one.')
    ] = None,
    trust_pickle: Annotated[
        Path | None,
        typer.Option(
            metavar="CLONE",
            help="Run the code in an EDM pickle, with the authors' repository in this folder.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a checkpoint to your own priors; nothing is added if anything is wrong with it.

    It is converted once, to safetensors, and its hash is checked at every load.

    Examples:

        hdagger priors add imagenet256 --from 256x256_diffusion_uncond.pt

        hdagger priors add celeba --from google/ddpm-celebahq-256

        hdagger priors add cifar --from edm-cifar10-32x32-cond-vp.pkl --trust-pickle ~/edm
    """
    cards.check_new(name)
    cards.checked_source(source, trusted=trust_pickle is not None)
    if classifier:
        cards.named(classifier)

    from ..priors import zoo

    added = zoo.add(name, source, licence, trust_pickle, prompt, any_label, classifier)
    if as_json:
        tell(_facts(added))
        return
    _print(Console(highlight=False), added)
    print(f"Next: hdagger priors check {name}")


@priors.command()
def check(
    name: Known,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Clean pictures that it was made for; without, its own samples."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many pictures to look at.")] = 4,
    size: Annotated[
        int, typer.Option(help="Their side, for a prior that takes any; 0 for 64.")
    ] = 0,
    label: Annotated[int | None, typer.Option(help="Their class, if the prior wants one.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Check a prior before you trust it: is it a denoiser, and on which noise levels?

    At every level: its error beside the noise's and the data's; whether its prediction is a
    conditional mean (columns that are 1 for one); its range; how far its Jacobian is from
    symmetric. Then the time and the memory of a call. If it is not sound, the exit code is 1.

    Examples:

        hdagger priors check photo

        hdagger priors check imagenet256 --pictures photographs --count 2
    """
    check_prior(name)
    if pictures is not None:
        check_folder(pictures, "clean pictures")

    from dataclasses import asdict

    from ..domains.pictures import prior_checks as checks
    from ..priors import zoo

    card = zoo.card(name)
    with progress(f"checking {name}") as watch:
        found = checks.examine(card, pictures, count, size, label, seed, watch)
    if as_json:
        tell(asdict(found) | {"verdict": found.verdict, "sound": found.sound})
    else:
        _print_check(found)
    if not found.sound:
        raise typer.Exit(Exit.FAILED)


def _print_check(found: Any) -> None:
    table = Table(
        "sigma", "error / noise", "error / data", "mean", "Pythagoras", "across", "J - J^T"
    )
    for level in found.levels:
        table.add_row(
            f"{level.sigma:.3g}",
            *(
                f"{value:.3f}"
                for value in (
                    level.error_to_noise,
                    level.error_to_data,
                    level.calibration,
                    level.pythagoras,
                    level.across,
                    level.asymmetry,
                )
            ),
        )
    Console().print(table)
    print(
        f"{found.seconds:.3g} s a call, {found.gradient_seconds:.3g} s with its gradient, which "
        f"keeps {found.gradient_mb:.0f} MB; weights {found.weights_mb:.0f} MB"
    )
    print(found.verdict)


@priors.command()
def calibrate(
    name: Known,
    pictures: Annotated[
        Path, typer.Option(help="Clean files that it was made for, and was not trained on.")
    ],
    domain: DomainName = "pictures",
    count: Annotated[int, typer.Option(help="How many crops to measure.")] = 32,
    size: Annotated[
        int | None, typer.Option(help="Their side; by default the prior's own, or 96.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the crops and the noise.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure what a prior leaves open, for error bars that hold: once for each prior.

    How far its predictions are off, by noise level, by frequency, and by how sure it is of a
    place, on crops at full resolution, the middle of each picture first. What comes out is kept
    beside its weights, as *NAME.covariance.safetensors*; from then on ``restore`` takes the
    method *drawn* with it.

    Examples:

        hdagger priors calibrate celeba --pictures faces/

        hdagger priors calibrate runs/digits/prior.safetensors --pictures digits/ --size 28
    """
    if size is not None and size < 8:
        raise SettingError(f"Wanted crops of 8 pixels or more, but got --size {size}. Try 96.")
    check_prior(name)
    check_domain(domain)
    check_folder(pictures, "clean files")
    check_truths(count)

    from ..recipe import Recipe
    from ..restoration import Prior

    prior = Prior.of(Recipe(prior=name))
    with progress(f"calibrating {name}") as watch:
        path, about = prior.calibrate(pictures, domain, count, size, seed, watch)
    if as_json:
        tell({"prior": name, "calibrated_on": about, "covariances": str(path)})
        return
    print(f"{name} is calibrated on {about}: {path}")
    print(f"Next: hdagger check --prior {shlex.quote(name)} --pictures FOLDER --method auto")
