"""Files and folders that appear whole or not at all, and bounds on what comes from a file."""

import errno
import hashlib
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import FileError, HDaggerError, SettingError

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = 3_200_000_000
"""What a file of arrays may unpack to."""

MOST_ARRAYS = 1000
LARGEST_LIST = 10_000_000
WRITTEN = ".hdagger.json"
"""The list, in a folder that ``whole_folder`` wrote, of the files there that are hdagger's."""


def user_data() -> Path:
    """The user's own folder: ``hdagger`` under ``XDG_DATA_HOME`` (``~/.local/share``)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hdagger"


def brief(error: object, most: int = 200) -> str:
    """The first line of what an error says, at most so many characters of it."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= most else line[:most] + "..."


def line_of(error: Exception) -> str:
    """An error in one line: of one that is raised on purpose what it says, else its kind too."""
    said = brief(error, 500)
    return said if isinstance(error, HDaggerError) else f"{type(error).__name__}: {said}"


def check_name(name: str, what: str) -> None:
    """Refuses a name that cannot stand in a text file, so that what is noted can be read again.

    Raises:
        SettingError: It is longer than 4096 characters, is no UTF-8, or has a line break or
            another control character in it.
    """
    if len(name) > 4096 or not name.isprintable():
        raise SettingError(
            f"Wanted {what} whose name is one line of plain text, but got "
            f"{name[:40]!a} of {len(name)} characters. Rename it."
        )


def toml_string(text: str) -> str:
    """A text as a string of TOML; what UTF-8 cannot say becomes a question mark.

    Example:
        >>> print(toml_string('a "name" \\N{GRINNING FACE}'))
        "a \\"name\\" 😀"
    """
    plain = text.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_file(path: Path, what: str) -> None:
    """Refuses what is no file with something in it.

    Raises:
        FileError: It does not exist, is a folder, is empty, or cannot be looked at.
    """
    try:
        if not path.exists():
            raise FileError(f"Wanted {what}, but {path} does not exist. Check the name.")
        if path.is_dir():
            raise FileError(f"Wanted {what}, but {path} is a folder. Name one file in it.")
        if not path.is_file():
            raise FileError(f"Wanted {what}, but {path} is no plain file. Copy it to one.")
        if path.stat().st_size == 0:
            raise FileError(f"Wanted {what}, but {path} is empty (0 bytes). Copy the file again.")
    except FileError:
        raise
    except (OSError, ValueError) as error:  # a name too long, one with a null, no permission
        raise FileError(
            f"Wanted {what}, but {brief(path, 80)} cannot be looked at "
            f"({getattr(error, 'strerror', None) or brief(error)}). Check the name."
        ) from error


def check_folder(path: Path, what: str) -> None:
    """Refuses what is no folder.

    Raises:
        FileError: It is none, or cannot be looked at.
    """
    if not path.is_dir():
        raise FileError(f"Wanted {what}, but {path} has none: it is no folder. Check the name.")


def check_restoration(folder: Path) -> None:
    """Refuses what is no folder; what one holds is looked at by what reads it.

    Raises:
        FileError: It is none.
    """
    if not folder.is_dir():
        raise FileError(f"Wanted the folder of a restoration, but {folder} is none. Check it.")


def check_restorations(folders: Sequence[Path]) -> list[Path]:
    """The folders of restorations that are to be compared, each once.

    Raises:
        SettingError: They are fewer than two.
        FileError: One is no folder.
    """
    places = list(dict.fromkeys(folders))
    if len(places) < 2:
        raise SettingError(
            f"Wanted two restorations or more, but got {len(places)}. "
            "Name the folders that restore wrote."
        )
    for place in places:
        check_restoration(place)
    return places


def fingerprint(path: Path) -> str:
    """SHA-256 of a file; computed again only when the file is another or has changed."""
    about = path.stat()
    return _sha256(path, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, inode: int, size: int, modified: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_folder(folder: Path, work: str | None = None) -> Iterator[Path]:
    """A place to write in whose files move to ``folder`` together, and only if all went well.

    Files of the same name are replaced. What an earlier run of the same ``work`` left there and
    this run does not write goes, unless it has been changed since; everything else stays. For
    that, the folder keeps a list of what was written, ``.hdagger.json``.

    Args:
        folder: Made if there is none.
        work: Whose output the folder is, such as ``"restore"``; None for files that only join
            those that are there.

    Raises:
        FileError: The folder cannot be written; raised before anything is computed. Or the disk
            is full.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield partial
        sources = sorted(path for path in partial.rglob("*") if path.is_file())
        names = [source.relative_to(partial).as_posix() for source in sources]
        if work is not None:
            _replace_list(partial, folder, work, names)
            sources.append(partial / WRITTEN)
        for source in sources:
            target = folder / source.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    except OSError as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EISDIR, errno.ENAMETOOLONG)
        if isinstance(error, HDaggerError) or error.errno not in full:
            raise
        raise _unwritable(folder, error) from error
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


def _replace_list(partial: Path, folder: Path, work: str, names: list[str]) -> None:
    """Takes away what an earlier run of this work left, and lists what this one writes."""
    lists = _lists(folder)
    for name, sha256 in lists.get(work, {}).items():
        old = folder / name
        if name not in names and old.is_file() and fingerprint(old) == sha256:
            old.unlink()
            if old.parent != folder and not any(old.parent.iterdir()):
                old.parent.rmdir()
    lists[work] = {name: fingerprint(partial / name) for name in names}
    (partial / WRITTEN).write_text(json.dumps(lists, indent=1) + "\n")


def _lists(folder: Path) -> dict[str, dict[str, str]]:
    """For each work, the files of an earlier run with their SHA-256; none that can be outside."""
    try:
        with (folder / WRITTEN).open("rb") as file:
            read = json.loads(file.read(LARGEST_LIST))
        return {
            str(work): {
                name: str(sha256)
                for name, sha256 in names.items()
                if not Path(name).is_absolute() and ".." not in Path(name).parts
            }
            for work, names in read.items()
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _unwritable(folder: Path, error: OSError) -> FileError:
    return FileError(
        f"Wanted a folder to write to, but {folder} cannot be written "
        f"({error.strerror}). Choose another with -o."
    )


def read_arrays(
    path: Path, what: str, mend: str, most_bytes: int = MOST_BYTES
) -> "dict[str, np.ndarray]":
    """The arrays of a .npz file. Nothing in it is executed, and sizes are checked before reading.

    Args:
        path: The file.
        what: What it should hold, such as ``"a measurement"``, for the message.
        mend: What to do if it does not, as a sentence.
        most_bytes: How much all of it may take in memory.

    Returns:
        By name: numbers, truth values, and texts (a scalar of unicode).

    Raises:
        FileError: It is missing, broken, too large, or holds anything else.
    """
    check_file(path, what)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ARRAYS:
                raise ValueError(f"{len(entries)} arrays, more than {MOST_ARRAYS}")
            size = sum(entry.file_size for entry in entries)
            if size > most_bytes:
                raise FileError(
                    f"Wanted at most {most_bytes / 1e6:.0f} MB, but {path} unpacks to "
                    f"{size / 1e6:.0f} MB. {mend}"
                )
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive, entry)
                for entry in entries
            }
    except FileError:
        raise
    except Exception as error:  # whatever a broken file makes zipfile, zlib and numpy raise
        raise FileError(
            f"Wanted {what}, but {path} is not one that can be read ({brief(error)}). {mend}"
        ) from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> "np.ndarray":
    import numpy as np
    from numpy.lib import format as npy

    with archive.open(entry) as file:
        version = npy.read_magic(file)
        readers: dict[Any, Any] = {
            (1, 0): npy.read_array_header_1_0,
            (2, 0): npy.read_array_header_2_0,
        }
        shape, by_columns, dtype = readers[version](file)
        if dtype.kind not in "biufcU" or (dtype.kind == "U" and shape):
            raise ValueError(f"{entry.filename} holds {dtype}, no numbers")
        size = math.prod(shape) * dtype.itemsize
        if size > entry.file_size or min(shape, default=0) < 0:
            raise ValueError(f"{entry.filename} promises {size} bytes, and has {entry.file_size}")
        content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{entry.filename} is cut off")
    flat = np.frombuffer(bytearray(content), dtype)
    return flat.reshape(shape, order="F" if by_columns else "C")
