"""What is handed out: its words about itself, and that it works where nothing else is."""

import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_what_it_says_of_itself_is_one_thing():
    version = ABOUT["version"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {version}\n" in citation
    assert f"license: {ABOUT['license']}\n" in citation
    for method in ("Denoising Diffusion Restoration Models", "Pseudoinverse-Guided", "PhysDiff"):
        assert method in citation
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_classifiers_name_what_the_tests_run_on():
    named = [text for text in ABOUT["classifiers"] if text.startswith(("Prog", "Operating"))]
    python = "Programming Language :: Python :: "
    assert named == ["Operating System :: POSIX :: Linux", f"{python}3", f"{python}3.11"]
    if sys.version_info[:2] == (3, 11):
        assert platform.system() == "Linux"


@pytest.mark.slow
def test_a_picture_is_restored_with_nothing_but_the_wheel(tmp_path):
    pytest.importorskip("hatchling")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/package.py", "--out", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "site-packages/hdagger/__init__.py" in done.stdout
