"""What a batch restores: files, folders, manifests, and pictures inside of archives.

References:
    WebDataset: a tar of files, one after the other. https://github.com/webdataset/webdataset
    Apache Parquet: a table by columns. https://parquet.apache.org
"""

import csv
import glob
import hashlib
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from .errors import FileError, HDaggerError, SettingError
from .files import brief, check_file

LARGEST = 2**28
"""Bytes of a picture inside of an archive."""

LONGEST = 120
"""Letters of an item's name; the rest is told by its hash."""

TABLES = re.compile(r"(manifest|failures).*\.(parquet|csv)")
"""Names that a batch's own tables have."""

FILE, SEED = "file", "seed"
"""Columns of a manifest that say no damage."""


@dataclass(frozen=True)
class InTar:
    """A file in a tar: where it begins, and its bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class InParquet:
    """A picture in a column of a Parquet file."""

    column: str
    group: int
    row: int


@dataclass(frozen=True)
class Item:
    """One thing to restore.

    Attributes:
        name: Of its folder in the output; made of letters that every file system knows.
        source: The file.
        inside: Where in that file, if it is an archive.
        damage: What a manifest says of it, beyond the recipe.
        seed: Of its noise; None for the recipe's.
    """

    name: str
    source: Path
    inside: InTar | InParquet | None = None
    damage: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def content(self) -> bytes:
        """The bytes of what lies inside of an archive.

        Raises:
            FileError: It is not there any more.
        """
        try:
            if isinstance(self.inside, InTar):
                with self.source.open("rb") as file:
                    file.seek(self.inside.offset)
                    return file.read(self.inside.size)
            assert isinstance(self.inside, InParquet)
            pq, place = parquet(), self.inside
            with pq.ParquetFile(self.source) as table:
                column = table.read_row_group(place.group, columns=[place.column])
                cell = column.column(0)[place.row].as_py()
            return cell["bytes"] if isinstance(cell, dict) else cell
        except (OSError, KeyError, IndexError, ValueError) as error:
            raise FileError(
                f"Wanted a picture in {self.source}, but it cannot be read ({brief(error)}). "
                "Was the file changed meanwhile?"
            ) from error


def parquet() -> Any:
    """The module ``pyarrow.parquet``.

    Raises:
        FileError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise FileError(
            "Wanted pyarrow, for Parquet files, but it is not installed. "
            "pip install 'hdagger[batch]'"
        ) from error
    return pyarrow.parquet


def items_of(inputs: Sequence[str], suffixes: Sequence[str] = ("",)) -> list[Item]:
    """All items of files, folders, globs, manifests (.csv, .parquet) and tars, in their order.

    A folder gives all files in it, at any depth, but for hidden ones. A manifest has a column
    ``file``, relative to it, and may have ``seed`` and what a recipe's table ``[damage]`` has.
    A Parquet file without that column gives the pictures of its first column of bytes. A sample
    of a WebDataset is more than a picture; what else is in a tar is left out.

    Args:
        inputs: Names, or globs.
        suffixes: How what is taken out of a tar ends; by default all.

    Raises:
        FileError: One of them does not exist, or nothing is found.
    """
    found = [item for text in inputs for item in _items_of(text, tuple(suffixes))]
    if not found:
        raise FileError(f"Wanted files to restore, but {', '.join(inputs)[:200]} has none.")
    counts = Counter(item.name for item in found)
    folders = {str(folder) for name in counts for folder in PurePosixPath(name).parents}
    alone = lambda name: counts[name] == 1 and name not in folders and not TABLES.fullmatch(name)
    return [item if alone(item.name) else _told_apart(item) for item in found]


def shard_of(items: Sequence[Item], text: str) -> list[Item]:
    """The i-th of n parts, as ``"2/8"`` says: every n-th item from the i-th on.

    Raises:
        SettingError: It says no such part.
    """
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n) <= 100_000):
        raise SettingError(f"Wanted a part as 2/8, the second of eight, but got {text!r}.")
    return list(items[int(i) - 1 :: int(n)])


def check_input(text: str) -> None:
    """Refuses the name of a file that is not there; of a folder or a glob nothing is listed.

    Raises:
        FileError: It does not exist, or is empty.
    """
    path = Path(text)
    if not path.is_dir() and (path.exists() or not glob.has_magic(text)):
        check_file(path, "a file to restore")


def _items_of(text: str, suffixes: tuple[str, ...]) -> Iterator[Item]:
    path = Path(text)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            parts = file.relative_to(path).parts
            if file.is_file() and not any(part.startswith(".") for part in parts):
                yield Item(_name(parts), file)
        return
    if not path.exists() and glob.has_magic(text):
        for file in sorted(glob.glob(text, recursive=True)):
            if Path(file).is_file():
                yield Item(_name([Path(file).name]), Path(file))
        return
    check_input(text)
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield from _of_rows(path, csv.DictReader(file))
        elif path.suffix == ".tar":
            yield from _of_tar(path, suffixes)
        elif path.suffix == ".parquet":
            yield from _of_parquet(path)
        else:
            yield Item(_name([path.name]), path)
    except HDaggerError:
        raise
    except (OSError, ValueError, csv.Error, tarfile.TarError) as error:
        raise FileError(
            f"Wanted a list of files, but {path} cannot be read as one ({brief(error)})."
        ) from error


def _of_rows(manifest: Path, rows: Iterator[Mapping[str, Any]]) -> Iterator[Item]:
    for number, row in enumerate(rows, start=2):
        said = {
            str(name): _value(value, manifest.absolute().parent)
            for name, value in row.items()
            if value not in (None, "")
        }
        if FILE not in said:
            raise FileError(
                f"Wanted a column {FILE!r} in {manifest}, but line {number} has none. "
                f"It has {', '.join(map(str, said))[:100]}."
            )
        file, seed = str(said.pop(FILE)), said.pop(SEED, None)
        try:
            seed = None if seed is None else int(seed)
        except ValueError as error:
            raise FileError(
                f"Wanted a whole number for {SEED!r} in {manifest}, but line {number} has "
                f"{str(seed)[:40]!r}."
            ) from error
        source = manifest.parent / file
        yield Item(_name([Path(file).name]), source, damage=said, seed=seed)


def _value(value: Any, folder: Path) -> Any:
    """A number or yes or no as such; the name of a file from where the manifest lies."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return str(folder / value) if (folder / value).is_file() else value
    except (OSError, ValueError):
        return value


def _of_tar(path: Path, suffixes: tuple[str, ...]) -> Iterator[Item]:
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            wanted = member.name.lower().endswith(suffixes)
            if wanted and member.isfile() and 0 < member.size <= LARGEST:
                parts = [part for part in Path(member.name).parts if part not in ("/", "..", ".")]
                yield Item(_name(parts), path, InTar(member.offset_data, member.size))


def _of_parquet(path: Path) -> Iterator[Item]:
    with parquet().ParquetFile(path) as table:
        schema = table.schema_arrow
        if FILE in schema.names:
            rows = (row for batch in table.iter_batches() for row in batch.to_pylist())
            yield from _of_rows(path, rows)
            return
        column = next((field.name for field in schema if _holds_bytes(field.type)), None)
        if column is None:
            raise FileError(
                f"Wanted a column {FILE!r}, or one of bytes, in {path}, but it has "
                f"{', '.join(schema.names)[:100]}."
            )
        number = 0
        for group in range(table.num_row_groups):
            for row in range(table.metadata.row_group(group).num_rows):
                yield Item(f"{number:06}", path, InParquet(column, group, row))
                number += 1


def _holds_bytes(kind: Any) -> bool:
    """Bytes, or a struct with a field of them, as Hugging Face's data sets have."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(f.name == "bytes" and types.is_binary(f.type) for f in kind)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _name(parts: Sequence[str]) -> str:
    """A name for a folder; what is unusual in it is written as in an address: %20 for a space."""
    told = [quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts]
    return "/".join(
        _short(part) if not part.startswith(".") else "%2E" + part[1:] for part in told
    )


def _short(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _told_apart(item: Item) -> Item:
    """With a hash of where it lies, and of what is said of it."""
    place = f"{item.source.absolute()} {item.inside} {sorted(item.damage.items())} {item.seed}"
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return replace(item, name=f"{item.name}-{digest}")
