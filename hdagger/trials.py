"""Runs the trials of a benchmark on several cores, and keeps what is done.

A trial is finished when all of its jobs are; its rows then go to the file, so that a run that
was stopped goes on where it was. A row is told from others by the trial's key, so the key has to
hold all that makes a row what it is: seed, numbers of problems and samples, settings, and the
version of the protocol.
"""

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from .errors import FileError
from .files import whole_file
from .progress import progress
from .stopping import kept_from_children

Row: TypeAlias = dict[str, Any]
Key = TypeVar("Key", bound=tuple[Any, ...])
Result = TypeVar("Result")


def generator_for(*key: int) -> torch.Generator:
    """A stream of its own for every key."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def run_trials(
    names: tuple[str, ...],
    trials: Mapping[Key, Sequence[tuple[Any, ...]]],
    work: Callable[..., Result],
    summarise: Callable[[Key, list[Result]], list[Row]],
    file: Path | None = None,
    workers: int = 2,
) -> list[Row]:
    """All rows of the trials, in their order; each begins with its trial's key.

    Args:
        names: What the elements of a trial's key are called in its rows.
        trials: Key -> the arguments of each of its jobs.
        work: Does one job; a function of a module, for it may run in another process.
        summarise: The rows of a trial, without its key, from the results of its jobs.
        file: JSON to keep the rows in; trials found there are not run again. Rows of other keys
            stay in it.
        workers: Processes, each of one thread; 1 stays in this one.
    """
    rows = _read(file)
    of = lambda row: tuple(row.get(name) for name in names)
    done = {of(row) for row in rows}
    todo = {key: jobs for key, jobs in trials.items() if key not in done}
    finished, total = 0, sum(len(jobs) for jobs in todo.values())
    with pool(workers) as each, progress("trials") as show:
        for key, jobs in todo.items():
            named = dict(zip(names, key, strict=True))
            results: dict[int, Result] = {}
            for number, result in each(work, jobs):
                results[number] = result
                finished += 1
                show(finished, total, ", ".join(map(str, key)))
            rows += [named | row for row in summarise(key, [results[n] for n in sorted(results)])]
            _write(file, rows)
    place: dict[tuple[Any, ...], int] = {key: number for number, key in enumerate(trials)}
    return sorted((row for row in rows if of(row) in place), key=lambda row: place[of(row)])


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Cells as the lines of a table in Markdown.

    Example:
        >>> table_lines(["method", "CRPS"], [["ddrm", "0.05"]])
        ['| method | CRPS |', '|---|---|', '| ddrm | 0.05 |']
    """
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return [first, "|---" * len(head) + "|", *others]


@contextmanager
def pool(workers: int) -> Iterator[Callable[..., Iterator[tuple[int, Any]]]]:
    """A map over argument tuples on so many processes of one thread each; 1 stays in this one.

    It gives the number of a job and its result, once it is done. A job is taken from them only
    when a process is free, so which is next may depend on the results so far. Where it is left by
    an error or a stop, the processes end at once.
    """
    if workers == 1:
        yield lambda work, jobs: enumerate(work(*job) for job in jobs)
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as executor:

        def each(
            work: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]
        ) -> Iterator[tuple[int, Any]]:
            waiting, begun = enumerate(jobs), dict[Future[Any], int]()
            while True:
                for number, job in islice(waiting, workers - len(begun)):
                    with kept_from_children():
                        begun[executor.submit(work, *job)] = number
                if not begun:
                    return
                for future in wait(begun, return_when=FIRST_COMPLETED).done:
                    yield begun.pop(future), future.result()

        try:
            yield each
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


def _read(file: Path | None) -> list[Row]:
    if file is None or not file.exists():
        return []
    try:
        rows = json.loads(file.read_text())
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("no list of rows")
        return rows
    except (OSError, ValueError) as error:
        raise FileError(
            f"Wanted the rows of a benchmark, but {file} holds something else ({error}). "
            "Move it away, or name another file."
        ) from error


def _write(file: Path | None, rows: list[Row]) -> None:
    if file is None:
        return
    with whole_file(file) as whole:
        whole.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
