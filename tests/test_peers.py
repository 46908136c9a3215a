"""Samplers of other packages, where installed: their adapters against a closed form."""

import pytest
import torch

from hdagger.domains.pictures.resample import BlockAverage
from hdagger.errors import OperatorAbilityError
from hdagger.operators.nonlinear import Clip
from hdagger.problem import Problem
from hdagger.tensors import SampleNoise

peers = pytest.importorskip("peers")

SHAPE, SIGMA_Y, ROWS = (1, 8, 8), 0.3, 400


def white(x, sigma):
    return x / (1 + sigma**2)


@pytest.mark.parametrize("name", ["azula-mmps", "deepinv-mm"])
def test_a_peer_draws_from_the_posterior_of_white_noise(name):
    """Block means of 4: gain 1/2, so variance 1 / (1 + 1 / (4 * 0.09)) along them, 1 across.

    The peers' own steps are of first order, and their samples up to 11 % too narrow.
    """
    pytest.importorskip(name.split("-")[0])
    H = BlockAverage(SHAPE, 2)
    y = H(SampleNoise(0, [(0,)])((1, *SHAPE)))
    x = peers.PEERS[name](white, Problem(y.expand(ROWS, *y.shape[1:]), H, SIGMA_Y), 0)
    along, seen = 2 * H(x), 1 / (1 + 1 / (4 * SIGMA_Y**2))
    exact = y[0] * 2 * (1 - seen)
    torch.testing.assert_close(along.mean(0), exact, atol=0.15, rtol=0)
    assert float(along.var(0).mean()) == pytest.approx(seen, rel=0.13)
    across = (x[..., ::2, ::2] - x[..., 1::2, ::2]) / 2**0.5
    assert float(across.var(0).mean()) == pytest.approx(1, rel=0.13)


@pytest.mark.parametrize("name", ["azula-mmps", "deepinv-mm", "deepinv-ddrm"])
def test_a_peer_that_cannot_says_so(name):
    pytest.importorskip(name.split("-")[0])
    problem = Problem(torch.zeros(1, *SHAPE), Clip(SHAPE, 2.0), 0.1)
    with pytest.raises(OperatorAbilityError, match=name.split("-")[0]):
        peers.PEERS[name](white, problem, 0)
