"""What all share: the data as they are shown them, their file, and one call that answers."""

import abc
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..domains.pictures.words import operator_of
from ..errors import ShapeError
from ..files import fingerprint
from ..measurement import Measurement
from ..operators.base import PinvOperator
from ..priors.unet import OfPictures
from ..problem import Problem
from ..samplers.base import on_rung
from ..samples import PosteriorSamples
from ..tensors import Noise, SampleNoise, Signal

FILE = "specialist.safetensors"
"""What a training leaves."""

Kind = TypeVar("Kind", bound="Specialist")


@runtime_checkable
class Case(Protocol):
    """A measurement to restore, and its number, for noise of its own."""

    @property
    def measurement(self) -> Measurement: ...
    @property
    def item(self) -> int: ...


def in_frame(problem: Problem) -> Signal:
    """The data as a picture of the signal's size, which is what a network can be shown.

    H^T (H H^T + sigma_y^2 I)^-1 y, the mean of white signals of variance 1 given the data: 0 in
    holes, an enlarged picture for a smaller one, a blurred one sharpened as far as its noise
    allows. The pseudoinverse for exact data, and where H is not linear.

    Args:
        problem: The data, ``(batch, *data)``.

    Raises:
        OperatorAbilityError: The operator has no pseudoinverse.
    """
    on_rung(problem.H, PinvOperator, "A specialist", "dps")
    white = problem.y.new_zeros(len(problem.y), *problem.H.signal_shape)
    return problem.towards_data(white, 1.0)


class Specialist(OfPictures, abc.ABC):
    """A network that restores.

    Its notes say what it was trained for: ``task`` (the operator's text form), ``sigma_y``,
    ``updates``, ``batch`` and ``seconds``.
    """

    title: ClassVar[str]
    """What tables call it."""

    one_answer: ClassVar[bool] = False
    """Whether all of its samples are the same."""

    sha256: str = ""
    """Of the file that it was read from."""

    @classmethod
    def load(cls: type[Kind], path: Path) -> Kind:
        network = super().load(path)
        network.sha256 = fingerprint(path)
        return network

    @abc.abstractmethod
    def taught(
        self,
        x0: Signal,
        given: Signal,
        sigma: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            x0: Clean pictures, ``(batch, channels, height, width)`` in [-1, 1].
            given: What :func:`in_frame` makes of their data.
            sigma: A noise level for each.
            generator: Of all that is left to chance.
        """

    @abc.abstractmethod
    def restored(self, problem: Problem, noise: Noise) -> tuple[Signal, int]:
        """An answer for each row of the data, and how often the network was called.

        Args:
            problem: The data, in float64.
            noise: Draws the standard normals, a stream for each row.
        """

    def glimpse(self, problem: Problem, noise: Noise) -> Signal:
        """What a training draws to look at, a picture for each row; by default an answer."""
        return self.restored(problem, noise)[0]

    @property
    def name(self) -> str:
        """What a table calls it: its title and its task."""
        task = self.notes.get("task", "none")
        return self.title if task == "none" else f"{self.title} for {task}"

    @property
    def cost(self) -> str:
        """What its training cost, in words."""
        known = self.notes
        return (
            f"{known.get('updates', 0)} updates of {known.get('batch', 0)} pictures, "
            f"{known.get('seconds', 0) / 60:.1f} min"
        )

    @property
    def made_of(self) -> dict[str, str]:
        """What its answers depend on."""
        return {"kind": self.kind, "weights_sha256": self.sha256}

    def restore(self, case: Case, samples: int, seed: int) -> PosteriorSamples:
        """Answers to one measurement, in float32; one if they would all be the same.

        Args:
            case: What was measured, and its number.
            samples: How many.
            seed: Of the noise.

        Raises:
            ShapeError: The signal has other channels, or another size, than its pictures.
            OperatorAbilityError: The operator has no pseudoinverse.
        """
        measurement = case.measurement
        H, shape = operator_of(measurement), self.shape
        sides = (shape.side,) * 2 if shape.side else H.signal_shape[1:]
        if H.signal_shape != (shape.channels, *sides):
            raise ShapeError(
                f"Wanted a signal of shape {(shape.channels, *sides)}, for which {self.name} was "
                f"trained, but got {H.signal_shape}. Train another."
            )
        count = 1 if self.one_answer else samples
        problem = Problem.of(measurement.y, H, measurement.sigma_y).rows(count)
        noise = SampleNoise(seed, [(case.item, k) for k in range(count)])
        x, calls = self.restored(problem, noise)
        return PosteriorSamples(x.detach().float(), {"method": self.kind, "nfe": calls})


def unlabelled(x: Signal) -> Tensor:
    """The label that a network without classes is called with."""
    return torch.zeros(len(x), dtype=torch.long, device=x.device)
