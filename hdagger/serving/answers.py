"""What REST answers: the shapes of its JSON, which OpenAPI has from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .jobs import State, Task


@dataclass(frozen=True)
class Error:
    """What went wrong, in the one line that the command line would say.

    Attributes:
        error: The line.
    """

    error: str


@dataclass(frozen=True)
class Status:
    """Where a job is.

    Attributes:
        id: What it is asked for by.
        name: Of its file.
        state: Waiting, at work, or how it ended.
        position: Jobs that come before it; 0 once it runs.
        step: Steps that were taken, over all samples.
        steps: Steps in all; 0 while that is not known.
        progress: From 0 to 1.
        seconds: How long it has run.
        error: What went wrong, in one line; empty for nothing.
        notes: What was found in the file, a sentence each.
        words: The answer, how sure it is, and whether it meets the data, a sentence or more
            each; nothing until it is done.
        summary: All that was told of the restoration; empty until it is done.
    """

    id: str
    name: str
    state: State
    position: int
    step: int
    steps: int
    progress: float
    seconds: float
    error: str
    notes: list[str]
    words: list[str]
    summary: dict[str, Any]

    @classmethod
    def of(cls, task: Task, position: int) -> "Status":
        return cls(
            id=task.id,
            name=task.name,
            state=task.state,
            position=position,
            step=task.done,
            steps=task.total,
            progress=1.0 if task.state == "done" else task.done / max(task.total, 1),
            seconds=task.seconds,
            error=task.error,
            notes=task.notes,
            words=task.summary.get("words", []),
            summary=task.summary,
        )


@dataclass(frozen=True)
class Made:
    """A file that a job has made.

    Attributes:
        name: What it is asked for by.
        bytes: Its size.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class Look:
    """What a file tells by itself.

    Attributes:
        name: Of the file.
        domain: Its kind.
        width: Of what is seen, in pixels; 0 where there is nothing to look at.
        height: The same, from top to bottom.
        operator: The damage that was found, as the text form of an operator.
        noise: Standard deviation of its noise, in the units of the data.
        notes: What was found, a sentence each.
        wanted: What has to be said before it can be restored, in a line; empty for nothing.
        picture: What is seen, a PNG in base64; empty for nothing.
    """

    name: str
    domain: str
    width: int
    height: int
    operator: str
    noise: float
    notes: list[str]
    wanted: str
    picture: str


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        name: What it is called.
        suffixes: How its files end.
        words: Of its operators.
        named: Of a damage, what names files, which are sent along.
        prior: That suits most of its files.
    """

    name: str
    suffixes: Sequence[str]
    words: Sequence[str]
    named: Sequence[str]
    prior: str


@dataclass(frozen=True)
class PriorCard:
    """A prior.

    Attributes:
        name: What it is called.
        subject: What its signals are.
        channels: Of a signal.
        licence: Of its weights.
        unfit_for: What it must not be used for; empty where nobody has said.
    """

    name: str
    subject: str
    channels: int
    licence: str
    unfit_for: str


@dataclass(frozen=True)
class Choices:
    """What can be asked for.

    Attributes:
        version: Of hdagger.
        domains: Kinds of files.
        methods: Ways to draw; the first one is taken where none is named.
        priors: That are at hand.
        limits: Of a job, and of the queue.
    """

    version: str
    domains: Sequence[Kind]
    methods: Sequence[str]
    priors: Sequence[PriorCard]
    limits: dict[str, int]
