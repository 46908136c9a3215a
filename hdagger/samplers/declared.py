"""What a method's settings are, read from its source: nothing of it is imported.

A sampler is a dataclass whose fields are its settings, and their types say what values are right.
The types are written down in its file, so a wrong name or value is refused before torch, which
takes seconds, is imported. What the settings must be together is code (``Sampler.check``), and so
is what is no word or number: that is looked at when the method is made.
"""

import ast
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ..errors import SettingError
from . import METHODS, Plain
from .ranges import AboveZero, Scheduled, Share, Within, ranges_of

ROOT = (f"{__package__}.base", "Sampler")
"""The class that all methods are of."""


class Unread:
    """A type that is no word or number, as an array."""

    def __class_getitem__(cls, item: object) -> type["Unread"]:
        return cls


class Names(dict[str, Any]):
    """What a word in a type stands for; any other is not read."""

    def __missing__(self, name: str) -> type[Unread]:
        return Unread


NAMES = Names(
    {kind.__name__: kind for kind in (float, int, str, bool, Within, AboveZero, Scheduled)},
    Annotated=Annotated,
    Literal=Literal,
    Share=Share,
)


@dataclass(frozen=True)
class Source:
    """A module as it is written.

    Attributes:
        name: Of the module.
        own: What it defines.
        imported: Name -> (module, name there).
    """

    name: str
    own: Mapping[str, ast.ClassDef | ast.FunctionDef]
    imported: Mapping[str, tuple[str, str]]

    def find(self, name: str) -> "tuple[Source, ast.ClassDef | ast.FunctionDef] | None":
        """Where a name of the module is defined, and how; None where that is another package."""
        if name in self.own:
            return self, self.own[name]
        module, there = self.imported.get(name, ("", ""))
        is_near = module.partition(".")[0] == self.name.partition(".")[0]
        return source_of(module).find(there) if is_near else None


@cache
def source_of(module: str) -> Source:
    """A module, found and parsed.

    Raises:
        OSError: It has no source.
        ValueError: Likewise.
        ImportError: There is none.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(module)
    tree = ast.parse(Path(spec.origin).read_text())
    own = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    parts = module.split(".") if spec.submodule_search_locations else module.split(".")[:-1]
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            start = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            imported |= {alias.asname or alias.name: (base, alias.name) for alias in node.names}
    return Source(module, own, imported)


@dataclass(frozen=True)
class Declared:
    """A method as it is written.

    Attributes:
        kinds: Setting -> its type.
        inner: Setting -> the method that it is by default.
    """

    kinds: Mapping[str, Any]
    inner: Mapping[str, "Declared"]

    def check(self, name: str, settings: Mapping[str, Plain]) -> None:
        """Refuses a setting that there is not, or a value of another kind or out of range.

        Raises:
            SettingError: There is one.
        """
        for setting, value in settings.items():
            first, dot, rest = setting.partition(".")
            if first not in self.kinds or (dot and first not in self.inner):
                raise unknown(name, [*self.kinds, *self._dotted()], setting)
            if first not in self.inner:
                valued(first, self.kinds[first], value)
            elif not dot:
                METHODS.check(str(value))
            elif own := declared(str(settings[first])) if first in settings else self.inner[first]:
                own.check(str(settings.get(first, first)), {rest: value})

    def _dotted(self) -> Iterator[str]:
        for name, method in self.inner.items():
            yield from (f"{name}.{own}" for own in [*method.kinds, *method._dotted()])


def declared(name: str) -> Declared | None:
    """The method of this name, as it is written; None where that cannot be read.

    Raises:
        SettingError: There is no such method.
    """
    METHODS.check(name)
    module, _, attribute = METHODS.home(name).partition(":")
    try:
        return _declared(source_of(module), attribute)
    except (ImportError, OSError, SyntaxError, ValueError):
        return None


def _declared(source: Source, name: str) -> Declared:
    """A class of methods, or a function that returns one.

    Raises:
        ValueError: It is written in another way.
    """
    found = source.find(name)
    if found is None:
        raise ValueError(name)
    source, node = found
    inner: dict[str, Declared] = {}
    if isinstance(node, ast.FunctionDef):
        made = node.body[-1].value if isinstance(node.body[-1], ast.Return) else None
        if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Name):
            raise ValueError(name)
        for keyword in made.keywords:
            value = keyword.value
            if keyword.arg and isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                inner[keyword.arg] = _declared(source, value.func.id)
        name = made.func.id
    family = tuple(_family(source, name))
    if ROOT not in [(source.name, node.name) for source, node in family]:
        raise ValueError(name)
    kinds: dict[str, Any] = {}
    for _, node in family:
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                kinds[line.target.id] = line.annotation
    kinds = {n: kind for n, kind in kinds.items() if "ClassVar" not in ast.unparse(kind)}
    read = {n: eval(ast.unparse(kind), {}, NAMES) for n, kind in kinds.items()}
    return Declared(read, inner)


def _family(source: Source, name: str) -> Iterator[tuple[Source, ast.ClassDef]]:
    """A class and those that it is of, the eldest first, as far as they are near."""
    found = source.find(name)
    if found is not None and isinstance(found[1], ast.ClassDef):
        for base in found[1].bases:
            yield from _family(found[0], ast.unparse(base).partition("[")[0])
        yield found[0], found[1]


def unknown(method: str, known: list[str], name: str) -> SettingError:
    """The refusal of a setting that a method does not have."""
    return SettingError(
        f"Wanted a setting of {method}, one of {', '.join(known)}, but got {name!r}."
    )


def valued(name: str, kind: Any, value: Plain) -> Any:
    """A value of the kind and in the range that a setting has.

    Raises:
        SettingError: It is of another kind, or out of range.

    Example:
        >>> valued("eta", Annotated[float, Within(0, 1, "a share", 1)], "0.5")
        0.5
    """
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    is_union = get_origin(plain) in (Union, types.UnionType)
    options = get_args(plain) if is_union else (plain,)
    for option in options:
        try:
            found = _as(option, value)
        except (ValueError, TypeError):
            continue
        for each in ranges_of(kind):
            each.check(name, found)
        return found
    wanted = " or ".join(_words(option) for option in options)
    raise SettingError(f"Wanted {wanted} for {name}, but got {value!r}.")


def _as(kind: Any, value: Plain) -> Any:
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
    elif kind is bool:
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
    elif kind in (int, float) and not isinstance(value, bool):
        number = kind(value)
        if number == float(value):
            return number
    elif kind is types.NoneType and value == "open":
        return None
    elif kind is str and isinstance(value, str):
        return value
    raise ValueError


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return names.get(kind, "open" if kind is types.NoneType else "an array, in Python")
