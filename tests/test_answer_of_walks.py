"""The answer of walks of which it is known what chance did to them."""

import pytest
import torch

from hdagger.answer import Walks

F64 = torch.float64
N, K = 4000, 8
GENERATOR = torch.Generator().manual_seed(0)
TRUE = torch.randn(N, dtype=F64, generator=GENERATOR)


def walks(known=0.8, batches=(K,), shares=(2.0, -0.5)):
    """x = m + a + b + rest, where a and b are the ``known`` share of the variance."""
    found, generator = Walks(), torch.Generator().manual_seed(1)
    a, b, rest = torch.randn(3, K, N, dtype=F64, generator=generator)
    x = TRUE + (known / 2) ** 0.5 * (a + b) + (1 - known) ** 0.5 * rest
    for ours in zip(*(v.split(batches) for v in (x, a, b)), strict=True):
        found.add(ours[0], [u / share for u, share in zip(ours[1:], shares, strict=True)])
    return found, x.mean(0)


def error(v):
    return float((v - TRUE).square().mean())


@pytest.mark.parametrize("known", [0.0, 0.5, 1.0])
def test_the_answer_errs_by_what_is_not_known_of_chance(known):
    found, draws = walks(known)
    assert abs(K * error(draws) - 1) < 0.05
    assert abs(K * error(found.mean()) - (1 - known)) < 0.05


def test_shares_are_those_of_least_squares():
    shares = walks(0.5)[0].shares()
    torch.testing.assert_close(shares, torch.tensor([1.0, -0.25], dtype=F64), rtol=0, atol=0.02)


def test_what_is_told_twice_counts_once():
    generator = torch.Generator().manual_seed(1)
    a, rest = torch.randn(2, K, N, dtype=F64, generator=generator)
    once, twice = Walks(), Walks()
    once.add(TRUE + a + rest, [a])
    twice.add(TRUE + a + rest, [a, a, torch.zeros_like(a)])
    torch.testing.assert_close(once.mean(), twice.mean(), rtol=0, atol=1e-9)


def test_batches_add_up():
    whole, parts = walks()[0].mean(), walks(batches=(3, 1, 4))[0].mean()
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-9)


def test_where_little_is_known_the_samples_speak_for_themselves():
    one, none, few = Walks(), Walks(), Walks()
    one.add(TRUE[None], [TRUE[None]])
    none.add(torch.stack([TRUE, TRUE + 1]), [])
    few.add(torch.eye(3, dtype=F64), [torch.eye(3, dtype=F64)])
    assert one.mean() is None
    assert none.mean() is None
    assert few.mean() is None


def test_walks_that_agree_are_the_answer():
    found, generator = Walks(), torch.Generator().manual_seed(2)
    found.add(TRUE.expand(4, N), [torch.randn(4, N, dtype=F64, generator=generator)])
    torch.testing.assert_close(found.mean(), TRUE, rtol=0, atol=1e-9)
    nothing = Walks()
    nothing.add(torch.zeros(4, N, dtype=F64), [torch.zeros(4, N, dtype=F64)])
    torch.testing.assert_close(nothing.mean(), torch.zeros(N, dtype=F64), rtol=0, atol=0)
