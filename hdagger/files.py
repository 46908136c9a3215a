"""Files and folders that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError

MOST_BYTES = 3_200_000_000
"""What a file of arrays may unpack to."""


def check_file(path: Path, what: str) -> None:
    if not path.exists():
        raise FileError(f"Wanted {what}, but {path} does not exist. Check the name.")
    if path.is_dir():
        raise FileError(f"Wanted {what}, but {path} is a folder. Name one file in it.")
    if path.stat().st_size == 0:
        raise FileError(f"Wanted {what}, but {path} is empty (0 bytes). Copy the file again.")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A place to write in whose files move to ``folder`` together, and only if all went well.

    Files of the same name are replaced; others in the folder stay.

    Raises:
        FileError: The folder cannot be written; raised before anything is computed.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    except OSError as error:
        raise FileError(
            f"Wanted a folder to write to, but {folder} cannot be written "
            f"({error.strerror}). Choose another with -o."
        ) from error
    try:
        yield partial
        for source in sorted(path for path in partial.rglob("*") if path.is_file()):
            target = folder / source.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    finally:
        for path in sorted(partial.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        partial.rmdir()
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to that becomes ``path`` only if all went well."""
    with whole_folder(path.parent) as folder:
        yield folder / path.name
