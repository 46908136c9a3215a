"""The application, and the one place that turns errors into exit codes."""

import signal
import sys
from typing import cast

import typer
from rich.console import Console

from ..domains.ct.commands import ct
from ..domains.lensing.commands import lens
from ..domains.motion.commands import motion
from ..domains.mri.commands import mri
from ..domains.pictures.commands import degrade, restore
from ..errors import HDaggerError
from .batch import batch
from .bench import bench
from .check import check
from .doctor import doctor
from .priors import priors
from .talk import talk
from .train import train

app = typer.Typer(
    help="Restores pictures from their measurements with a diffusion prior, and says how sure.",
    add_completion=False,
    rich_markup_mode="markdown",
)
for command in (restore, batch, degrade, check, train, doctor):
    app.command()(command)
bench.command()(talk)
app.add_typer(bench, name="bench")
app.add_typer(priors, name="priors")
app.add_typer(motion, name="motion")
app.add_typer(lens, name="lens")
app.add_typer(mri, name="mri")
app.add_typer(ct, name="ct")


UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""The command line's own complaint about its options, whichever click typer is built on."""

STOPPED = 130
"""The exit code after Ctrl-C and SIGTERM; typer gives it, too, for what it catches itself."""


def main() -> None:
    """Runs the command line; what a caller can mend is one line and exit code 2.

    SIGTERM stops it as Ctrl-C does: what was begun is cleared away.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except HDaggerError as error:
        _say(str(error))
        status = 2
    except UsageError as error:
        _say(f"{str(error).rstrip('.')}. See hdagger --help.")
        status = 2
    except (typer.Abort, KeyboardInterrupt):
        status = STOPPED
    if status == STOPPED:
        _say("Stopped; nothing is half-written.")
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    line = " ".join(message.split())
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"hdagger: {line}", markup=False)
