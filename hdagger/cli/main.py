"""The application, and the one place that turns errors into exit codes."""

import signal
import sys
from types import FrameType
from typing import cast

import typer

from ..domains.ct.commands import ct
from ..domains.lensing.commands import lens
from ..domains.motion.commands import motion
from ..domains.mri.commands import mri
from ..domains.pictures.commands import degrade, restore
from ..errors import HDaggerError
from ..telling import Exit, note
from .batch import batch
from .bench import bench
from .check import check
from .doctor import doctor
from .priors import priors
from .report import compare, report
from .serve import serve
from .talk import talk
from .train import train

app = typer.Typer(
    help="Restores pictures from their measurements with a diffusion prior, and says how sure.",
    rich_markup_mode="markdown",
)
for command in (restore, batch, serve, degrade, check, report, compare, train, doctor):
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


def main() -> None:
    """Runs the command line; what a caller can mend is one line.

    SIGTERM stops it as Ctrl-C does: what was begun is cleared away. The exit codes are those of
    :class:`.telling.Exit`.
    """
    stopped = Exit.INTERRUPTED

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = Exit.TERMINATED
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except HDaggerError as error:
        note(f"hdagger: {error}")
        status = Exit.REFUSED
    except UsageError as error:
        note(f"hdagger: {str(error).rstrip('.')}. See hdagger --help.")
        status = Exit.REFUSED
    except (typer.Abort, KeyboardInterrupt):
        status = Exit.INTERRUPTED
    if status == Exit.INTERRUPTED:  # typer gives it, too, for what it catches itself
        note("hdagger: Stopped; nothing is half-written.")
        status = stopped
    sys.exit(int(status) if isinstance(status, int) else 0)
