"""``hdagger check``: are the error bars of a method right?"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from ..errors import SettingError
from ..progress import progress


def check(
    method: Annotated[str, typer.Option(help="Of hdagger restore.")] = "ddrm",
    operator: Annotated[
        str, typer.Option(help="What is measured, as a measurement file says it.")
    ] = "average:4",
    sigma_y: Annotated[float, typer.Option(help="Noise on the data, pixels in [-1, 1].")] = 0.1,
    prior: Annotated[
        str, typer.Option(help="field (a Gaussian random field), a bundled prior, or a file.")
    ] = "field",
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder whose crops are measured; by default draws of the prior."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Noise levels to walk down; by default as in restore.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of what is measured, in pixels.")] = 32,
    simulations: Annotated[int, typer.Option(help="How many are measured.")] = 40,
    draws: Annotated[int, typer.Option(help="Samples of each.")] = 39,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    store: Annotated[
        bool, typer.Option(help="Keep the verdict beside the prior, for the reports of restore.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw coverage against level: .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Check a method by simulation: do its intervals hold the truth as often as they say?

    Draws of the prior are measured and sampled from their measurements, which checks the
    method. With --pictures it is crops of those, which checks the method and the prior.

    Examples:

        hdagger check --method ddrm

        hdagger check --method tmpd --plot tmpd.svg

        hdagger check --prior photo --pictures holiday/ --store
    """
    from ..calibration import LEVELS, Subject, check_method
    from ..priors import zoo
    from ..restoration import METHODS
    from ..verdicts import Verdict, fingerprint
    from ..verdicts import store as keep

    if method not in METHODS:
        raise SettingError(f"Wanted a method, one of {', '.join(METHODS)}, but got {method!r}.")
    if size < 8:
        raise SettingError(f"Wanted pictures of 8 pixels a side or more, but got {size}. Try 32.")
    if prior == "field" and (store or pictures is not None):
        raise SettingError(
            "Wanted a prior of pictures for --pictures and --store, but got the field. "
            "Try --prior photo."
        )
    generator = torch.Generator().manual_seed(seed)

    def noise(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    if prior == "field":
        subject = Subject.field(simulations, size, noise)
    elif pictures is None:
        subject = Subject.drawn(zoo.card(prior), simulations, size, noise)
    else:
        subject = Subject.pictured(zoo.card(prior), simulations, size, pictures, seed)
    steps = steps or METHODS[method].steps
    with progress(f"{simulations} simulations") as watch:
        found = check_method(subject, method, steps, operator, sigma_y, draws, generator, watch)
    if plot is not None:
        plot.write_text(found.svg())
    if store:
        card = zoo.card(prior)
        verdict = Verdict(
            method=method,
            steps=steps,
            prior_sha256=card.sha256 or fingerprint(card.weights),
            operator=operator,
            sigma_y=sigma_y,
            truths=subject.origin,
            side=size,
            draws=draws,
            coverage_90=found.covered[LEVELS.index(0.9)],
            chi2_dof=found.chi2_dof,
            words=found.verdict,
        )
        keep(card.weights, verdict)
    if as_json:
        covered = dict(zip(map(str, LEVELS), found.covered, strict=True))
        print(
            json.dumps(
                {
                    "verdict": found.verdict,
                    "coverage": covered,
                    "chance": found.chance,
                    "chi2_dof": found.chi2_dof,
                    "p_value": found.p_value,
                }
            )
        )
        return
    print(found.verdict)
    for level, held in zip(LEVELS, found.covered, strict=True):
        print(f"  {100 * level:.0f} % intervals cover {100 * held:.1f} %")
    if found.chi2_dof is not None:
        print(f"  |y - H x|^2 is {found.chi2_dof:.2f} of what the noise explains")
    print(f"  ranks of one pixel: p = {found.p_value:.2g}")
