"""The benchmarks' own promises: exact references, seeds, rows, resuming; and the check."""

import json

import pytest
import torch
from motion_clips import stepping
from PIL import Image

from hdagger.bench import field, figures, mixture, sweeps
from hdagger.bench.cells import generator_for, run_cells
from hdagger.calibration import calibrate
from hdagger.cli import bench
from hdagger.cli.check import check
from hdagger.domains.motion import benchmark as motion
from hdagger.domains.motion.features import WINDOW, canonical, encode
from hdagger.domains.motion.frechet import FrechetDistance, frechet, from_clips
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.errors import FileError, SettingError
from hdagger.operators.checks import dense
from hdagger.priors.analytic import GaussianField
from hdagger.samplers.base import karras_levels
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.integrators import Multistep
from hdagger.samplers.tmpd import TMPD

MIXTURE_KEYS = ["method", "dim", "observed", "steps", "w1", "w1_se", "weights_tv"]
FIELD_KEYS = ["task", "method", "nfe", "mean_error", "variance_ratio", "chi2_dof", "coverage_90"]


def test_the_mixtures_posterior_is_the_priors_closed_form():
    case = mixture.Case.draw(8, 2, 0, 3)
    assert torch.equal(case.problem.y, mixture.Case.draw(8, 2, 0, 3).problem.y)
    assert not torch.equal(case.problem.y, mixture.Case.draw(8, 2, 1, 3).problem.y)
    matrix = dense(case.problem.H)
    weights, means, cov = case.prior.posterior(matrix, case.problem.y[0], case.problem.sigma_y)
    torch.testing.assert_close(case.posterior.weights, weights, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(case.posterior.means, means)
    basis = case.problem.H.V(torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(basis.T * case.posterior.variance @ basis, cov)


def test_the_fields_posterior_is_that_of_a_dense_gaussian():
    case = field.Case.of("sr4")
    prior = GaussianField(32).flat()
    matrix = dense(case.problem.H)
    mean, cov = prior.posterior(matrix, case.problem.y[0].flatten(), field.SIGMA_Y)
    torch.testing.assert_close(case.mean[0], mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(case.deviation, cov.diagonal().sqrt(), rtol=1e-9, atol=0)
    x, sigma = torch.ones(1, 1024, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    torch.testing.assert_close(
        GaussianField(32)(x.view(1, 1, 32, 32), sigma).flatten(1), prior(x, sigma)
    )


def test_a_cell_of_the_mixture_benchmark_has_its_rows(tmp_path):
    file = tmp_path / "mixture.json"
    rows = mixture.run((8,), (4,), (20,), file, problems=2, workers=1)
    assert [list(row) for row in rows] == [[*MIXTURE_KEYS, "nfe", "seconds"]] * len(rows)
    w1 = {row["method"]: row["w1"] for row in rows}
    assert w1["smc tmpd, gaussian step"] < 4 * w1["floor"]
    assert w1["ddrm"] > 4 * w1["floor"]
    assert {row["nfe"] for row in rows} == {0, 20}
    assert json.loads(file.read_text()) == rows
    assert mixture.run((8,), (4,), (20,), file, problems=2, workers=1) == rows
    assert "smc tmpd, gaussian step" in mixture.markdown(rows)


def test_the_rows_of_the_field_benchmark():
    row = field.solve("sr4", "ddrm", 10)
    assert list(row) == [*FIELD_KEYS, "seconds"]
    assert row["nfe"] == 10
    assert row["variance_ratio"] < 0.7
    assert "| ddrm | 10 |" in field.markdown([row])


@pytest.mark.slow
def test_tmpd_with_a_multistep_solver_has_the_right_error_bars_at_100_evaluations():
    row = field.solve("sr4", "tmpd, multistep", 100)
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
    row = sweeps.solve("sparsity", 0.06, "ddrm")
    assert row["nfe"] == sweeps.STEPS
    assert "| 0.06 | ddrm |" in sweeps.markdown([row])


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


def test_cells_resume_and_broken_files_are_named(tmp_path):
    file, done = tmp_path / "rows.json", []

    def solve(a, b):
        done.append(a)
        return a + b

    def summarise(key, results):
        return [{"a": key[0], "sum": sum(results)}]

    cells = {(1,): [(1, 2), (1, 3)], (2,): [(2, 5)]}
    first = run_cells(("a",), {(1,): cells[1,]}, solve, summarise, file, workers=1)
    assert first == [{"a": 1, "sum": 7}]
    both = run_cells(("a",), cells, solve, summarise, file, workers=1)
    assert both == [{"a": 1, "sum": 7}, {"a": 2, "sum": 7}]
    assert done == [1, 1, 2]
    file.write_text("nonsense")
    with pytest.raises(FileError, match="Move it away"):
        run_cells(("a",), cells, solve, summarise, file, workers=1)


def test_calibration_tells_right_error_bars_from_narrow_ones():
    prior, H = GaussianField(16), BlockAverage((1, 16, 16), 4)
    stream = generator_for(5)
    truths = prior.sample(
        20, lambda shape: torch.randn(shape, generator=stream, dtype=torch.float64)
    )

    def check(sampler):
        levels = karras_levels(25, low=0.01, high=80.0)
        return calibrate(truths, sampler, H, 0.1, levels, 39, stream)

    right = check(Multistep(TMPD(prior, 0.0)))
    assert right.verdict.endswith("as they should")
    assert right.chi2_dof == pytest.approx(1, abs=0.3)
    narrow = check(DDRM(prior))
    assert narrow.verdict.endswith("over-confident")
    assert narrow.verdict in narrow.svg()


def exactly(mean, root):
    """Vectors whose mean and covariance, root root^T, are so to rounding."""
    x = torch.randn(50, len(mean), dtype=torch.float64)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.mT.cov())).mT @ root.mT + mean


def test_the_frechet_distance_of_gaussians():
    torch.manual_seed(0)
    zero, mean = torch.zeros(3).double(), torch.tensor([1.0, -2.0, 0.5]).double()
    small, large = (
        torch.diag(torch.tensor(s).double()) for s in ([1.0, 2.0, 0.5], [3.0, 1.0, 0.5])
    )
    # Covariances that commute: d^2 = |m_1 - m_2|^2 + sum of (s_1 - s_2)^2.
    assert frechet(exactly(zero, small), exactly(mean, large)) == pytest.approx(5.25 + 4 + 1)
    a, b = torch.randn(2, 3, 3, dtype=torch.float64)
    C, D = a @ a.mT, b @ b.mT
    cross = torch.linalg.eigvals(C @ D).real.sqrt().sum()
    expected = float(mean.square().sum() + C.trace() + D.trace() - 2 * cross)
    assert frechet(exactly(zero, a), exactly(mean, b)) == pytest.approx(expected)
    x = exactly(mean, a)
    assert frechet(x, x.flip(0)) == pytest.approx(0, abs=1e-9)
    few = torch.randn(2, 8)
    assert frechet(few, few) == pytest.approx(0, abs=1e-6)


def test_training_windows_are_nearer_than_damaged_ones(tmp_path):
    clip, poor = stepping(200), stepping(200, seed=1)
    cut = lambda motion: [motion[k : k + WINDOW].canonical() for k in range(0, 140, 4)]
    windows = canonical(torch.stack([encode(piece.qpos) for piece in cut(clip)])).float()
    state = torch.random.get_rng_state()
    told = []
    distance = FrechetDistance(
        windows[::2], windows[1::2], updates=60, watch=lambda *at: told.append(at)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert told[-1] == (60, 60)
    assert distance.autoencoder.unexplained(windows) < 0.5
    assert distance(cut(clip)[::2]) == pytest.approx(0, abs=1e-3)
    assert distance.floor(17) < distance(cut(poor))
    again = FrechetDistance(windows[::2], windows[1::2], updates=60)
    assert again(cut(poor)) == distance(cut(poor))
    row = dict.fromkeys((*motion.NUMBERS, "diversity", "moved", "worst", "interval"), 1.0)
    row |= {"schedule": "none", "samples": 2, "diverged": 0}
    assert "| frechet | floor |" in motion.markdown([row | {"frechet": 2.0, "floor": 0.5}])
    assert "frechet" not in motion.markdown([row])
    with pytest.raises(FileError, match="gather_motion"):
        from_clips(tmp_path)


def test_bench_and_check_on_the_command_line(capsys):
    check(operator="none", size=8, simulations=2, draws=19, steps=5, as_json=True)
    assert "the 90 % intervals cover" in json.loads(capsys.readouterr().out)["verdict"]
    with pytest.raises(SettingError, match="Try --dim 8"):
        bench.mixture(dim=7)
    with pytest.raises(SettingError, match="sr4"):
        bench.field(task="blur")
    with pytest.raises(SettingError, match="--draws 39"):
        check(draws=5)
