"""The text form is free of domains: a table of words, and what other packages add to it."""

import subprocess
import sys

import pytest
import torch

from hdagger.errors import SettingError
from hdagger.operators.base import AlignedOperator
from hdagger.operators.spectral import Identity, Scaled
from hdagger.operators.text import (
    Word,
    Words,
    frame_of,
    joined,
    parse,
    signal_shape_for,
    stages_for,
)

WORDS = Words(
    {
        "same": Word(lambda shape, argument, arrays: Identity(shape)),
        "times": Word(lambda shape, argument, arrays: Scaled(shape, float(argument))),
        "cut": Word(
            lambda shape, argument, arrays: Identity((shape[0] - 2,)),
            lambda shape, argument, arrays: (shape[0] + 2,),
            lambda frame, argument, arrays: (slice(frame[0].start + 1, frame[0].stop + 1),),
        ),
    }
)


def test_a_table_of_any_domain_has_a_text_form():
    H = joined(stages_for("times:2 | same | times:3", (4,), {}, WORDS))
    assert torch.equal(H(torch.ones(1, 4).double()), torch.full((1, 4), 6.0).double())
    assert signal_shape_for("cut | times:2 | cut", (4,), {}, WORDS) == (8,)
    assert frame_of("cut | times:2 | cut", (slice(0, 4),), {}, WORDS) == (slice(2, 6),)
    with pytest.raises(SettingError, match="one of same, times, cut, but got 'blur', word 2"):
        parse("same | blur:2", WORDS)


def test_other_packages_add_words(tmp_path, monkeypatch):
    (tmp_path / "halves.py").write_text(
        "from hdagger.operators.spectral import Scaled\n"
        "from hdagger.operators.text import Word\n"
        "word = Word(lambda shape, argument, arrays: Scaled(shape, 0.5))\n"
        "same = None\n"
    )
    info = tmp_path / "halves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[hdagger.operators]\nhalf = halves:word\nsame = halves:same\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = Words(WORDS.own)
    H = joined(stages_for("half | same", (4,), {}, words))
    assert torch.equal(H(torch.ones(1, 4).double()), torch.full((1, 4), 0.5).double())
    assert set(words) == {"same", "times", "cut", "half"}


def test_operators_compose_without_any_domain():
    code = (
        "import sys; from hdagger.operators.spectral import Scaled; "
        "H = Scaled((3,), 2.0) @ Scaled((3,), 3.0); print(float(H.singular_values[0])); "
        "assert not [name for name in sys.modules if 'domains' in name]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6.0\n"
    assert issubclass(Scaled, AlignedOperator)
