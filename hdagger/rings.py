"""Rings of frequency on a grid, in which a denoiser's errors are about independent."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import pad

from .covariance import Bands, of_each
from .linalg import dct2, fast_length
from .tensors import Noise, Signal

RINGS = 24
"""Rings of frequency for each component."""

LOWEST = 1 / 96
"""The outer edge of the first ring, in units of the highest frequency along a side."""

MARGIN = 16
"""Points, at least, that lie between opposite edges when a grid is wrapped around a torus."""

AROUND = 2.0
"""Standard deviation of the window in which a variance is averaged, in points."""


class Rings(Bands):
    """The components of signals on a grid, by rings of frequency.

    T puts a signal on a larger torus and takes its Fourier transform, so that C is stationary up
    to the edges. A spectrum is measured by the cosine transform instead, which no jump from one
    edge to the other disturbs.

    Args:
        signal_shape: ``(components, height, width)``.
    """

    def __init__(self, signal_shape: tuple[int, ...]) -> None:
        self.shape = signal_shape
        components, height, width = signal_shape
        self.turn = self.turned(components)
        self.torus = fast_length(height + MARGIN), fast_length(width + MARGIN)
        self.count = components * RINGS
        rows, columns = torch.fft.fftfreq(self.torus[0]), torch.fft.rfftfreq(self.torus[1])
        first = RINGS * torch.arange(components, dtype=torch.int32)
        self.band = self._rings(2 * rows.abs(), 2 * columns) + first[:, None, None]

    def turned(self, components: int) -> Float[Tensor, "components components"]:
        """Rows: the orthonormal mixtures of components that are about independent."""
        return torch.eye(components, dtype=torch.float64)

    def _rings(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Rings of the frequencies along both sides, the highest being 1."""
        edges = torch.logspace(math.log10(LOWEST), math.log10(2**0.5), RINGS)[:-1]
        far = (rows[:, None].square() + columns.square()).sqrt()
        return torch.bucketize(far, edges, out_int32=True)

    def mixed(self, x: Signal) -> Signal:
        return (self.turn.to(x) @ x.flatten(2)).view_as(x)

    def unmixed(self, x: Signal) -> Signal:
        return (self.turn.to(x).mT @ x.flatten(2)).view_as(x)

    def waves(self, x: Signal) -> Tensor:
        return torch.fft.rfft2(x, s=self.torus, norm="ortho")

    def places(self, z: Tensor) -> Signal:
        _, height, width = self.shape
        z = torch.fft.ifft(z, dim=-2, norm="ortho")[..., :height, :]
        return torch.fft.irfft(z, n=self.torus[1], norm="ortho")[..., :width]

    def drawn(self, spectrum: Tensor, noise: Noise, rows: int) -> Signal:
        z = noise((rows, self.shape[0], *self.torus))
        parts = [
            self.places(torch.fft.rfft2(part, norm="ortho").mul_(of_each(spectrum.sqrt(), band)))
            for part, band in zip(z.split(1, 1), self.band.split(1), strict=True)
        ]
        return torch.cat(parts, dim=1)

    def white(self, noise: Noise, rows: int) -> Tensor:
        return torch.fft.rfft2(noise((rows, self.shape[0], *self.torus)), norm="ortho")

    @cached_property
    def _of_cosines(self) -> UInt8[Tensor, " coefficients"]:
        """The ring of each coefficient of a component's cosine transform, laid out flat."""
        _, height, width = self.shape
        rows, columns = torch.arange(height) / height, torch.arange(width) / width
        return self._rings(rows, columns).flatten().to(torch.uint8)

    @property
    def held(self) -> Int[Tensor, " bands"]:
        return self._held

    @cached_property
    def _held(self) -> Int[Tensor, " bands"]:
        return torch.bincount(self._of_cosines, minlength=RINGS).repeat(self.shape[0])

    def _cosines(self, x: Signal) -> Iterator[Tensor]:
        """The cosine transform of each component, one after the other, to save memory."""
        x = x.cpu()
        flat = x.flatten(2)
        return (dct2((row @ flat).view_as(x[:, :1])) for row in self.turn.to(x))

    def _sums(self, squares: Tensor) -> Float[Tensor, "batch rings"]:
        """Over each ring, of numbers that belong to the coefficients of one component."""
        rows = (
            torch.bincount(self._of_cosines, row, RINGS) for row in squares.flatten(1).double()
        )
        return torch.stack([*rows]).to(squares)

    def _mean(self, sums: Sequence[Tensor]) -> Float[Tensor, "batch bands"]:
        """In each band, from the sums over the rings of each component."""
        total, nearest = torch.cat([*sums], dim=1), _nearest(self.held)
        return total[:, nearest] / self.held[nearest]

    def over(self, waves: Tensor) -> Float[Tensor, " bands"]:
        rings = self.band[0].flatten()
        held = torch.bincount(rings, minlength=RINGS)
        sums, nearest = torch.bincount(rings, waves.cpu().flatten(), RINGS), _nearest(held)
        return (sums[nearest] / held[nearest]).to(waves).repeat(self.shape[0])

    def power(self, x: Signal) -> Float[Tensor, "batch bands"]:
        return self._mean([self._sums(a.square()) for a in self._cosines(x)])

    def products(self, u: Signal, v: Signal) -> tuple[Tensor, Tensor, Tensor]:
        sums = [
            (self._sums(a.square()), self._sums(a * b), self._sums(b.square()))
            for a, b in zip(self._cosines(u), self._cosines(v), strict=True)
        ]
        squares, products, others = zip(*sums, strict=True)
        return self._mean(squares), self._mean(products), self._mean(others)

    def around(self, variance: Signal) -> Tensor:
        reach = math.ceil(3 * AROUND)
        window = torch.exp(-((torch.arange(-reach, reach + 1.0) / AROUND) ** 2) / 2)
        mean = pad(variance.mean(1, keepdim=True), [reach] * 4, mode="replicate")
        for axis in (2, 3):
            mean = _weighted(mean, (window / window.sum()).tolist(), axis)
        return mean

    def apart(self) -> "tuple[Rings, ...]":
        components, *rest = self.shape
        return (_of(type(self), (1, *rest)),) * components

    def alike(self, shape: tuple[int, ...]) -> "Rings | None":
        if len(shape) != 3 or shape[0] != self.shape[0]:
            return None
        return self if shape == self.shape else _of(type(self), shape)


def _weighted(x: Tensor, window: Sequence[float], axis: int) -> Tensor:
    """The window moved along an axis, only where all of it lies inside."""
    total = torch.zeros_like(x.narrow(axis, 0, x.shape[axis] - len(window) + 1))
    for k, weight in enumerate(window):
        total.add_(x.narrow(axis, k, total.shape[axis]), alpha=weight)
    return total


def _nearest(held: Int[Tensor, " rings"]) -> Int[Tensor, " rings"]:
    """The last ring up to each that holds something; a small grid has nothing in some."""
    full = held.nonzero()[:, 0]
    return full[(torch.searchsorted(full, torch.arange(len(held)), right=True) - 1).clamp(min=0)]


@lru_cache(maxsize=4)
def _of(kind: type[Rings], shape: tuple[int, ...]) -> Rings:
    """Every step asks for those of its data, whose tables take as long as a transform."""
    return kind(shape)
