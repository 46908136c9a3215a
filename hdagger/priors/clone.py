"""The modules of a user's clone, imported without the clone being on the path.

The code of a clone says ``import dnnlib`` and ``from torch_utils import misc``, names that belong
to it alone. Its modules get private names and an ``__import__`` of their own, which looks into the
clone first: nothing that other threads import can meet them, and two clones can be open at once.
"""

import builtins
import hashlib
import importlib.util
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import FileError

_NUMBERS = itertools.count()


class Clone:
    """A clone of a repository, whose modules can be run.

    Args:
        folder: The repository.
        trusted: The SHA-256 of each module that may be run, by its name; None for all.

    Attributes:
        files: SHA-256 of each module that was run, by its name.

    Raises:
        FileError: There is no such folder.
    """

    def __init__(self, folder: Path, trusted: Mapping[str, str] | None = None) -> None:
        if not folder.is_dir():
            raise FileError(f"Wanted a clone of the authors' code, but {folder} is no folder.")
        self.folder = folder.resolve()
        self.trusted = trusted
        self.files: dict[str, str] = {}
        self._prefix = f"_hdagger_clone_{next(_NUMBERS)}"
        root = ModuleType(self._prefix)
        root.__path__ = []
        self._modules = {"": root}
        sys.modules[self._prefix] = root

    def load(self, name: str) -> ModuleType:
        """A module of the clone, run once.

        Args:
            name: Such as ``training.networks``: identifiers joined by dots, none of them that of
                a module of Python's own library.

        Raises:
            FileError: There is none in the clone, or it was not trusted, or has changed since.
        """
        if name in self._modules:
            return self._modules[name]
        file = self._file(name)
        if file is None:
            raise FileError(
                f"Wanted the code of the network, but {name[:100]!r} of {self.folder} does not "
                "exist. Check out the version that the prior was added with."
            )
        parent, _, last = name.rpartition(".")
        above = self.load(parent)
        full = f"{self._prefix}.{name}"
        spec = importlib.util.spec_from_file_location(
            full, file if file.is_file() else None,
            submodule_search_locations=[] if file.name == "__init__.py" or file.is_dir() else None,
        )  # fmt: skip
        module = ModuleType(full) if spec is None else importlib.util.module_from_spec(spec)
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._import}
        self._modules[name] = sys.modules[full] = module
        try:
            if file.is_file():
                exec(compile(self._content(name, file), str(file), "exec"), module.__dict__)
        except BaseException:
            del self._modules[name], sys.modules[full]
            raise
        setattr(above, last, module)
        return module

    def _content(self, name: str, file: Path) -> bytes:
        """What is in a module's file, noted as run."""
        content = file.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if self.trusted is not None and self.trusted.get(name) != sha256:
            raise FileError(
                f"Wanted the code that the prior was added with, but {file} has changed since. "
                "Look at the change, and add the prior again."
            )
        self.files[name] = sha256
        return content

    def _file(self, name: str) -> Path | None:
        """The file of a module, or the folder of a package without one; none outside the clone."""
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts) or parts[0] in sys.stdlib_module_names:
            return None
        place = self.folder.joinpath(*parts)
        for file in (place / "__init__.py", place.with_suffix(".py"), place):
            is_there = file.is_dir() if file == place else file.is_file()
            if is_there and file.resolve().is_relative_to(self.folder):
                return file
        return None

    def _has(self, name: str) -> bool:
        """Whether a name stands for a module of the clone and not for an installed one."""
        if self.trusted is None:
            return self._file(name) is not None
        return any(known == name or known.startswith(f"{name}.") for known in self.trusted)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The clone's own ``__import__``."""
        package = (globals or {}).get("__package__") or ""
        if level:
            absolute = importlib.util.resolve_name("." * level + name, package)
            name = absolute.removeprefix(self._prefix).lstrip(".")
        elif not self._has(name.partition(".")[0]):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = self.load(name)
        for item in fromlist or ():
            if not hasattr(module, item) and self._has(f"{name}.{item}"):
                self.load(f"{name}.{item}")
        return module if fromlist else self.load(name.partition(".")[0])
