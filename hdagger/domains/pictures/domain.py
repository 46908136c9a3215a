"""Pictures as a domain: how a measured picture is put to a prior, and where a walk starts."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...diagnostics import residual_summary
from ...domain import Domain, Job, Posed
from ...errors import SettingError, ShapeError
from ...measurement import Measurement
from ...operators.base import Operator
from ...operators.decoded import Decoded
from ...operators.quantisation import Quantiser
from ...operators.text import Stage
from ...priors.cards import Card
from ...priors.latent import LatentDenoiser
from ...problem import Problem
from ...report import Page
from ...samplers.base import Sampler
from ...samplers.drawn import NEVER
from ...saved import Saved
from ...tensors import Signal
from . import metrics
from .arguments import SAMPLINGS, split_file
from .bands import PictureBands
from .dataset import Photographs
from .figures import OF_255, page_of
from .files import PICTURE_SUFFIXES, read_picture, size_of
from .hints import ASKED, DRAWN_STEPS, HOLE_STEPS, has_hole, picture_levels
from .job import job_of
from .jpeg import quality_of
from .jpeg_transform import quality_tables
from .options import Damages, is_word
from .reading import with_files
from .words import (
    DAMAGES,
    frame_of,
    made_by,
    operator_for_signal,
    operator_of,
    parse,
)
from .writing import to_image

SMALLEST, LARGEST = 8, 1024
"""Sides of the pictures that a check simulates."""


class Pictures(Domain):
    """Signals ``(channels, height, width)`` in [-1, 1]."""

    name = "pictures"
    suffixes = (*PICTURE_SUFFIXES, ".gif", ".npy", ".npz")
    words = tuple(DAMAGES)
    named = ("mask",)
    truths_are = "crops of pictures"
    sharp_side = 96

    def operator(
        self, text: str, signal_shape: tuple[int, ...], arrays: Mapping[str, Tensor]
    ) -> Operator:
        return operator_for_signal(text, signal_shape, arrays)

    def job(self, source: Path, said: Mapping[str, Any]) -> Job:
        return job_of(source, Damages.from_table(said))

    def located(self, said: Mapping[str, Any], place: Callable[[str], Path]) -> dict[str, Any]:
        """Also the file of a kernel, and those that any text form names."""
        damages = Damages.from_table(said)
        text, blur, mask = damages.operator, damages.blur, damages.mask
        placed: set[str] = set()

        def note(name: str) -> Path:
            path = place(name)
            placed.add(str(path))
            return path

        if text is not None:
            text = " | ".join(str(_located(stage, note)) for stage in parse(text))
        if blur is not None and not is_word(blur):
            blur = _located(Stage("kernel", blur), note).argument
        if mask is not None:
            mask = note(str(mask))
        found = replace(damages, operator=text, blur=blur, mask=mask)
        for stage in parse(found.text):  # a blur may have more words behind it
            if (path := split_file(stage)[0]) and path not in placed:
                place(path)
        return found.table

    def look(self, source: Path) -> tuple[Job | None, str]:
        """A picture in which nothing is found can be looked at nevertheless."""
        job, wanted = super().look(source)
        if job is None and source.suffix != ".npz":
            job = self.job(source, {"sigma_y": 0.0})
        return job, wanted

    def pixels_in(self, source: Path) -> int | None:
        return None if source.suffix == ".npz" else math.prod(size_of(source))

    def posed(self, measurement: Measurement, card: Card, network: Any) -> Posed:
        """A picture put to a prior of colours, of gray pictures, or of codes.

        A gray picture is a colour picture whose chroma is known to be zero: its data are given
        to all three channels, with the noise that leaves the gray axis as certain as it was, and
        the mean of a sample over the channels is what is told of. Of a signal that is larger
        than the data's frame, by the reach of a blur, the frame is what is told of.
        """
        H, shown = made_by(measurement)
        problem = Problem.of(measurement.y, H, measurement.sigma_y)
        gray = H.signal_shape[0] == 1 and card.channels == 3
        given, solved = measurement, problem
        if gray:
            given = three_copies(measurement, H.signal_shape)
            solved = Problem.of(given.y, operator_of(given), given.sigma_y)
        if solved.H.signal_shape[0] != card.channels:
            raise ShapeError(
                f"{card.name} is a prior of {card.channels} channels, but the signal has "
                f"{solved.H.signal_shape[0]}. Restore the channels one by one."
            )
        latent = isinstance(network, LatentDenoiser)
        if latent:
            code_shape = network.code_shape(solved.H.signal_shape)
            solved = replace(
                solved, H=Decoded(solved.H, network.decode, network.encode, code_shape)
            )
        rows, columns = frame_of(measurement.operator, shown, measurement.arrays)

        rounded = solved.H if isinstance(solved.H, Quantiser) else None
        judged = problem if gray else None

        def finish(x: Tensor) -> tuple[Tensor, dict[str, Any]]:
            told: dict[str, Any] = {}
            if rounded is not None:
                H = deepcopy(rounded).to(x.device, torch.float64)  # the walk's stays as it is
                y = H.seen(given.y[None].to(x.device, torch.float64))
                x, told = in_their_cells(x, Problem(y, H, 0.0))
            if latent:
                with torch.no_grad():
                    x = torch.cat([network.decode(z[None]) for z in x])
            if judged is not None:
                x = x.mean(dim=1, keepdim=True)
                told |= residual_summary(x.to(judged.y), judged)
            return x[..., rows, columns], told

        asked, steps = (NEVER, HOLE_STEPS) if has_hole(solved.H) else (ASKED, DRAWN_STEPS)
        return Posed(
            solved,
            finish,
            frame=(..., rows, columns),
            suits={"asked": asked},
            steps={"drawn": steps},
        )

    def levels(self, problem: Problem, method: Sampler[Any], steps: int, card: Card) -> Tensor:
        return picture_levels(problem, method, steps, card.levels)

    def spelled(self, measurement: Measurement) -> Measurement:
        """A JPEG whose tables are those of a quality is called by it."""
        tables = measurement.arrays.get("jpeg_tables")
        sampling = measurement.arrays.get("jpeg_sampling")
        stages = parse(measurement.operator)
        if tables is None or sampling is None or Stage("jpeg") not in stages:
            return measurement
        quality = quality_of(tables[0])
        factors = [(int(h), int(v)) for h, v in sampling]
        names = [name for name, luma in SAMPLINGS.items() if factors[0] == luma]
        standard = quality_tables(quality)[[0, 1, 1][: len(tables)]]
        simple = "jpeg_rgb" not in measurement.arrays and factors[1:] == [(1, 1)] * (
            len(tables) - 1
        )
        if len(tables) == 1:
            names = ["4:2:0"]
        if not simple or not names or not torch.equal(standard, tables.to(standard)):
            return measurement
        known = ("jpeg_tables", "jpeg_sampling")
        argument = str(quality) if names[0] == "4:2:0" else f"{quality},{names[0]}"
        text = (Stage("jpeg", argument) if stage == Stage("jpeg") else stage for stage in stages)
        arrays = {name: array for name, array in measurement.arrays.items() if name not in known}
        return replace(measurement, operator=" | ".join(map(str, text)), arrays=arrays)

    def asked(self, text: str) -> str:
        """A kernel has its file; a check hides a random half for a mask."""
        with_file = lambda stage: _named(stage, "FILE") if stage.name == "kernel" else stage
        return " | ".join(str(with_file(stage)) for stage in parse(text))

    def truth_shape(self, card: Card, side: int | None) -> tuple[int, ...]:
        """A square of the side of the prior's own pictures, or of 32 if it takes any."""
        if side is not None and not SMALLEST <= side <= LARGEST:
            raise SettingError(
                f"Wanted pictures of {SMALLEST} to {LARGEST} pixels a side, but got {side}. "
                "Try --size 32."
            )
        side = side or card.size or 32
        return card.channels, side, side

    def with_files(self, text: str) -> tuple[str, dict[str, Tensor]]:
        return with_files(text)

    def arrays(
        self, text: str, signal_shape: tuple[int, ...], given: Mapping[str, Tensor], seed: int
    ) -> dict[str, Tensor]:
        """For a ``mask`` that is not given: a random half of the pixels."""
        if "mask" in given or all(stage.name != "mask" for stage in parse(text)):
            return dict(given)
        before = text.split("mask")[0].rstrip(" |") or "none"
        shown = operator_for_signal(before, signal_shape, given).data_shape
        generator = torch.Generator().manual_seed(seed)
        return {**given, "mask": torch.rand(shown[1:], generator=generator) < 0.5}

    def truths(
        self,
        folder: Path,
        signal_shape: tuple[int, ...],
        count: int,
        seed: int,
        in_turn: bool = False,
    ) -> Tensor:
        """Crops of pictures: the middles, or random ones at full size, a half, a quarter, ..."""
        channels, side, _ = signal_shape
        if channels not in (1, 3):
            raise SettingError(
                f"Wanted a prior of gray or colour pictures, but its signals have {channels} "
                "channels. Say with --domain of which kind they are."
            )
        if in_turn:
            return Photographs(folder, side, channels, scales=1).in_turn(count, seed)
        return Photographs(folder, side, channels).draw(count, seed)

    def basis(self, signal_shape: tuple[int, ...]) -> PictureBands:
        return PictureBands(signal_shape)

    def activity(self, x: Tensor) -> Tensor:
        return metrics.activity(x)

    def bands(self, x: Tensor) -> Mapping[str, Sequence[Tensor]]:
        return metrics.bands(x)

    def texture(self, x: Tensor) -> Tensor:
        return metrics.laplacian(x)

    def psnr(self, x: Tensor, truth: Tensor) -> float:
        return metrics.psnr(x, truth)

    def page(self, saved: Saved) -> Page:
        return page_of(saved)

    def truth(self, path: Path, shape: tuple[int, ...]) -> Tensor:
        pixels = read_picture(path).pixels
        if tuple(pixels.shape) != shape:
            raise ShapeError(
                f"Wanted the picture that was measured, of shape {shape}, but {path} has "
                f"{tuple(pixels.shape)}. Crop it, or give the one that was damaged."
            )
        return pixels

    def drawn(self, x: Tensor, top: float) -> Image.Image:
        return to_image(x)

    def spread(self, draws: Tensor) -> Tensor:
        return draws.std(0).mean(0)

    def deviation(self, value: float) -> str:
        return f"{OF_255 * value:.3g} of 255"


def _located(stage: Stage, place: Callable[[str], Path]) -> Stage:
    """The stage with the place of the file that it names."""
    name, rest = split_file(stage)
    return _named(rest, str(place(name))) if name else stage


def _named(stage: Stage, file: str) -> Stage:
    """A stage that names no file, with the name of one."""
    return Stage(stage.name, ",".join(filter(None, [file, stage.argument])))


def in_their_cells(x: Signal, problem: Problem) -> tuple[Signal, dict[str, Any]]:
    """Samples of rounded data, moved by a little so that as saved they lie in the cells.

    Returns:
        The samples; and ``kept``, the share of the data's numbers that are theirs, and the
        residual.
    """
    H, y = problem.H, problem.y
    assert isinstance(H, Quantiser)
    snapped, kept = [], 0.0
    for row in x.split(1):
        snapped.append(H.snap(row.to(y), y))
        kept += H.kept(snapped[-1], y) / len(x)
    x = torch.cat(snapped)
    return x, {"kept": round(kept, 6), **residual_summary(x, problem)}


def three_copies(gray: Measurement, signal_shape: tuple[int, ...]) -> Measurement:
    """The same for a signal of three channels, each measured like the gray one.

    With sqrt(3) times the noise the three together know the gray axis as well as it was.
    """
    sigma_y = gray.sigma_y
    return replace(
        gray,
        y=torch.cat([gray.y] * 3),
        sigma_y=3**0.5 * (torch.cat([sigma_y] * 3) if isinstance(sigma_y, Tensor) else sigma_y),
        arrays=dict(gray.arrays) | {"copies": torch.tensor(True)},
        signal_shape=(3, *signal_shape[1:]),
    )


PICTURES = Pictures()
