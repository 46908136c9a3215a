"""``hdagger report`` and ``hdagger compare``: pages from what restorations left."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import HDaggerError
from ..files import brief, check_file, check_restoration, check_restorations, whole_folder
from ..options import AsJson, Folder
from ..telling import Exit, note, tell


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of restorations, or folders with such in them.")
    ],
    as_json: AsJson = False,
) -> None:
    """Make *report.html* again, from what restore or batch left.

    Of every domain, from the saved samples and numbers; nothing is drawn anew. Where there are
    several and some cannot be read, the others are made, and the exit code is 1.

    Examples:

        hdagger report restored

        hdagger report restored/of-a-batch --json
    """
    for folder in folders:
        check_restoration(folder)

    from ..domain import write_report
    from ..saved import restorations_in

    found = [one for folder in folders for one in restorations_in(folder)]
    failed = False
    for folder in found:
        try:
            page = write_report(folder)
        except HDaggerError as error:
            if len(found) == 1:
                raise
            failed = True
            note(f"hdagger: {error}")
            if as_json:
                tell({"folder": str(folder), "error": brief(error)})
        else:
            tell({"folder": str(folder), "report": str(page)}) if as_json else print(page)
    if failed:
        raise typer.Exit(Exit.FAILED)


def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of restorations of one measurement.")
    ],
    truth: Annotated[
        Path | None,
        typer.Option(help="A file of what was measured, if it is known, for scores."),
    ] = None,
    out: Folder = Path("compared"),
    as_json: AsJson = False,
) -> None:
    """Put restorations of one measurement side by side: methods, priors, settings.

    The folder gets *report.html*, *comparison.csv* and *comparison.png*: means, samples, standard
    deviations on one scale, and numbers, with scores where the truth is given.

    Examples:

        hdagger compare by-drawn by-ddrm --truth clean.png

        hdagger compare by-drawn by-ddrm by-pigdm -o compared
    """
    check_restorations(folders)
    if truth is not None:
        check_file(truth, "what was measured")

    from ..comparison import Comparison

    found = Comparison.of(folders, truth)
    with whole_folder(out, "compare") as folder:
        found.write(folder)
    if as_json:
        for row in found.rows:
            tell(row)
    else:
        for row in found.rows:
            numbers = (f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, float))
            print(f"{row['run']}: {', '.join(numbers)}")
        print(out / "report.html")
