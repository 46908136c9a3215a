"""Every setting of every method is reachable as text; other packages' methods join."""

import subprocess
import sys

import pytest

from hdagger.errors import SettingError
from hdagger.samplers import METHODS
from hdagger.samplers.base import settings_in
from hdagger.samplers.declared import declared
from hdagger.samplers.ranges import ranges_of
from hdagger.settings import settings_of, with_settings

SETTINGS = [(name, key) for name in METHODS for key in settings_of(METHODS[name])]


@pytest.mark.parametrize(("name", "key"), SETTINGS)
def test_every_setting_is_reachable_as_text(name, key):
    method = METHODS[name]
    value = settings_of(method)[key]
    assert settings_of(with_settings(method, {key: str(value)}))[key] == value


@pytest.mark.parametrize("name", METHODS)
def test_what_is_declared_is_what_the_method_has(name):
    method, written = METHODS[name], declared(name)
    assert written is not None
    own = settings_in(type(method))
    assert list(written.kinds) == list(own)
    for setting, kind in own.items():
        assert [*ranges_of(written.kinds[setting])] == [*ranges_of(kind)]
    written.check(name, {setting: str(v) for setting, v in settings_of(method).items()})


@pytest.mark.parametrize("name", METHODS)
def test_settings_make_the_method_again(name):
    method = METHODS[name]
    told = settings_of(method)
    assert with_settings(METHODS[name], told) == method
    assert with_settings(method, {key: str(value) for key, value in told.items()}) == method


@pytest.mark.parametrize(
    ("name", "changes", "kept"),
    [
        ("ddrm", {"eta": "0.5"}, {"eta": 0.5}),
        ("pigdm", {"data_variance": "0.3", "solver": "heun"}, {"data_variance": 0.3}),
        ("smc", {"particles": "8", "twist.eta": "0.5"}, {"particles": 8, "twist.eta": 0.5}),
        ("smc", {"twist": "pigdm", "twist.jacobian": "vjp"}, {"twist.jacobian": "vjp"}),
        ("projection", {"schedule": "last:2"}, {"schedule": "last:2"}),
        ("pigdm", {"step_variance": "0.2"}, {"step_variance": 0.2}),
    ],
)
def test_settings_change_what_they_name(name, changes, kept):
    assert settings_of(with_settings(METHODS[name], changes)).items() >= kept.items()


@pytest.mark.parametrize("name", METHODS)
def test_a_wrong_setting_gets_the_list_of_right_ones(name):
    known = next(iter(settings_of(METHODS[name])))
    with pytest.raises(SettingError, match=rf"one of .*{known}.*but got 'colour'"):
        with_settings(METHODS[name], {"colour": "red"})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ddrm", {"eta": "much"}),
        ("ddrm", {"eta": "2"}),
        ("tmpd", {"iterations": "2.5"}),
        ("pigdm", {"solver": "rk4"}),
        ("pigdm", {"eta": "nan"}),
        ("smc", {"twist": "nobody"}),
        ("smc", {"twist": "ddrm"}),
        ("projection", {"schedule": "never"}),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(name, changes):
    with pytest.raises(SettingError) as caught:
        with_settings(METHODS[name], changes)
    assert "\n" not in str(caught.value)


def test_an_installed_package_adds_a_method_and_a_word(tmp_path):
    package = tmp_path / "otherlab"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from dataclasses import dataclass\n"
        "from hdagger.operators.spectral import Scaled\n"
        "from hdagger.operators.text import Word\n"
        "from hdagger.samplers.ddim import DDIM\n"
        "@dataclass(frozen=True)\n"
        "class Half(DDIM):\n"
        "    share: float = 0.5\n"
        "halve = Word(lambda shape, argument, arrays: Scaled(shape, 0.5))\n"
    )
    about = tmp_path / "otherlab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: otherlab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[hdagger.methods]\nhalf = otherlab:Half\n[hdagger.operators]\nhalve = otherlab:halve\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from hdagger import METHODS, operator_for_signal\n"
        "from hdagger.recipe import Recipe\n"
        "from hdagger.settings import settings_of\n"
        "assert 'half' in METHODS\n"
        "assert settings_of(Recipe('half', {'share': '0.25'}).sampler())['share'] == 0.25\n"
        "H = operator_for_signal('halve', (1, 4, 4), {})\n"
        "print(type(H).__name__)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == "Scaled"
