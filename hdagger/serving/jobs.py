"""Jobs: a folder for each, one queue, and an end at any step.

A job leaves in ``ID/made`` what its domain's command would have left, the answer in more bits, and
what was sent along, by one rename, so that it is there whole or not at all.
"""

import html
import io
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from ..domain import Job
from ..errors import SettingError
from ..files import line_of
from ..recipe import Recipe
from ..restoration import Prior, Restoration, prepare
from .limits import Limits

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
OVER: tuple[State, ...] = ("done", "failed", "cancelled")

TEXTS = ("recipe.toml", "report.html", "summary.json")
"""What of a restoration names the files that were given."""


class Cancelled(Exception):
    """Nobody wants a job any more."""


class Full(Exception):
    """As many jobs wait as may."""


class Folder:
    """The place of a job: what was given, what is begun, what is made.

    Args:
        root: Where the folders of all jobs are.
    """

    def __init__(self, root: Path) -> None:
        self.id = secrets.token_urlsafe(16)
        self.path = root / self.id
        self.given, self.beside, self.partial, self.made = (
            self.path / name for name in ("given", "beside", "partial", "made")
        )
        self.given.mkdir(parents=True)

    def finish(self, extras: Sequence[Path]) -> None:
        """Moves what was begun into its place: no text in it tells where the server has it.

        Args:
            extras: Files that were given and that a recipe names.
        """
        for name in TEXTS:
            path = self.partial / name
            if path.exists():
                path.write_text(self.hidden(path.read_text()))
        for extra in extras:
            shutil.copy(extra, self.partial / extra.name)
        self.partial.rename(self.made)

    def hidden(self, text: str) -> str:
        """A text without the name of this folder, so that files are called as they were sent."""
        for place in (self.given, self.beside, self.path):
            for name in dict.fromkeys([str(place.resolve()), str(place)]):
                text = text.replace(f"{name}/", "").replace(f"{html.escape(name)}/", "")
        return text

    def files(self) -> dict[str, Path]:
        """What is made, by the names that it is asked for by."""
        found = sorted(path for path in self.made.rglob("*") if path.is_file())
        return {path.relative_to(self.made).as_posix(): path for path in found}

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Task:
    """A job in the queue.

    Args:
        folder: Its place.
        name: Of the file, as it was sent.
        job: What is restored, and how it is written.
        recipe: How to draw.
        extras: Files that were sent along.

    Attributes:
        state: Where it is; :class:`Queue` alone changes it.
        done: Steps that were taken.
        total: Steps in all; 0 while that is not known.
        seconds: How long it has run.
        error: What went wrong, in one line; empty for nothing.
        summary: What was told of the restoration; empty until it is done.
    """

    def __init__(
        self, folder: Folder, name: str, job: Job, recipe: Recipe, extras: Sequence[Path] = ()
    ) -> None:
        self.folder, self.name, self.recipe, self.extras = folder, name, recipe, extras
        self.notes = list(job.notes)
        self.state: State = "queued"
        self.done = self.total = 0
        self.error = ""
        self.summary: dict[str, Any] = {}
        self.stop = Event()
        self._job: Job | None = job
        self._began = self._ended = 0.0
        self._restoration: Restoration | None = None
        self._seen: Tensor | None = None

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def seconds(self) -> float:
        until = self._ended or time.monotonic()
        return round(until - self._began, 1) if self._began else 0.0

    def run(self, limits: Limits) -> State:
        """Restores; returns how that ended."""
        job = self._job
        assert job is not None, "a job runs once"
        self._began = time.monotonic()
        try:
            restoration = prepare(self.recipe, job.measurement, Prior.of(self.recipe))
            limits.check("steps", restoration.recipe.steps)
            limits.check("samples", restoration.recipe.samples)
            self._restoration = restoration

            def look(D: Tensor) -> None:
                self._seen = D[:1].clone()
                if self.stop.is_set():
                    raise Cancelled
                if time.monotonic() > self._began + limits.seconds:
                    raise SettingError(
                        f"Wanted a restoration within {limits.seconds} s, but it takes longer. "
                        "Ask for fewer samples or steps, or crop the picture."
                    )

            samples = restoration.run(self._count, look=look)
            self.folder.partial.mkdir()
            self.summary = job.write(self.folder.partial, samples)
            job.write_finely(self.folder.partial, samples)
            self.folder.finish(self.extras)
            return "done"
        except Cancelled:
            return "cancelled"
        except Exception as error:  # the queue goes on, whatever a file does
            self.error = self.folder.hidden(line_of(error))
            return "failed"
        finally:
            self._ended = time.monotonic()
            self.forget()

    def forget(self) -> None:
        """Lets go of all that only a restoration needs."""
        self._job = self._restoration = self._seen = None
        shutil.rmtree(self.folder.partial, ignore_errors=True)

    def preview(self) -> bytes | None:
        """What the prior sees at the present step, as a PNG; None where nothing is seen."""
        job, restoration, D = self._job, self._restoration, self._seen
        if job is None or restoration is None or D is None:
            return None
        with torch.no_grad():
            x, _ = restoration.posed.finish(D.to(restoration.posed.problem.y))
        png = io.BytesIO()
        job.show(x[0].double().cpu()).save(png, "PNG")
        return png.getvalue()

    def _count(self, done: int, total: int) -> None:
        self.done, self.total = done, total


class Queue:
    """Restores jobs in the order in which they came.

    Args:
        root: Where their folders are.
        limits: How many may wait, and are kept.
        at_once: How many run at a time.
    """

    def __init__(self, root: Path, limits: Limits, at_once: int = 1) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.limits = root, limits
        self._tasks: dict[str, Task] = {}
        self._over: list[Task] = []
        self._change = Condition()
        self._closed = False
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    def check_room(self) -> None:
        """Raises Full where one more cannot wait."""
        with self._change:
            if len(self._waiting()) >= self.limits.queued:
                raise Full

    def add(self, task: Task) -> None:
        """Puts a job at the end of the queue.

        Raises:
            Full: It has no place there.
        """
        with self._change:
            self.check_room()
            self._tasks[task.id] = task
            self._change.notify()

    def get(self, id: str) -> Task | None:
        return self._tasks.get(id)

    def position(self, task: Task) -> int:
        """How many jobs come before it, those that run included; 0 once it runs."""
        with self._change:
            if task.state != "queued":
                return 0
            running = sum(other.state == "running" for other in self._tasks.values())
            return running + self._waiting().index(task)

    def cancel(self, task: Task) -> None:
        """Ends a job: before it begins, or at its present step."""
        with self._change:
            task.stop.set()
            if task.state == "queued":
                task.forget()
                self._end(task, "cancelled")

    def remove(self, task: Task) -> None:
        """Ends a job and deletes its files; those of one that runs go when it has ended."""
        with self._change:
            self.cancel(task)
            self._tasks.pop(task.id, None)
            if task.state in OVER:
                self._delete(task)

    def close(self) -> None:
        """Ends all jobs and waits for that."""
        with self._change:
            self._closed = True
            for task in list(self._tasks.values()):
                self.cancel(task)
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            state = task.run(self.limits)
            with self._change:
                self._end(task, state)

    def _next(self) -> Task | None:
        with self._change:
            self._change.wait_for(lambda: self._closed or self._waiting())
            if self._closed:
                return None
            task = self._waiting()[0]
            task.state = "running"
            return task

    def _end(self, task: Task, state: State) -> None:
        task.state = state
        if task.id not in self._tasks:
            self._delete(task)
            return
        self._over.append(task)
        while len(self._over) > self.limits.kept:
            self._delete(self._over[0])

    def _delete(self, task: Task) -> None:
        task.folder.remove()
        self._tasks.pop(task.id, None)
        if task in self._over:
            self._over.remove(task)

    def _waiting(self) -> list[Task]:
        return [task for task in self._tasks.values() if task.state == "queued"]
