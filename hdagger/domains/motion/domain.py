"""Motion as a domain: how a measured motion is put to a prior, and where a walk starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from ...domain import Domain, Job, Posed
from ...errors import OperatorAbilityError, SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import LinearOperator, Operator
from ...priors.cards import Card
from ...problem import Problem
from ...report import Page
from ...samplers.base import Sampler
from ...samplers.walk import karras_levels
from ...saved import Saved
from ...tensors import Signal
from .files import CLIP_SUFFIXES, read_motion
from .job import job_of
from .onto_physics import OntoPhysics
from .operators import WORDS, FrameWise, motion_operator, signal_shape_for
from .pages import page_of
from .physics import Physics
from .prior import MotionPrior
from .render import drawn
from .windows import SHAPE, padded, to_motions, to_signal, window, windows_in


class Motions(Domain):
    """Signals ``(frames, features)`` in metres and radians: see :mod:`.features`."""

    name = "motion"
    prior = "motion"
    suffixes = CLIP_SUFFIXES
    named = ("joints",)
    truths_are = "windows of clips"

    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> Operator:
        return motion_operator(text, signal_shape, arrays)

    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        """A motion put to a prior of normalised ones.

        With x = offset + scale z, data y of H become data y - H(offset) of H scale. Samples
        come back as motions, and physics is what they can be projected onto.
        """
        text, arrays = measurement.operator, measurement.arrays
        shape = measurement.signal_shape
        if shape is None:
            shape = signal_shape_for(text, tuple(measurement.y.shape), arrays)
        if not isinstance(network, MotionPrior):
            raise ShapeError(
                f"Wanted a prior of motions, but {card.name} is one of {card.subject}. "
                "Try --prior motion."
            )
        if shape != SHAPE:
            raise ShapeError(
                f"{card.name} is a prior of motions of shape {SHAPE}, but got {shape}. "
                "Pad the motion, and say with frames which frames are known."
            )
        H = motion_operator(text, shape, arrays)
        if not isinstance(H, LinearOperator):
            raise OperatorAbilityError(
                f"Wanted a linear operator on motions, but {text!r} is none. "
                f"Use {', '.join(WORDS)}."
            )
        offset = network.denormalise(torch.zeros(1, *SHAPE, dtype=torch.float64)).cpu()
        y, sigma_y = measurement.y.double() - H(offset)[0], measurement.sigma_y
        every = torch.ones(SHAPE[0], dtype=torch.bool)
        H = H @ FrameWise(torch.diag(network.scale.cpu()), every)
        if isinstance(sigma_y, Tensor) and (same := same_in_frames(sigma_y)) is not None:
            known, column = same
            H, y = FrameWise(torch.diag(1 / column), known) @ H, y / column
            sigma_y = 1.0

        def finish(x: Signal) -> tuple[Signal, dict[str, Any]]:
            return network.denormalise(x), {}

        return Posed(
            Problem.of(y, H, sigma_y), finish, suits={"projector": OntoPhysics(network, Physics())}
        )

    def job(self, source: Path, said: Mapping[str, Any]) -> Job:
        return job_of(source, said)

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        """Those that the prior was trained on, whatever the data."""
        return karras_levels(steps, low=card.sigma_min, high=card.sigma_max)

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        if side is not None:
            raise SettingError(f"Wanted no size, since motions are {SHAPE}, but got {side}.")
        return SHAPE

    def arrays(
        self, text: str, signal_shape: tuple[int, ...], given: Mapping[str, Tensor], seed: int
    ) -> dict[str, Tensor]:
        """For ``frames``: all but the forty in the middle."""
        known = torch.ones(signal_shape[0], dtype=torch.bool)
        known[10:50] = False
        return {"frames": known, **given} if "frames" in text else dict(given)

    def truths(
        self,
        folder: Path,
        signal_shape: tuple[int, ...],
        count: int,
        seed: int,
        in_turn: bool = False,
    ) -> Tensor:
        """Windows of two seconds, at random places of the clips."""
        return windows_in(folder, count, seed)

    def page(self, saved: Saved) -> Page:
        return page_of(saved)

    def truth(self, path: Path, shape: tuple[int, ...]) -> Tensor:
        given, _ = window(read_motion(path))
        return to_signal([padded(given)])[0]

    def drawn(self, x: Tensor, top: float) -> Image.Image:
        return drawn(to_motions(x[None])[0])

    def spread(self, draws: Tensor) -> Tensor:
        """Of each feature, a row, at each frame, a column."""
        return draws.std(0).T


def same_in_frames(
    noise: Float[Tensor, "frames data"],
) -> tuple[Bool[Tensor, " frames"], Float[Tensor, " data"]] | None:
    """The frames with any noise that is finite, and that noise, if it is one for all of them.

    Then data divided by it keep the singular value decomposition of what is measured.
    """
    known = noise.isfinite().any(1)
    column = noise[known][:1].double()
    if len(column) == 0 or not (column > 0).all() or not (noise[known] == column).all():
        return None
    return (known, column[0]) if column.isfinite().all() else None


MOTION = Motions()
