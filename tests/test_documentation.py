"""What the documentation shows is run: every command, every snippet, every promise of a name."""

import importlib
import inspect
import pkgutil
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

import hdagger
from hdagger.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = {
    page.name: found
    for page in PAGES
    if (found := re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
}
COMMANDS = [
    shlex.split(line, comments=True)
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """The pictures that the pages speak of, small."""
    monkeypatch.chdir(tmp_path)
    bee = Image.open(ROOT / "examples/bee.png").resize((32, 32), Image.Resampling.LANCZOS)
    noise = Image.effect_noise((32, 32), 60).convert("RGB")
    Image.blend(bee, noise, 0.3).save("noisy.png")
    for name in ("scan", "clean"):
        bee.save(f"{name}.png")
    for name in ("soft", "shaken"):
        bee.filter(ImageFilter.GaussianBlur(3)).save(f"{name}.png")
    bee.resize((8, 8)).save("small.png")
    bee.convert("L").save("gray.png")
    bee.save("old.jpg", quality=10)
    for name in ("scratches", "holes"):
        Image.new("L", (32, 32)).save(f"{name}.png")
    return tmp_path


def test_every_command_runs(pictures, monkeypatch, capsys):
    assert len(COMMANDS) >= 9
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0, (command, capsys.readouterr().err)


def test_code_stands_in_fences_that_are_run():
    """Not indented, where nothing would run it."""
    assert {"README.md", "first.md", "own.md", "motion.md", "mri.md"} <= set(SNIPPETS)
    for page in PAGES:
        rest = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"^    (from \S+ )?import ", rest, re.MULTILINE), page.name


@pytest.mark.parametrize("page", SNIPPETS)
def test_every_snippet_runs(page, pictures, capsys):
    for snippet in SNIPPETS[page]:
        exec(compile(snippet, page, "exec"), {"__name__": "snippet"})
    if page == "first.md":
        assert "torch.Size([3, 32, 32])" in capsys.readouterr().out


def test_the_readme_is_what_a_newcomer_needs():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_links_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), (page, target)


def test_every_public_name_exists_and_is_documented():
    for name in hdagger.__all__:
        assert inspect.getdoc(getattr(hdagger, name)) or name == "SampleNoise"


def test_every_module_says_what_it_is():
    for module in pkgutil.walk_packages(hdagger.__path__, "hdagger."):
        found = importlib.import_module(module.name)
        assert found.__doc__ or not Path(found.__file__).read_text().strip(), module.name


def test_the_instructions_for_agents_are_short():
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) <= 60
