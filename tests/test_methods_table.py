"""The table of methods in the docs has every method with every setting and its default."""

import re
from pathlib import Path

import pytest

from hdagger.samplers import METHODS
from hdagger.settings import settings_of

TABLE = (Path(__file__).parents[1] / "docs/methods.md").read_text()


@pytest.mark.parametrize("name", METHODS)
def test_the_docs_have_every_setting(name):
    (row,) = re.findall(rf"^\| `{name}` \|.*\| ([^|]*) \|$", TABLE, re.MULTILINE)
    said = dict(re.findall(r"`([\w]+)` ([^,;]+)", row))
    expected = {key: str(v) for key, v in settings_of(METHODS[name]).items() if "." not in key}
    assert {key: v for key, v in said.items() if v != "open"} == expected
