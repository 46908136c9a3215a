"""Equal shares of a time: the next job is of the queue that has had least of it."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass
class Queue(Generic[Job]):
    """Jobs of one kind, which take about as long as each other.

    Attributes:
        left: Those that have not begun, in their order.
        done: How many are done.
        spent: Seconds that these took together.
        begun: How many have begun and are not done.
    """

    left: deque[Job] = field(default_factory=deque)
    done: int = 0
    spent: float = 0.0
    begun: int = 0

    @property
    def length(self) -> float:
        """Seconds of a job, on average; 0 before one is done."""
        return self.spent / max(self.done, 1)

    @property
    def share(self) -> float:
        """Seconds it will have had when what has begun is done; infinite while nobody knows."""
        unknown = self.begun and not self.done
        return math.inf if unknown else self.spent + self.begun * self.length

    def book(self, seconds: float, closed: bool) -> None:
        """One more is done; ``closed`` says that it was the last that can be."""
        self.done += 1
        self.spent += seconds
        if closed:
            self.left.clear()


class Shares(Generic[Job]):
    """Jobs in turn, until the time is over; what a queue leaves of its share goes to the others.

    No job begins that would end too late, but for the first of each queue, which always does.

    Args:
        queues: The jobs.
        seconds: How long they may take from now on.
        clock: Tells seconds.
    """

    def __init__(
        self,
        queues: Iterable[Queue[Job]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queues, self.clock = list(queues), clock
        self.end = clock() + seconds
        self.turns: list[Queue[Job]] = []

    def __iter__(self) -> Iterator[Job]:
        while ready := [queue for queue in self.queues if self._may_begin(queue)]:
            queue = min(ready, key=lambda queue: queue.share)
            queue.begun += 1
            self.turns.append(queue)
            yield queue.left.popleft()

    def ended(self, number: int, seconds: float, closed: bool = False) -> None:
        """Books a job that is done.

        Args:
            number: Which it was, counted as they were given out.
            seconds: What it took.
            closed: Whether no other of its queue can be done.
        """
        queue = self.turns[number]
        queue.begun -= 1
        queue.book(seconds, closed)

    @property
    def remaining(self) -> float:
        """Seconds until the end; 0 after it."""
        return max(0.0, self.end - self.clock())

    def _may_begin(self, queue: Queue[Job]) -> bool:
        if not queue.left:
            return False
        first = not queue.begun and not queue.done
        return first or self.clock() + queue.length <= self.end
