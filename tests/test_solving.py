"""``solve``: any network, any operator, any batch; and what it refuses, in one line."""

import pytest
import torch
from torch import nn

from hdagger import DDRM, LinearOperator, PiGDM, Problem, solve
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.errors import HDaggerError
from hdagger.operators.spectral import Identity
from hdagger.priors import zoo
from hdagger.samplers import METHODS
from hdagger.samplers.smc import SMC
from hdagger.samplers.tmpd import TMPD
from hdagger.samplers.walk import Step, karras_levels
from hdagger.samples import PosteriorSamples

Y = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
WHITE = lambda x, sigma: x / (1 + sigma**2)
PROBLEM = Problem.of(Y, Identity((3,)), 0.1)
WALK = karras_levels(5, low=0.05, high=20.0)


class Network(nn.Module):
    """A float32 network of one's own, which refuses anything else."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.layer.weight)

    def forward(self, x, sigma):
        return self.layer(x) / (1 + sigma**2)


class Sums(LinearOperator):
    signal_shape, data_shape = (4,), (2,)
    forward = lambda self, x: x.unflatten(1, (2, 2)).sum(2)
    adjoint = lambda self, y: y.repeat_interleave(2, dim=1)


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: lambda x, sigma: net(x, sigma)])
def test_ones_own_network_and_operator_in_five_lines(wrap):
    network, H = wrap(Network()), Sums()
    y = torch.tensor([1.0, -1.0])
    samples = solve(network, Problem.of(y, H, 0.1), PiGDM(), samples=200)
    assert samples.draws.dtype == torch.float64
    # The posterior mean of a white Gaussian: H^T (H H^T + sigma_y^2 I)^-1 y.
    expected = H.adjoint(y[None] / 2.01)[0].double()
    torch.testing.assert_close(samples.mean, expected, rtol=0, atol=0.15)


def test_a_sample_is_the_same_bits_in_any_batch():
    """Of an elementwise prior; alone, among others, or of a longer run."""
    draw = lambda **how: solve(WHITE, PROBLEM, DDRM(), levels=WALK, seed=3, item=7, **how).draws
    whole = draw(samples=5)
    for batch in (1, 2, 5, 100):
        assert torch.equal(draw(samples=5, batch=batch), whole)
    assert torch.equal(draw(samples=3), whole[:3])
    other = solve(WHITE, PROBLEM, DDRM(), levels=WALK, seed=3, item=8, samples=5).draws
    assert not (other == whole).any()


def test_a_network_is_the_same_to_rounding_in_any_batch():
    """1e-6 of a call, which a walk makes some 1e-5. In pictures of 16 x 16, a quarter of
    what it was trained on, it tells nonsense of pure noise, and rounding grows a hundredfold."""
    card = zoo.card("photo")
    H = BlockAverage((3, 32, 32), 4)
    y = torch.rand(H.data_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    draw = lambda batch: (
        solve(
            zoo.load(card), Problem.of(y, H, 0.1), DDRM(), levels=WALK, samples=4, batch=batch
        ).draws
    )
    assert float((draw(1) - draw(4)).abs().max()) <= 1e-5
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    D = lambda rows: zoo.load(card)(rows, torch.tensor(0.3))
    assert float((D(x) - torch.cat([D(row[None]) for row in x])).abs().max()) <= 3e-6


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: solve(WHITE, PROBLEM, DDRM(), samples=2.5), "samples"),
        (lambda: solve(WHITE, PROBLEM, DDRM(), samples=0), "samples"),
        (lambda: solve(WHITE, PROBLEM, DDRM(), seed=-1), "seed of 0 or more"),
        (lambda: solve(WHITE, PROBLEM, DDRM(), batch=0), "batches of 1 or more"),
        (lambda: Problem.of(Y[:2], Identity((3,)), 0.1), r"shape \(3,\)"),
        (lambda: Problem.of(Y + 1j, Identity((3,)), 0.1), "real data"),
        (lambda: Problem.of(Y * torch.nan, Identity((3,)), 0.1), "3 of 3 numbers are not"),
        (lambda: solve(lambda x, s: x * torch.nan, PROBLEM, DDRM()), "diverged"),
    ],
)
def test_what_cannot_be_solved_is_said_in_one_line(work, words):
    with pytest.raises((HDaggerError, TypeError), match=words) as caught:
        work()
    if isinstance(caught.value, HDaggerError):
        assert "\n" not in str(caught.value)


def test_steps_and_evaluations_are_counted():
    calls, seen = [], []

    def prior(x, sigma):
        calls.append(len(x))
        return WHITE(x, sigma)

    drawn = solve(
        prior, PROBLEM, PiGDM(), levels=WALK, samples=5, batch=2,
        watch=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(k, 15) for k in range(1, 16)]
    assert drawn.provenance["nfe"] == 10
    assert len(calls) == 3 * 10
    assert drawn.provenance["steps"] == 5
    assert drawn.provenance["chi2_dof"] is not None


def test_what_a_cloud_knows_goes_through_the_file(tmp_path):
    twist = TMPD(eta=1.0, solver="euler", covariance="matrix")
    drawn = solve(WHITE, PROBLEM, SMC(particles=4, twist=twist), levels=WALK, samples=8)
    assert set(drawn.known) == {"log_evidence", "ancestor", "effective_share"}
    assert all(len(values) == 8 for values in drawn.known.values())
    assert len(drawn.known["log_evidence"].unique()) == 2
    drawn.save(tmp_path / "samples.npz")
    again = PosteriorSamples.load(tmp_path / "samples.npz")
    assert again.provenance["settings"]["twist"] == "tmpd"
    for name, values in drawn.known.items():
        torch.testing.assert_close(again.known[name].to(values), values)
    assert torch.equal(again.draws, drawn.draws.float())


def test_clouds_are_drawn_whole():
    drawn = solve(WHITE, PROBLEM, SMC(particles=3, twist=PiGDM()), samples=4)
    assert len(drawn.draws) == len(drawn.known["ancestor"]) == drawn.provenance["samples"] == 6


def test_a_matrix_of_too_many_data_is_refused_with_what_to_use():
    H = Identity((1025,))
    problem = Problem.of(torch.zeros(1025), H, 0.1)
    with pytest.raises(HDaggerError, match="twist=pigdm"):
        solve(lambda x, sigma: x, problem, METHODS["smc"])


def test_a_sample_that_no_signal_can_be_is_an_error():
    with pytest.raises(HDaggerError, match="diverged"):
        solve(lambda x, sigma: 0 * x + 1e6, PROBLEM, PiGDM())


def test_a_jacobian_that_points_away_pulls_nothing():
    """J = -1/2 is no covariance: the prediction stays what the prior said."""
    step = Step(torch.tensor(2.0).double(), torch.tensor(1.0).double(), 1.0, 0, 2)
    x = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    method = PiGDM(data_variance=1.0, jacobian="vjp")
    moved = method.correct(lambda x, sigma: -x / 2, x, PROBLEM, step)
    torch.testing.assert_close(moved, -x / 2)
