"""Planted bugs have a place in the package as it is."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_planted_bug_has_its_place():
    """A bug whose right text is gone is planted nowhere, and finds nothing."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        mutations = importlib.import_module("mutations").MUTATIONS
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    for one in mutations:
        assert (ROOT / "hdagger" / one.file).read_text().count(one.right) == 1, one.name
