"""The site: a page for everything that has a name, and no warning on the way."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from hdagger.cli.main import app
from hdagger.domain import DOMAINS
from hdagger.domains.pictures.words import DAMAGES
from hdagger.samplers import METHODS

pytest.importorskip("sphinx")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy of its sources."""
    from sphinx.cmd.build import build_main

    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("_build"))
    shutil.copytree(ROOT / "examples", folder / "examples")
    status = build_main(["-W", "--keep-going", "-q", str(folder / "docs"), str(folder / "html")])
    sys.modules.pop("reference", None)
    assert status == 0
    return folder / "html"


@pytest.mark.filterwarnings("ignore")
def test_everything_with_a_name_has_its_page(site):
    import typer

    root: Any = typer.main.get_command(app)
    for kind, names in (
        ("commands", root.commands),
        ("methods", METHODS),
        ("operators", DAMAGES),
        ("domains", DOMAINS),
    ):
        for name in names:
            page = (site / f"reference/{kind}/{name}.html").read_text()
            assert len(re.sub(r"<[^>]*>", "", page)) > 500, (kind, name)
    which = (site / "reference/which.html").read_text()
    for name in METHODS:
        page = (site / f"reference/methods/{name}.html").read_text()
        text = re.sub(r"<[^>]*>", "", page)
        assert f"--method {name}\n" in text
        assert "What is known to be wrong" in text
        assert "nobody has said" not in text
        assert f'href="methods/{name}.html"' in which
        shown = re.search(rf"_images/{name}\d*\.png", page)
        assert shown or "Not for pictures by itself" in page
    for name in DAMAGES:
        page = (site / f"reference/operators/{name}.html").read_text()
        assert re.search(rf"_images/{name}\d*\.png", page)
        assert "hdagger restore out/measurement.npz" in re.sub(r"<[^>]*>", "", page)
    drawn = (site / "reference/methods/drawn.html").read_text()
    assert "Matheron" in drawn
    assert "../../_images/drawn.png" in drawn


@pytest.mark.filterwarnings("ignore")
def test_no_page_asks_another_host_for_anything(site):
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img)[^>]*>", page.read_text()):
            assert not re.search(r'(?:src|href)="(?:https?:)?//', tag), (page.name, tag)
