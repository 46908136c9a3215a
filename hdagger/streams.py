"""A dash for the name of a file: what comes in on the input stream, and what goes out."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError, HDaggerError, SettingError
from .files import whole_folder

DASH = Path("-")

MOST_BYTES = 2**30
"""What may come in."""

SUFFIXES = {b"PK": ".npz", b"\x93NUMPY": ".npy"}
"""First bytes of the files that are told by their names."""


@contextmanager
def read_from(path: Path, what: str) -> Iterator[Path]:
    """The file itself; for a dash, one that holds all of the input stream, and then goes away.

    Args:
        path: A file, or a dash.
        what: What it should be, such as ``"a picture"``, for the message.

    Raises:
        FileError: Nothing comes in, or too much.
    """
    if path != DASH:
        yield path
        return
    if sys.stdin.isatty():
        raise FileError(
            f"Wanted {what} on the input, but it is a terminal. Try hdagger restore - < FILE."
        )
    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if not content or len(content) > MOST_BYTES:
        size = "nothing" if not content else f"more than {MOST_BYTES // 2**20} MB"
        raise FileError(f"Wanted {what} on the input, but got {size}. Name a file instead.")
    suffix = next((end for start, end in SUFFIXES.items() if content.startswith(start)), "")
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder, f"input{suffix}")
        held.write_bytes(content)
        try:
            yield held
        except HDaggerError as error:
            raise type(error)(str(error).replace(str(held), "the input")) from error


def check_output(out: Path, as_json: bool) -> None:
    """Refuses a dash for output where other things are, or where it would be seen as bytes."""
    if out != DASH:
        return
    if as_json:
        raise SettingError("Wanted one thing on the output, but got -o - and --json. Name -o.")
    if sys.stdout.isatty():
        raise SettingError(
            "Wanted a file or a pipe to write a picture to, but the output is a terminal. "
            "Try > restored.png."
        )


@contextmanager
def written_to(out: Path, work: str, answer: str) -> Iterator[Path]:
    """A place to write in, as :func:`.files.whole_folder` gives; for a dash, one that goes away.

    Args:
        out: A folder, or a dash.
        work: Whose output it is.
        answer: The file there that goes to the output stream, and nothing else with it.

    Raises:
        FileError: The folder cannot be written.
    """
    if out != DASH:
        with whole_folder(out, work) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        content = Path(folder, answer).read_bytes()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
        output.write(content)
