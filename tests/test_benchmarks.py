"""The benchmarks' own promises: exact references, seeds, rows, resuming; and the check."""

import json

import pytest
import torch
from PIL import Image

from hdagger.bench import field, figures, mixture, sweeps
from hdagger.calibration import plan
from hdagger.cli import bench
from hdagger.cli.check import check
from hdagger.errors import FileError, SettingError
from hdagger.operators.checks import dense
from hdagger.priors.analytic import GaussianField
from hdagger.recipe import Recipe
from hdagger.samplers.ddrm import DDRM
from hdagger.trials import run_trials

MIXTURE_FOUND = ["w1", "w1_se", "weights_tv", "nfe", "seconds"]
FIELD_FOUND = ["nfe", "mean_error", "variance_ratio", "chi2_dof", "coverage_90", "seconds"]


def test_the_mixtures_posterior_is_the_priors_closed_form():
    case = mixture.Case.draw(8, 2, 0)
    assert torch.equal(case.problem.y, mixture.Case.draw(8, 2, 0).problem.y)
    assert not torch.equal(case.problem.y, mixture.Case.draw(8, 2, 1).problem.y)
    assert not torch.equal(case.problem.y, mixture.Case.draw(8, 2, 0, seed=1).problem.y)
    matrix = dense(case.problem.H)
    weights, means, cov = case.prior.posterior(matrix, case.problem.y[0], case.problem.sigma_y)
    torch.testing.assert_close(case.posterior.weights, weights, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(case.posterior.means, means)
    basis = case.problem.H.V(torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(basis.T * case.posterior.variance @ basis, cov)


def test_the_fields_posterior_is_that_of_a_dense_gaussian():
    case = field.case_of("sr4")
    prior = GaussianField(32).flat()
    matrix = dense(case.problems[0].H)
    mean, cov = prior.posterior(matrix, case.problems[0].y[0].flatten(), field.SIGMA_Y)
    torch.testing.assert_close(case.mean[0], mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(case.deviation, cov.diagonal().sqrt(), rtol=1e-9, atol=0)
    x, sigma = torch.ones(1, 1024, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    torch.testing.assert_close(
        GaussianField(32)(x.view(1, 1, 32, 32), sigma).flatten(1), prior(x, sigma)
    )


def test_a_cell_of_the_mixture_benchmark_has_its_rows(tmp_path):
    file = tmp_path / "mixture.json"
    asked = {"problems": 2, "workers": 1, "methods": ("ddrm", "smc tmpd, gaussian step")}
    rows = mixture.run((8,), (4,), (20,), file, **asked)
    assert [list(row) for row in rows] == [[*mixture.NAMES, *MIXTURE_FOUND]] * len(rows)
    w1 = {row["method"]: row["w1"] for row in rows}
    assert w1["smc tmpd, gaussian step"] < 4 * w1["floor"]
    assert w1["ddrm"] > 4 * w1["floor"]
    calls = {row["method"]: row["nfe"] for row in rows}
    assert calls.pop("floor") == 0
    assert set(calls.values()) == {20}
    assert json.loads(file.read_text()) == rows
    assert mixture.run((8,), (4,), (20,), file, **asked) == rows
    assert "smc tmpd, gaussian step" in mixture.markdown(rows)


def test_every_method_of_the_benchmarks_runs():
    for method in mixture.CONTENDERS:
        score = mixture.one(8, 4, 2, method, index=0, count=20, seed=0)
        assert score.nfe == 2, method
    for method in field.CONTENDERS:
        found = field.one("sr4", method, 2, measurements=1, samples=19, seed=0)
        assert found["nfe"] == field.calls(method, 2) - (method == "tmpd, heun"), method


@pytest.mark.parametrize("task", field.operators())
def test_drawn_steps_have_the_right_error_bars_at_20_evaluations(task):
    row = field.one(
        task, "drawn", field.affordable("drawn", 20), measurements=4, samples=64, seed=0
    )
    assert 18 <= row["nfe"] <= 20
    assert row["mean_error"] < 0.05
    for name, right in (("variance_ratio", 1.0), ("chi2_dof", 1.0), ("coverage_90", 0.9)):
        assert row[name] == pytest.approx(right, rel=0.03), name


def test_the_rows_of_the_field_benchmark():
    found = field.one("sr4", "ddrm", 10, measurements=4, samples=64, seed=0)
    assert list(found) == FIELD_FOUND
    assert found["nfe"] == 10
    assert found["variance_ratio"] < 0.7
    row = {"task": "sr4", "method": "ddrm"} | found
    assert "| ddrm | 10 |" in field.markdown([row])


class Run:
    """A benchmark of few cells, which counts the jobs that it does."""

    def __init__(self, module, found, monkeypatch, **asked):
        self.module, self.asked, self.done = module, asked, []
        monkeypatch.setattr(module, "one", lambda *job: self.done.append(job) or found)

    def __call__(self, **other):
        self.done.clear()
        rows = self.module.run(**self.asked | other, workers=1)
        return len(self.done), rows


FOUND = dict.fromkeys(("mean_error", "variance_ratio", "chi2_dof", "coverage_90"), 0.5)
FOUND |= {"nfe": 10, "seconds": 0.1}


@pytest.mark.parametrize(
    ("module", "asked", "others"),
    [
        (
            mixture,
            {"dims": (8,), "observed": (4,), "steps": (20,), "methods": ("ddrm",)},
            ({"seed": 1}, {"problems": 3}, {"count": 10}),
        ),
        (
            field,
            {"tasks": ("sr4",), "nfes": (10,)},
            ({"seed": 1}, {"samples": 10}, {"measurements": 2}),
        ),
        (
            sweeps,
            {"name": "sparsity"},
            ({"seed": 1}, {"samples": 10}, {"measurements": 2}, {"steps": 5}),
        ),
    ],
    ids=["mixture", "field", "sweeps"],
)
def test_rows_of_another_run_do_not_come_back(module, asked, others, tmp_path, monkeypatch):
    """Seed, problems, samples, settings and the version of the protocol are in the key."""
    found = mixture.Score(1.0, 0.1, 10, 0.1) if module is mixture else FOUND
    run = Run(module, found, monkeypatch, file=tmp_path / "rows.json", **asked)
    jobs, rows = run()
    assert jobs > 0
    assert run() == (0, rows)
    for other in others:
        jobs, different = run(**other)
        assert jobs > 0, other
        (name,) = other
        assert {row[name] for row in different if name in row} <= {other.get(name)}
        assert run(**other) == (0, different)
    assert run() == (0, rows), "the first rows are still there"
    monkeypatch.setattr(module, "PROTOCOL", "next")
    assert run()[0] > 0
    monkeypatch.undo()
    run = Run(module, found, monkeypatch, file=tmp_path / "rows.json", **asked)
    if module is sweeps:
        monkeypatch.setitem(sweeps.SWEEPS["sparsity"].methods, "ddrm", DDRM(eta=0.5))
    else:
        monkeypatch.setattr(module, "CONTENDERS", module.CONTENDERS | {"ddrm": DDRM(eta=0.5)})
    assert 0 < run()[0] < jobs + 1


def test_the_fields_measurements_and_noise_are_of_their_seed():
    case = field.case_of("sr4", measurements=2)
    assert torch.equal(case.problems[0].y, field.case_of("sr4", measurements=2).problems[0].y)
    other = field.case_of("sr4", measurements=2, seed=1)
    assert not torch.equal(case.problems[0].y, other.problems[0].y)
    draw = lambda seed: field.draw(DDRM(eta=0.85), case, 2, samples=19, seed=seed)
    first, again, second = (replace_seconds(draw(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != second


def replace_seconds(row):
    return row | {"seconds": 0}


@pytest.mark.slow
def test_tmpd_with_a_multistep_solver_has_the_right_error_bars_at_100_evaluations():
    row = field.one("sr4", "tmpd, multistep", 100, measurements=4, samples=64, seed=0)
    assert row["variance_ratio"] == pytest.approx(1, abs=0.02)
    assert row["chi2_dof"] == pytest.approx(1, abs=0.02)
    assert row["coverage_90"] == pytest.approx(0.9, abs=0.01)


def test_the_sweeps_go_where_they_say():
    assert [float(sweeps.blur(k).singular_values.min()) for k in (1, 100)] == pytest.approx(
        [1, 0.01]
    )
    assert float(sweeps.blur(100).singular_values.max()) == pytest.approx(1)
    wide, narrow = sweeps.scattered(0.5).mask, sweeps.scattered(0.06).mask
    assert narrow.double().mean() == pytest.approx(0.06, abs=0.02)
    assert (wide >= narrow).all()
    found = sweeps.one("sparsity", 0.06, "ddrm", sweeps.STEPS, measurements=4, samples=64, seed=0)
    assert found["nfe"] == sweeps.STEPS
    assert "| 0.06 | ddrm |" in sweeps.markdown([{"value": 0.06, "method": "ddrm"} | found])


def test_figures_are_pictures_of_their_rows(tmp_path):
    pytest.importorskip("matplotlib")

    def found(v):
        return {"mean_error": v, "variance_ratio": v, "chi2_dof": 4 * v, "coverage_90": 0.85}

    rows = [found(v) | {"value": v, "method": m} for v in (0.5, 0.1) for m in ("ddrm", "pigdm")]
    budget = [found(1 / n) | {"task": "sr4", "nfe": n, "method": "ddrm"} for n in (10, 20)]
    for draw, data in (
        (figures.sparsity, rows),
        (figures.conditioning, rows),
        (figures.budget, budget),
    ):
        draw(data, tmp_path / "figure.png")
        with Image.open(tmp_path / "figure.png") as image:
            assert min(image.size) > 300


def test_trials_resume_and_broken_files_are_named(tmp_path):
    file, done = tmp_path / "rows.json", []

    def work(a, b):
        done.append(a)
        return a + b

    def summarise(key, results):
        return [{"sum": sum(results)}]

    trials = {(1,): [(1, 2), (1, 3)], (2,): [(2, 5)]}
    first = run_trials(("a",), {(1,): trials[1,]}, work, summarise, file, workers=1)
    assert first == [{"a": 1, "sum": 7}]
    both = run_trials(("a",), trials, work, summarise, file, workers=1)
    assert both == [{"a": 1, "sum": 7}, {"a": 2, "sum": 7}]
    assert done == [1, 1, 2]
    for nonsense in ("nonsense", "{}", "[1]"):
        file.write_text(nonsense)
        with pytest.raises(FileError, match="Move it away"):
            run_trials(("a",), trials, work, summarise, file, workers=1)


def test_rows_that_lack_a_part_of_the_key_are_of_another_run(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('[{"a": 1, "sum": 99}]')
    rows = run_trials(
        ("a", "seed"), {(1, 0): [(5,)]}, int, lambda key, found: [{"sum": found[0]}], file, 1
    )
    assert rows == [{"a": 1, "seed": 0, "sum": 5}]
    assert len(json.loads(file.read_text())) == 2


def test_calibration_tells_right_error_bars_from_narrow_ones():
    def found(method):
        recipe = Recipe(method=method, prior="field", steps=25, samples=39)
        return plan(recipe, simulations=20, side=16).run()

    right = found("tmpd")
    assert "as they should" in right.words
    assert right.scores.chi2_dof == pytest.approx(1, abs=0.3)
    narrow = found("ddrm")
    assert "over-confident" in narrow.words


def test_bench_and_check_on_the_command_line(capsys):
    check(operator=["none"], size=8, simulations=2, draws=19, steps=5, as_json=True)
    assert "the 90 % intervals cover" in json.loads(capsys.readouterr().out)["verdict"]
    with pytest.raises(SettingError, match="Try --dim 8"):
        bench.mixture(dim=7)
    with pytest.raises(SettingError, match="sr4"):
        bench.field(task="blur")
    with pytest.raises(SettingError, match="Try --seed 0"):
        bench.field(seed=-1)
    with pytest.raises(SettingError, match="Try --samples 64"):
        bench.sparsity(samples=1)
    with pytest.raises(SettingError, match="--draws 1"):
        check(draws=1)
