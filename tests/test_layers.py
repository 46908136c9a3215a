"""Imports go one way: no folder has a circle among its modules and folders."""

import ast
from pathlib import Path

import pytest

import hdagger

ROOT = Path(hdagger.__file__).parent
FOLDERS = sorted({path.parent for path in ROOT.rglob("*.py")})

LATE = {
    # A recipe is light: it finds out what a method's settings are only once it has some.
    ("hdagger.recipe", "hdagger.settings"),
}
"""Imports within functions that may close a circle: (who, what). All others count."""


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """The modules of hdagger that a file imports, wherever in it: at the top, for types, late."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:
                whole = ROOT.parent.joinpath(*base.split("."), alias.name)
                is_module = whole.with_suffix(".py").exists() or whole.is_dir()
                yield f"{base}.{alias.name}" if is_module else base


def edges_within(folder):
    """Child -> children of a folder, a child being a module or a folder with all that is in it."""
    prefix = name_of(folder / "__init__.py") + "."
    child = lambda name: name.removeprefix(prefix).split(".")[0]
    edges = {}
    for path in folder.rglob("*.py"):
        name = name_of(path)
        if not name.startswith(prefix):
            continue
        found = edges.setdefault(child(name), set())
        for target in imports_of(path):
            if target.startswith(prefix) and (name, target) not in LATE:
                found.add(child(target))
        found.discard(child(name))
    return edges


def circle_in(edges):
    done = set()

    def walk(node, way):
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return None
        found = (walk(other, [*way, node]) for other in sorted(edges.get(node, ())))
        circle = next(filter(None, found), None)
        done.add(node)
        return circle

    return next(filter(None, (walk(node, []) for node in sorted(edges))), None)


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_no_folder_has_a_circle(folder):
    circle = circle_in(edges_within(folder))
    assert circle is None, " -> ".join(circle)


def test_a_circle_would_be_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_each_late_import_is_there_and_needed():
    for name, target in LATE:
        path = ROOT.parent.joinpath(*name.split(".")).with_suffix(".py")
        assert target in imports_of(path)
        top = ast.parse(path.read_text()).body
        at_top = [ast.unparse(node) for node in top if isinstance(node, ast.ImportFrom)]
        assert not any(target.rsplit(".", 1)[1] in line.split() for line in at_top)
