"""Equal shares of a time, by a clock that the tests move; and the pool that gives jobs in turn."""

import heapq
from collections import deque

import pytest

from hdagger.bench.talk.shares import Queue, Shares
from hdagger.trials import pool

LONG = {"quick": 1.0, "slow": 7.0, "slowest": 30.0}


def worked(queues, seconds, workers=2):
    """(kind, begun at, ended at) of each job that so many processes did."""
    now, running, log = 0.0, [], []
    shares = Shares(queues, seconds, lambda: now)
    turns = enumerate(shares)
    while True:
        while len(running) < workers and (turn := next(turns, None)):
            number, kind = turn
            heapq.heappush(running, (now + LONG[kind], number, kind, now))
        if not running:
            return log
        now, number, kind, begun = heapq.heappop(running)
        log.append((kind, begun, now))
        shares.ended(number, LONG[kind])


def queue(kind, count, **more):
    return Queue(deque([kind] * count), **more)


def spent(log):
    return {kind: sum(end - begun for k, begun, end in log if k == kind) for kind in LONG}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_has_as_much_time_and_the_end_is_kept(workers):
    log = worked([queue(kind, 10_000) for kind in LONG], 600, workers)
    had = spent(log).values()
    assert max(had) - min(had) <= 2 * LONG["slowest"]
    assert 600 * workers - workers * LONG["slowest"] <= sum(had) <= 600 * workers
    assert max(end for *_, end in log) <= 600
    assert {kind for kind, *_ in log[: len(LONG)]} <= set(LONG)


def test_what_one_leaves_the_others_have():
    log = worked([queue("quick", 5), queue("slow", 10_000), queue("slowest", 10_000)], 600)
    had = spent(log)
    assert had["quick"] == 5
    assert abs(had["slow"] - had["slowest"]) <= 2 * LONG["slowest"]
    assert sum(had.values()) > 1200 - 2 * LONG["slowest"]


def test_the_first_of_each_is_done_in_any_case_and_no_more():
    log = worked([queue(kind, 10) for kind in LONG], 0.0)
    assert sorted(kind for kind, *_ in log) == sorted(LONG)


def test_what_has_begun_is_counted_before_it_is_done():
    """Two processes take the first of two slow kinds, not two of one."""
    shares = Shares([queue("slow", 9, done=1, spent=7.0), queue("slowest", 9)], 600, lambda: 0.0)
    turns = iter(shares)
    assert [next(turns) for _ in range(3)] == ["slowest", "slow", "slow"]
    shares = Shares(
        [queue("slow", 9, done=2, spent=14.0), queue("quick", 9, done=9, spent=16.0)],
        600,
        lambda: 0.0,
    )
    turns = iter(shares)
    assert [next(turns) for _ in range(2)] == ["slow", "quick"]


def test_one_kind_keeps_all_processes_busy():
    log = worked([queue("slow", 4)], 600)
    assert [begun for _, begun, _ in log] == [0, 0, 7, 7]


def test_what_was_spent_before_counts():
    before = queue("slow", 10_000, done=30, spent=210.0)
    had = spent(worked([before, queue("quick", 10_000)], 200, workers=1))
    assert had["slow"] < 8
    assert spent(worked([queue("slow", 9, done=1, spent=7.0)], 0.0)) == dict.fromkeys(LONG, 0)


def test_a_queue_is_closed():
    shares = Shares([queue("quick", 9), queue("slow", 1)], 100, lambda: 0.0)
    turns = iter(shares)
    assert next(turns) == "quick"
    shares.ended(0, 1.0, closed=True)
    assert list(turns) == ["slow"]


def doubled(number):
    return 2 * number


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_is_taken_when_a_process_is_free(workers):
    taken, ended = [], {}

    def jobs():
        for number in range(9):
            assert len(taken) - len(ended) < workers
            taken.append(number)
            yield (number,)

    with pool(workers) as each:
        for number, result in each(doubled, jobs()):
            ended[number] = result
    assert ended == {number: 2 * number for number in range(9)}
