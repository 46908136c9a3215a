"""Where a batch leaves what it makes: a folder of this machine or of a shared disk, or a store.

What is put there is whole or not there at all. On a disk it appears by one rename. An object store
has none, so of a folder that is put there the file that says that it is done goes up last, and
goes first when the folder is replaced.

References:
    fsspec, file systems of many kinds. https://filesystem-spec.readthedocs.io
"""

import abc
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import FileError
from .files import brief, whole_file

PARTIAL = ".partial"
"""The folder of what is begun, on a disk."""

ABSENT = FileNotFoundError, IsADirectoryError, NotADirectoryError
"""What says that there is no such file."""


class Output(abc.ABC):
    """A place for files and folders, by names with ``/`` between their parts."""

    @abc.abstractmethod
    def texts(self, names: Sequence[str]) -> Mapping[str, str]:
        """What stands in the files that are there, by name; others are left out."""

    @abc.abstractmethod
    def written(self, name: str) -> AbstractContextManager[Path]:
        """A file of this machine to write; it appears when the block ends."""

    @abc.abstractmethod
    def read(self, name: str) -> AbstractContextManager[Path]:
        """A file of this machine with what a file there holds."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""

    @abc.abstractmethod
    def begun(self, name: str) -> AbstractContextManager[Path]:
        """An empty folder of this machine for what is made of ``name``; it goes with the block."""

    @abc.abstractmethod
    def put(self, made: Path, name: str, last: str) -> None:
        """Puts a folder there; one of that name goes.

        Args:
            made: The folder, in one that ``begun`` gave.
            name: What it is called there.
            last: The file in it that says that it is done.
        """

    def tidy(self) -> None:
        """Removes what runs have left that were killed, if no other is at work."""
        return

    def absolute(self) -> "Output":
        """The same, from any working directory."""
        return self


@dataclass(frozen=True)
class Disk(Output):
    """A folder.

    Attributes:
        folder: The folder.
    """

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def texts(self, names: Sequence[str]) -> Mapping[str, str]:
        found = {}
        for name in names:
            with suppress(OSError, ValueError):
                found[name] = (self.folder / name).read_text()
        return found

    def written(self, name: str) -> AbstractContextManager[Path]:
        return whole_file(self.folder / name)

    def read(self, name: str) -> AbstractContextManager[Path]:
        return nullcontext(self.folder / name)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def begun(self, name: str) -> Iterator[Path]:
        folder = self.folder / PARTIAL / hashlib.sha256(name.encode()).hexdigest()[:16]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, made: Path, name: str, last: str) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            old = made.with_name("old")
            os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        os.rename(made, target)

    def tidy(self) -> None:
        with suppress(OSError):
            (self.folder / PARTIAL).rmdir()

    def absolute(self) -> "Disk":
        return Disk(self.folder.absolute())


@dataclass(frozen=True)
class Store(Output):
    """An object store, or whatever else fsspec knows.

    Attributes:
        url: Its address, such as ``s3://bucket/restored``.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system, and the folder in it.

        Raises:
            FileError: There is no such kind, or what it needs is not installed.
        """
        import fsspec

        try:
            return fsspec.url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as error:
            raise FileError(
                f"Wanted an output that fsspec knows, but got {self.url[:200]!r} "
                f"({brief(error)}). Install what it needs, or name a folder."
            ) from error

    def _at(self, name: str) -> str:
        return f"{self._place[1].rstrip('/')}/{name}"

    def texts(self, names: Sequence[str]) -> Mapping[str, str]:
        if not names:
            return {}
        places = {self._at(name): name for name in names}
        texts = {}
        with self._asked() as files:
            for place, data in files.cat(list(places), on_error="return").items():
                if isinstance(data, bytes):
                    texts[places[place]] = data.decode(errors="replace")
                elif not isinstance(data, ABSENT):
                    raise data
        return texts

    @contextmanager
    def written(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            yield path
            self._send(path, name)

    @contextmanager
    def read(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            with self._asked() as files:
                files.get_file(self._at(name), str(path))
            yield path

    def remove(self, name: str) -> None:
        with self._asked() as files, suppress(*ABSENT):
            files.rm_file(self._at(name))

    @contextmanager
    def begun(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def put(self, made: Path, name: str, last: str) -> None:
        self.remove(f"{name}/{last}")
        with self._asked() as files:
            if files.exists(self._at(name)):
                files.rm(self._at(name), recursive=True)
        paths = sorted(path for path in made.rglob("*") if path.is_file())
        for path in sorted(paths, key=lambda path: path == made / last):
            self._send(path, f"{name}/{path.relative_to(made).as_posix()}")

    def _send(self, path: Path, name: str) -> None:
        place = self._at(name)
        with self._asked() as files:
            files.makedirs(place.rpartition("/")[0], exist_ok=True)
            files.put_file(str(path), place)

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """The file system; what it cannot do is told in a line.

        Raises:
            FileError: It cannot be reached, or does not let us.
        """
        files = self._place[0]
        try:
            yield files
        except Exception as error:  # each kind of store raises errors of its own
            raise FileError(
                f"Wanted an output that can be read and written, but {self.url[:200]} cannot be "
                f"({brief(error)}). Look at its address, key and rights."
            ) from error


def output_of(text: str) -> Output:
    """The output of a folder's name, or of an address with ``://``."""
    return Store(text) if "://" in text else Disk(Path(text))
