"""The course of a training: Muon and AdamW for a given time, a running mean, stop and resume."""

import abc
import copy
import math
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from .errors import FileError, SettingError
from .files import check_file, whole_file
from .muon import Muon
from .stopping import held_back
from .telling import tell

Report = TypeVar("Report")
Chosen = TypeVar("Chosen", bound="Plan")

LONGEST_UPDATE = 10.0
"""Seconds; what takes longer was paused meanwhile (kill -STOP) and counts as this long."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training TOML file says, whatever learns to denoise.

    Attributes:
        hours: Time to train in all, over every resumption; the learning rate falls to 0 by then.
        updates: Updates to train for instead, whose weights do not depend on the machine's speed;
            0 to go by the time.
        batch: Signals for each update.
        rate: Learning rate of Muon, for what is inside of the network.
        rate_rest: Learning rate of AdamW, for the rest.
        flat: Share of the time at the full learning rate.
        ema: Decay of the running mean of the weights, which is what is kept.
        log_sigma_mean: Mean of ln sigma.
        log_sigma_std: Standard deviation of ln sigma.
        seed: Of the weights, the signals and the noise.
    """

    example: ClassVar[str]
    """A plan to start from."""

    hours: float = 2.0
    updates: int = 0
    batch: int = 32
    rate: float = 0.005
    rate_rest: float = 0.001
    flat: float = 0.3
    ema: float = 0.995
    log_sigma_mean: float = -1.4
    log_sigma_std: float = 1.4
    seed: int = 0

    @classmethod
    def read(cls: type[Chosen], path: Path) -> Chosen:
        """Reads a TOML file; names of files and folders in it are relative to it.

        Raises:
            FileError: It is not TOML.
            SettingError: It names something unknown, or misses what has no default.
        """
        kinds: dict[str, Any] = {entry.name: entry.type for entry in fields(cls)}
        try:
            said = {
                name: _said(value, kinds.get(name), path.parent)
                for name, value in read_plan(path).items()
            }
            return cls(**said)
        except (KeyError, TypeError) as error:
            known = ", ".join(kinds)
            raise SettingError(
                f"Wanted the settings {known}, but {path} has others or too few ({error}). "
                f"Start from {cls.example}."
            ) from error


def _said(value: Any, kind: Any, folder: Path) -> Any:
    """What TOML says, as the kind of a field: a path from this folder, or a table with fields."""
    if kind in (Path, Path | None):
        return folder / value
    if is_dataclass(kind) and isinstance(kind, type):
        return kind(**{name: _plain(one) for name, one in value.items()})
    return _plain(value)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_plan(path: Path) -> dict[str, Any]:
    """The table of a training plan.

    Raises:
        FileError: It is missing, or not TOML.
    """
    check_file(path, "a training plan")
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"Wanted TOML, but {path} is not ({error}). Mend that line.") from error


class Course(abc.ABC, Generic[Report]):
    """Network, optimisers, running mean and time spent; a subclass knows data and loss.

    Args:
        plan: What to do.
        folder: Where ``state.pt`` and ``prior.safetensors`` go, and ``flat.pt``, the state
            before the learning rate began to fall, from which a longer plan can go on. A state
            that is already there is taken up.
        network: What is trained.
        inner: Its weights for Muon; AdamW has the rest.
    """

    file: ClassVar[str] = "prior.safetensors"
    """What people use of it."""

    warm_up: int
    """Updates in which the learning rate rises."""

    stored_as: str
    """What ``state.pt`` calls the network."""

    def __init__(
        self, plan: Plan, folder: Path, network: nn.Module, inner: list[nn.Parameter]
    ) -> None:
        self._plan, self.folder, self._network = plan, folder, network
        self._mean = copy.deepcopy(network).eval().requires_grad_(False)
        chosen = {id(weight) for weight in inner}
        rest = [weight for weight in network.parameters() if id(weight) not in chosen]
        self.muon = Muon(inner, plan.rate)
        self.adam = torch.optim.AdamW(rest, plan.rate_rest, betas=(0.9, 0.99), weight_decay=1e-4)
        self.step, self.seconds = 0, 0.0
        if self._state_file.exists():
            self._resume()

    @abc.abstractmethod
    def prepare(self) -> None:
        """Reads the data, before the clock starts."""

    @abc.abstractmethod
    def loss(self) -> Tensor:
        """The loss of the next batch, with its graph."""

    @abc.abstractmethod
    def told(self, losses: list[float], seconds: float) -> Report:
        """A report on the last updates, from their losses and how long they took; a line as a
        text."""

    def save(self) -> None:
        """Writes state and prior, each whole or not at all."""
        self._save_state(self._state_file)
        self.save_prior()

    def _save_state(self, file: Path) -> None:
        state = {name: part.state_dict() for name, part in self._parts.items()}
        with whole_file(file) as path:
            torch.save(state | {"step": self.step, "seconds": self.seconds}, path)

    @abc.abstractmethod
    def save_prior(self) -> None:
        """Writes what people use of the running mean."""

    @property
    def _parts(self) -> dict[str, Any]:
        return {
            self.stored_as: self._network,
            "ema": self._mean,
            "muon": self.muon,
            "adam": self.adam,
        }

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.pt"

    @property
    def spent(self) -> float:
        """Share of the time, or of the updates, that is over."""
        plan = self._plan
        return self.step / plan.updates if plan.updates else self.seconds / (3600 * plan.hours)

    @property
    def left(self) -> float:
        """Seconds to the end, at the pace so far."""
        return self.seconds * max(0.0, 1 / self.spent - 1) if self.spent else math.inf

    @property
    def done(self) -> bool:
        return self.spent >= 1

    @property
    def seed(self) -> int:
        """Of this update."""
        return self.seed_of(self.step)

    def seed_of(self, step: int) -> int:
        """Of an update."""
        return self._plan.seed * 1_000_003 + step

    def run(
        self,
        report: Callable[[Report], None],
        report_every: float = 10.0,
        save_every: float = 600.0,
    ) -> None:
        """Trains until the plan's time is spent, and saves, also when it is interrupted.

        A stop waits for the end of an update: one that was stopped goes on to the weights that
        it would have had.

        Args:
            report: Called with the progress.
            report_every: Seconds between two reports.
            save_every: Seconds between two saves.
        """
        self.prepare()
        now = reported = saved = time.monotonic()
        losses: list[float] = []
        try:
            while not self.done:
                flat = self.spent <= self._plan.flat
                with held_back():
                    losses.append(self._update())
                    self.step += 1
                    now, before = time.monotonic(), now
                    self.seconds += min(now - before, LONGEST_UPDATE)
                    if flat and self.spent > self._plan.flat:
                        self._save_state(self.folder / "flat.pt")
                if now - reported > report_every or self.done:
                    report(self.told(losses, now - reported))
                    reported, losses = now, []
                if now - saved > save_every:
                    self.save()
                    saved = now = time.monotonic()
        finally:
            self.save()

    def run_aloud(self, as_json: bool = False, report_every: float = 10.0) -> None:
        """Runs to its end, tells how far it is and, at last, what came out.

        Args:
            as_json: Whether each is told as JSON.
            report_every: Seconds between two reports.
        """

        def show(now: Report) -> None:
            if as_json:
                tell(vars(now) | {"left": round(self.left, 1)})
            else:
                left = time.strftime("%H:%M:%S", time.gmtime(self.left))
                print(f"{now}  left {left}", flush=True)

        self.run(show, report_every)
        made = str(self.folder / self.file)
        tell({"file": made}) if as_json else print(made)

    def _update(self) -> float:
        rate = self._rate()
        self.muon.param_groups[0]["lr"] = rate * self._plan.rate
        self.adam.param_groups[0]["lr"] = rate * self._plan.rate_rest
        loss = self.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        for optimiser in (self.muon, self.adam):
            optimiser.step()
            optimiser.zero_grad()
        decay = min(self._plan.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, weight in zip(
                self._mean.parameters(), self._network.parameters(), strict=True
            ):
                mean.lerp_(weight, 1 - decay)
        return float(loss.detach())

    def _rate(self) -> float:
        """Share of the full learning rate: up, flat, then linearly down to 0."""
        return min(1.0, (self.step + 1) / self.warm_up, (1 - self.spent) / (1 - self._plan.flat))

    def _resume(self) -> None:
        device = next(self._network.parameters()).device
        try:
            state: dict[str, Any] = torch.load(
                self._state_file, map_location=device, weights_only=True
            )
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            self.step, self.seconds = state["step"], state["seconds"]
        except Exception as error:
            raise FileError(
                f"Wanted the state of this training, but {self._state_file} does not fit the plan "
                f"({str(error).splitlines()[0]}). Choose another folder with -o."
            ) from error
