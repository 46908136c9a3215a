"""Rings of frequency on a grid, in which a denoiser's errors are about independent."""

import math
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import conv2d, pad

from .covariance import Bands
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
        return torch.fft.irfft2(z, s=self.torus, norm="ortho")[..., :height, :width]

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

    def _cosines(self, x: Signal) -> Tensor:
        return dct2(self.mixed(x.cpu()))

    def _mean(self, products: Tensor) -> Float[Tensor, "batch bands"]:
        """Of numbers that belong to coefficients of the cosine transform, in each band."""
        rows = products.double().flatten(2).flatten(0, 1)
        sums = torch.stack([torch.bincount(self._of_cosines, row, RINGS) for row in rows])
        total, held = sums.view(len(products), -1).to(products), self.held
        full = held.nonzero()[:, 0]
        below = (torch.searchsorted(full, torch.arange(self.count), right=True) - 1).clamp(min=0)
        nearest = full[below]  # a small grid has no frequency in some rings
        return total[:, nearest] / held[nearest]

    def power(self, x: Signal) -> Float[Tensor, "batch bands"]:
        return self._mean(self._cosines(x).square())

    def products(self, u: Signal, v: Signal) -> tuple[Tensor, Tensor, Tensor]:
        a, b = self._cosines(u), self._cosines(v)
        return self._mean(a.square()), self._mean(a * b), self._mean(b.square())

    def around(self, variance: Signal) -> Tensor:
        reach = math.ceil(3 * AROUND)
        window = torch.exp(-((torch.arange(-reach, reach + 1.0) / AROUND) ** 2) / 2)
        window = (window / window.sum()).to(variance)
        mean = pad(variance.mean(1, keepdim=True), [reach] * 4, mode="replicate")
        return conv2d(conv2d(mean, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

    def alike(self, shape: tuple[int, ...]) -> "Rings | None":
        if len(shape) != 3 or shape[0] != self.shape[0]:
            return None
        return self if shape == self.shape else _of(type(self), shape)


@lru_cache(maxsize=4)
def _of(kind: type[Rings], shape: tuple[int, ...]) -> Rings:
    """Every step asks for those of its data, whose tables take as long as a transform."""
    return kind(shape)
