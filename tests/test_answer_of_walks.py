"""The answer of walks whose errors are known."""

import torch

from hdagger.answer import Walks

F64 = torch.float64
N, K = 4000, 8
GENERATOR = torch.Generator().manual_seed(0)
TRUE, FIRST, SECOND = torch.randn(3, N, dtype=F64, generator=GENERATOR).unbind(0)


def walks(bias, batches=(K,), early=0.3):
    """x = m + v + w, and E = m + v + b: the posterior's mean m, what is decided, what is not."""
    generator, found = torch.Generator().manual_seed(1), Walks()
    decided, rest = torch.randn(2, K, N, dtype=F64, generator=generator)
    x = TRUE + early**0.5 * decided + (1 - early) ** 0.5 * rest
    expected = TRUE + bias * FIRST + early**0.5 * decided
    for part, mean in zip(x.split(batches), expected.split(batches), strict=True):
        found.add(part, {0.5: mean})
    return found, x.mean(0), expected.mean(0)


def error(v):
    return float((v - TRUE).square().mean())


def test_errors_are_told_without_the_truth():
    for bias in (0.0, 0.2, 1.0):
        found, draws, expected = walks(bias)
        told = {name: found.error(one) / N for name, one in found.levels.items()}
        assert abs(told[0.5] / error(expected) - 1) < 0.15
        assert abs(found.error(found.samples) / N / error(draws) - 1) < 0.1


def test_what_is_right_counts_and_what_is_wrong_does_not():
    found, draws, expected = walks(0.0)
    assert error(found.mean()) < 0.45 * error(draws)
    found, draws, expected = walks(1.0)
    assert error(expected) > 5 * error(draws)
    assert error(found.mean()) < 1.05 * error(draws)


def test_batches_add_up_and_one_walk_has_no_answer():
    whole, parts = walks(0.1)[0].mean(), walks(0.1, batches=(3, 1, 4))[0].mean()
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-12)
    one = Walks()
    one.add(TRUE[None], {0.5: FIRST[None]})
    assert one.mean() is None
    none = Walks()
    none.add(torch.stack([TRUE, FIRST]), {})
    assert none.mean() is None


def test_walks_to_nothing_have_nothing_for_an_answer():
    found, nothing = Walks(), torch.zeros(4, N, dtype=F64)
    found.add(nothing, {0.5: nothing, 1.0: FIRST.expand(4, N)})
    torch.testing.assert_close(found.mean(), nothing[0], rtol=0, atol=1e-6)


def test_walks_that_agree_in_all_are_the_answer():
    found = Walks()
    found.add(TRUE.expand(4, N), {0.5: TRUE.expand(4, N), 1.0: FIRST.expand(4, N)})
    torch.testing.assert_close(found.mean(), TRUE, rtol=0, atol=1e-6)
