"""The motion benchmark: the Frechet distance, and rows that are kept under all that makes them."""

import pytest
import torch
from motion_clips import stepping

from hdagger.domains.motion import benchmark as motion
from hdagger.domains.motion.features import WINDOW, canonical, encode
from hdagger.domains.motion.frechet import FrechetDistance, frechet, from_clips
from hdagger.errors import FileError


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


def test_rows_of_another_number_of_motions_do_not_come_back(tmp_path, monkeypatch):
    done = []

    def sample(schedule, seed, samples, distance=None):
        done.append(samples)
        row = dict.fromkeys((*motion.NUMBERS, "diversity", "moved"), 1.0)
        return [row | {"diverged": 0}] * samples

    monkeypatch.setattr(motion, "sample", sample)
    file = tmp_path / "rows.json"
    for samples, jobs in ((2, 1), (3, 1), (2, 0)):
        done.clear()
        (row,) = motion.run(("none",), samples, seeds=(0,), file=file, workers=1)
        assert (row["samples"], len(done)) == (samples, jobs)
