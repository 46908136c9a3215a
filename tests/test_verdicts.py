"""Verdicts: what they belong to, what is told of them elsewhere, and what may replace them."""

import json
from dataclasses import asdict, replace

import pytest

from hdagger import verdicts
from hdagger.domains.pictures.hints import DRAWN_STEPS
from hdagger.errors import FileError, SettingError
from hdagger.priors import cards, zoo
from hdagger.verdicts import DRAWN, Subject, Verdict, check_place, found_on, store, verdict_file

SUBJECT = Subject(
    prior_sha256="ab",
    domain="pictures",
    operator="average:4",
    sigma_y=0.1,
    method="ddrm",
    settings={"eta": 0.85, "eta_b": 1.0},
    steps=20,
)
VERDICT = Verdict(
    subject=SUBJECT,
    truths="crops of pictures",
    shape=(3, 32, 32),
    simulations=12,
    draws=19,
    coverage_90=0.71,
    chi2_dof=0.8,
    words="the 90 % intervals cover 71 %: over-confident",
)
OTHERS = {
    "weights": {"prior_sha256": "cd"},
    "domain": {"domain": "motion"},
    "operator": {"operator": "gauss:4"},
    "noise": {"sigma_y": 0.3},
    "no noise": {"sigma_y": 0.0},
    "method": {"method": "pigdm"},
    "settings": {"settings": {"eta": 1.0, "eta_b": 1.0}},
    "one more setting": {"settings": {"eta": 0.85, "eta_b": 1.0, "solver": "heun"}},
    "steps": {"steps": 2},
    "label": {"label": 3},
    "guidance": {"guidance": 2.0},
}
NEAR = {
    "30 steps, not 20": {"steps": 20},
    "sigma_y 0.1, not 0.12": {"sigma_y": 0.12},
    "average:4, not average:3": {"operator": "average:3"},
    "other arrays": {"arrays_sha256": "ef"},
}


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch, tmp_path):
    """A user's folder of one's own, and no verdicts that came along."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(verdicts, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()


def ship(tmp_path, *found):
    rows = json.dumps([asdict(verdict) for verdict in found])
    (tmp_path / "shipped" / "photo.verdicts.json").write_text(rows)


def test_a_verdict_survives_its_file_and_is_told_as_it_is():
    assert "have not been checked. do it" in found_on(SUBJECT).words("do it")
    path = store(VERDICT)
    assert path == verdict_file("ab")
    found = found_on(replace(SUBJECT, sigma_y=0.1 + 1e-9))
    assert found.same == VERDICT
    assert found.words("do it") == (
        "Checked: ddrm in 20 steps on 12 crops of pictures, 3 x 32 x 32 "
        "(average:4, sigma_y 0.1): the 90 % intervals cover 71 %: over-confident."
    )


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_what_was_found_of_one_is_not_told_of_another(changes):
    store(VERDICT)
    other = replace(SUBJECT, **changes)
    assert not SUBJECT.is_same(other)
    assert not other.is_near(SUBJECT)
    assert "71 %" not in found_on(other).words("")


@pytest.mark.parametrize("apart", NEAR)
def test_near_ones_are_told_as_near_with_what_is_apart(apart):
    verdict = replace(VERDICT, subject=replace(SUBJECT, steps=30)) if "steps" in apart else VERDICT
    store(verdict)
    found = found_on(replace(SUBJECT, **NEAR[apart]))
    assert found.same is None
    assert found.near == (verdict,)
    words = found.words("do it")
    assert words.startswith(
        f"The error bars of just this have not been checked; near to it ({apart}"
    )
    assert words.endswith("71 %: over-confident. do it does it.")


def test_the_nearest_of_the_near_ones_is_told_first():
    far = replace(VERDICT, subject=replace(SUBJECT, sigma_y=0.12), simulations=400)
    close = replace(VERDICT, subject=replace(SUBJECT, sigma_y=0.09))
    for verdict in (far, close):
        store(verdict)
    asked = replace(SUBJECT, sigma_y=0.095)
    assert found_on(asked).near == (close, far)
    assert "(sigma_y 0.09, not 0.095)" in found_on(asked).words("do it")
    masked = replace(SUBJECT, operator="average:4 | mask", arrays_sha256="ef")
    assert masked.distance(replace(masked, arrays_sha256="01")) > masked.distance(
        replace(masked, operator="average:3 | mask")
    )


def test_where_none_is_near_what_was_measured_is_named_and_what_was_found_is_not():
    store(VERDICT)
    words = found_on(replace(SUBJECT, operator="motion:15,30", sigma_y=0.02)).words("do it")
    assert words == (
        "The error bars of this have not been checked; what has been, of this method and prior, "
        "is average:4 at sigma_y 0.1. do it does it."
    )
    assert "average" not in found_on(replace(SUBJECT, steps=21, settings={})).words("do it")


def test_a_promise_survives_its_file_and_gives_way_to_none_without():
    promise = replace(VERDICT, factors=(None, *(1 + 1 / k for k in range(2, 19))))
    store(VERDICT)
    store(promise)
    assert found_on(SUBJECT).same == promise
    with pytest.raises(SettingError, match="--draws 19 --conformal"):
        store(replace(VERDICT, simulations=99))
    small = replace(promise, shape=(3, 16, 16), simulations=9)
    store(replace(VERDICT, shape=(3, 64, 64), simulations=99))
    store(small)
    assert found_on(SUBJECT).same == promise, "a promise is told before more simulations"


def test_a_mask_in_two_steps_is_not_told_of_averages_in_twenty():
    store(VERDICT)
    masked = replace(SUBJECT, operator="mask", arrays_sha256="ef", steps=2)
    assert found_on(masked).near == ()


def test_the_same_mask_is_the_same_and_another_is_near():
    masked = replace(SUBJECT, operator="average:4 | mask", arrays_sha256="ef")
    store(replace(VERDICT, subject=masked))
    assert found_on(masked).same is not None
    other = found_on(replace(masked, arrays_sha256="01"))
    assert other.same is None
    assert len(other.near) == 1


@pytest.mark.parametrize(
    "weaker", [{"simulations": 2}, {"draws": 18}, {"simulations": 11, "draws": 99}]
)
def test_a_weaker_verdict_replaces_none(weaker):
    store(VERDICT)
    with pytest.raises(SettingError, match="--simulations 12 --draws 19") as error:
        store(replace(VERDICT, coverage_90=0.9, **weaker))
    assert "\n" not in str(error.value)
    assert found_on(SUBJECT).same == VERDICT


def test_a_verdict_replaces_its_like_and_nothing_else():
    blur = replace(VERDICT, subject=replace(SUBJECT, operator="gauss:2"), chi2_dof=None)
    large = replace(VERDICT, shape=(3, 64, 64), simulations=5)
    again = replace(VERDICT, coverage_90=0.9, simulations=13)
    for verdict in (VERDICT, blur, large, again):
        store(verdict)
    rows = [Verdict.of(row) for row in json.loads(verdict_file("ab").read_text())]
    assert rows == [blur, large, again]
    assert found_on(SUBJECT).same == again


def test_a_shipped_verdict_is_not_replaced_by_a_weaker_one_nor_written_to(tmp_path):
    ship(tmp_path, VERDICT)
    before = (tmp_path / "shipped" / "photo.verdicts.json").read_bytes()
    with pytest.raises(SettingError, match="rests on no less"):
        check_place(replace(VERDICT, simulations=2))
    better = replace(VERDICT, simulations=40)
    store(better)
    assert found_on(SUBJECT).same == better
    assert (tmp_path / "shipped" / "photo.verdicts.json").read_bytes() == before


def test_crops_of_pictures_are_told_before_draws_of_the_prior():
    drawn = replace(VERDICT, truths=DRAWN, simulations=400)
    store(VERDICT)
    store(drawn)
    assert found_on(SUBJECT).same == VERDICT


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(FileError, match="cannot be written"):
        check_place(VERDICT)


ROW = json.loads(json.dumps(asdict(VERDICT)))
BROKEN = {
    "nonsense": "nonsense",
    "no table": "[1]",
    "a number": "5",
    "too long": " " * 2_000_000,
    "deep": "[" * 100_000,
    "fields missing": '[{"subject": {}}]',
    "fields beyond": json.dumps([ROW | {"extra": 1}]),
    "coverage": json.dumps([ROW | {"coverage_90": 1.5}]),
    "no number": json.dumps([ROW | {"coverage_90": float("nan")}]),
    "chi2": json.dumps([ROW | {"chi2_dof": float("inf")}]),
    "simulations": json.dumps([ROW | {"simulations": 0}]),
    "draws": json.dumps([ROW | {"draws": 10**12}]),
    "shape": json.dumps([ROW | {"shape": "3 x 3"}]),
    "lines": json.dumps([ROW | {"words": "as they should\nor not"}]),
    "words": json.dumps([ROW | {"words": "long " * 1000}]),
    "settings": json.dumps([ROW | {"subject": ROW["subject"] | {"settings": {"eta": [1]}}}]),
    "steps": json.dumps([ROW | {"subject": ROW["subject"] | {"steps": True}}]),
    "factors": json.dumps([ROW | {"factors": [1.5, 0]}]),
    "a factor": json.dumps([ROW | {"factors": 1.5}]),
    "sha256": json.dumps([ROW | {"subject": ROW["subject"] | {"prior_sha256": None}}]),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_file_that_holds_something_else_is_named_in_one_line(text):
    path = verdict_file("ab")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(FileError, match="Move it away") as error:
        found_on(SUBJECT)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_the_verdicts_that_come_along_are_of_bundled_weights_and_of_the_methods_as_they_are(
    monkeypatch,
):
    from hdagger.samplers import METHODS
    from hdagger.settings import settings_of, with_settings

    monkeypatch.undo()
    weights = {zoo.sha256_of(card) for card in cards.known()}
    rows = [
        Verdict.of(row)
        for path in sorted(verdicts.SHIPPED.glob("*.verdicts.json"))
        for row in json.loads(path.read_text())
    ]
    assert rows
    for verdict in rows:
        subject = verdict.subject
        assert subject.prior_sha256 in weights
        method = with_settings(METHODS[subject.method], subject.settings)
        assert settings_of(method) == subject.settings
        assert subject.steps == (DRAWN_STEPS if subject.method == "drawn" else method.enough)
        assert found_on(subject).same == verdict
