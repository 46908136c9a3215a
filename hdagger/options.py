"""Options that the commands of several domains have, and the refusals that go with them."""

from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .errors import SettingError
from .files import check_file, check_name
from .priors import cards
from .recipe import CHOSEN, read_toml
from .samplers import METHODS
from .signals import DOMAINS

Method = Annotated[
    str,
    typer.Option(
        help=f"{', '.join((*CHOSEN, *METHODS))}; auto by default.",
        autocompletion=completion.methods,
    ),
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the method, as eta=0.5; may be repeated."),
]
Steps = Annotated[int | None, typer.Option(help="Noise levels to walk down; by default enough.")]
Samples = Annotated[int, typer.Option(help="How many to draw.")]
Seed = Annotated[int, typer.Option(help="Of the noise.")]
PriorName = Annotated[
    str,
    typer.Option(
        help="One of hdagger priors, or a .safetensors file.", autocompletion=completion.priors
    ),
]
DomainName = Annotated[
    str, typer.Option(help="The kind of signal.", autocompletion=completion.domains)
]
Folder = Annotated[Path, typer.Option("-o", "--out", help="Folder for what comes out.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print what was found as JSON, one line for each thing.")
]


def check_steps(steps: int | None) -> None:
    """Refuses a walk without a step; None is for enough."""
    if steps == 0:
        raise SettingError("Wanted 1 step or more, but got --steps 0. Leave it out.")


def check_prior(name: str, label: int | str | None = None) -> None:
    """Refuses a name that no prior has, a file that is not there, and a label that the prior's
    card does not know; nothing is loaded."""
    if name.endswith(cards.WEIGHTS):
        check_name(name, "a prior")
        check_file(Path(name), "a prior")
    else:
        card = cards.named(name)
        if label is not None:
            card.checked(label)


def check_workers(count: int) -> None:
    """Refuses a number of processes that none can be."""
    if not 1 <= count <= 10_000:
        raise SettingError(f"Wanted 1 to 10000 workers, but got {count}. Try 2.")


def check_domain(name: str) -> None:
    """Refuses a kind of signals that there is not; nothing of them is imported."""
    DOMAINS.check(name)


def check_plan(path: Path) -> None:
    """Refuses what is no TOML; what the plan says is looked at by what trains."""
    read_toml(path, "a training plan")


def check_seed(seed: int) -> None:
    """Refuses what no generator takes."""
    if not 0 <= seed < 2**63:
        raise SettingError(f"Wanted a seed of 0 or more, but got {seed}. Try --seed 0.")
