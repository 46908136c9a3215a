"""Names and what they stand for, found out at first use; other packages join by entry points."""

import sys
from collections.abc import Collection, Iterator, KeysView, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from .errors import SettingError

Entry = TypeVar("Entry")


class Registry(Collection[str], Generic[Entry]):
    """A table of names whose entries are imported when they are looked up.

    Its names are known without an import, so that a wrong one is refused at once.

    Args:
        what: What an entry is, in an error: ``"a method"``.
        group: Entry points of this group, of any installed package, are entries too.
        homes: Name -> ``"module:attribute"``.
    """

    def __init__(self, what: str, group: str, homes: Mapping[str, str]) -> None:
        self.what = what
        self.group = group
        self._own = dict(homes)
        self._loaded: dict[str, Entry] = {}

    @property
    def _homes(self) -> dict[str, str]:
        return {**_joined(self.group, tuple(sys.path)), **self._own}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._loaded:
            module, _, attribute = self.home(name).partition(":")
            self._loaded[name] = self._made(getattr(import_module(module), attribute))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def _made(self, found: Any) -> Entry:
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def home(self, name: str) -> str:
        """Where an entry is, ``"module:attribute"``."""
        return self._homes[name]

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._homes.keys()

    def check(self, name: str) -> None:
        """Raises SettingError where there is no such name."""
        if name not in self._homes:
            raise SettingError(
                f"Wanted {self.what}, one of {', '.join(self)}, but got {name!r}. "
                "Choose one of these."
            )


@cache
def _joined(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """The entry points of a group in the packages on a path: name -> ``"module:attribute"``."""
    return {point.name: point.value for point in entry_points(group=group)}
