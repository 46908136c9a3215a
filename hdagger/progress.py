"""Progress with the time that is left, on the error stream, where that is a terminal."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(title: str) -> Iterator[Callable[..., None]]:
    """Shows a bar once there is progress; call what it gives with (done, total), and a word.

    In a pipe, or where ``NO_COLOR`` is set, there is none.
    """
    console = Console(stderr=True)
    if not console.is_terminal or os.environ.get("NO_COLOR"):
        yield lambda done, total, more="": None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task(title, total=None)

    def show(done: int, total: int, more: str = "") -> None:
        bar.start()
        described = f"{title}, {more}" if more else title
        bar.update(task, completed=done, total=total, description=described)

    try:
        yield show
    finally:
        if bar.live.is_started:  # else stopping would print an empty line
            bar.stop()
