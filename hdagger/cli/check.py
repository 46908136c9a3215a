"""``hdagger check``: are the error bars of a method right?"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from ..errors import SettingError
from .progress import progress


def check(
    method: Annotated[str, typer.Option(help="Of hdagger restore, or tmpd.")] = "ddrm",
    operator: Annotated[
        str, typer.Option(help="What is measured, as a measurement file says it.")
    ] = "average:4",
    sigma_y: Annotated[float, typer.Option(help="Noise on the data, pixels in [-1, 1].")] = 0.1,
    prior: Annotated[
        str, typer.Option(help="field (a Gaussian random field), a bundled prior, or a file.")
    ] = "field",
    steps: Annotated[int, typer.Option(help="Noise levels to walk down.")] = 50,
    size: Annotated[int, typer.Option(help="Side of the pictures.")] = 32,
    simulations: Annotated[int, typer.Option(help="Truths to draw.")] = 40,
    draws: Annotated[int, typer.Option(help="Samples of each.")] = 39,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw coverage against level: .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Check a method by simulation: do its intervals hold the truth as often as they say?

    Truths are drawn from the prior, measured, and sampled from their measurements.

    Examples:

        hdagger check --method ddrm

        hdagger check --method tmpd --plot tmpd.svg
    """
    from ..calibration import LEVELS, calibrate
    from ..operators.text import operator_for_signal
    from ..priors import zoo
    from ..priors.analytic import GaussianField
    from ..restoration import METHODS
    from ..samplers.base import Problem, karras_levels
    from ..samplers.ddim import DDIM
    from ..samplers.integrators import Multistep
    from ..samplers.tmpd import TMPD

    if method not in (*METHODS, "tmpd"):
        raise SettingError(
            f"Wanted a method, one of tmpd, {', '.join(METHODS)}, but got {method!r}."
        )
    if size < 8:
        raise SettingError(f"Wanted pictures of 8 pixels a side or more, but got {size}. Try 32.")
    generator = torch.Generator().manual_seed(seed)

    def noise(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    if prior == "field":
        card, denoiser = zoo.card("photo"), GaussianField(size)
        card_levels = karras_levels(steps, low=0.01, high=80.0)
        truths = denoiser.sample(simulations, noise)
    else:
        card = zoo.card(prior)
        denoiser = zoo.load(card, "cpu")
        card_levels = karras_levels(steps, low=card.sigma_min, high=card.sigma_max)
        shape = (card.channels, size, size)
        anything = operator_for_signal("none", shape, {})
        nothing = Problem(torch.zeros(simulations, *shape, dtype=torch.float64), anything)
        truths = DDIM(denoiser, eta=0.0).sample(nothing, card_levels, noise)
    H = operator_for_signal(operator, tuple(truths.shape[1:]), {})
    if method == "tmpd":
        tolerance = 1e-6 if prior == "field" else 1e-3
        sampler = Multistep(TMPD(denoiser, eta=0.0, tolerance=tolerance))
    else:
        sampler = METHODS[method].make(denoiser, card, sigma_y)
    with progress(f"{simulations} simulations") as watch:
        found = calibrate(truths, sampler, H, sigma_y, card_levels, draws, generator, watch)
    if plot is not None:
        plot.write_text(found.svg())
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
