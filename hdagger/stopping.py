"""Ctrl-C and SIGTERM: held back while something is made whole, and one process' matter."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = signal.SIGINT, signal.SIGTERM


@contextmanager
def held_back() -> Iterator[None]:
    """A stop that comes while what is inside is done takes effect right after it.

    Only the main thread is stopped, so in another one there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    heard = {number: signal.signal(number, lambda n, _: came.append(n)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes that are started inside never hear Ctrl-C; who started them ends them."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
