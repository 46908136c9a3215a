"""What a noisy signal leaves open about the clean one: the covariance of x0 given x.

With x = x0 + sigma noise, a denoiser's mean D(x) errs, and C = Cov[x0 | x] says how: by
frequency, since fine detail is lost first, and by place, since a wall is surer than a lawn. A
measured table says both (hdagger/spectra.py). At a level of noise, places are sorted by the
variance that the network tells of them, or by nothing if it tells none; each class k of places
has a spectrum c_k, and

    C = sum_k R_k T' diag(c_k) T R_k,    sum_k R_k^2 = 1,    0 <= c_k <= sigma^2,

T being an orthonormal transform that the kind of signal names. C is symmetric, between 0 and
sigma^2, and has a square root to draw from, so it costs a step no evaluation of the network.

The spectra are those of an average signal. How wide C is for another, the network says for
nothing: for x = z + sigma n, n being white noise that knows nothing of z, Stein's identity has

    sigma E<T n, T (D(x) - z)> = tr sigma^2 dD/dx = tr C

over all coefficients, and the like over those of each band.

References:
    Stein, Estimation of the Mean of a Multivariate Normal Distribution, Annals of Statistics 1981,
    lemma 2. https://doi.org/10.1214/aos/1176345632
    Rissanen, Heinonen and Solin, Free Hunch, ICLR 2025: a covariance that is diagonal in the DCT.
    https://arxiv.org/abs/2410.11149
    Peng et al., Improving Diffusion Models for Inverse Problems Using Optimal Posterior
    Covariance, ICML 2024: variances that networks tell. https://arxiv.org/abs/2402.02149
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .linalg import hartley
from .priors.analytic import GaussianField
from .tensors import Data, Level, Noise, Signal

Gains: TypeAlias = Callable[[tuple[int, int]], Tensor | None]

SPREAD = 0.4
"""Deviation of a signal's spectrum from an average one's, over this."""

NARROWEST, WIDEST = 0.2, 4.0
"""Between what a band of C may be, over an average signal's."""


class Covariance(abc.ABC):
    """A covariance of signals, one for each row of a batch."""

    @abc.abstractmethod
    def times(self, v: Signal) -> Signal:
        """C v, ``(batch, *signal)``."""

    @abc.abstractmethod
    def draw(self, noise: Noise) -> Signal:
        """A draw of N(0, C) for each row."""

    def typical(self) -> "Covariance":
        """A cheaper covariance, the same at every place, that this one is on average."""
        return self

    def scaled(self, factor: Float[Tensor, "batch bands"]) -> "Covariance":
        """C with each row's variances times a factor, as far as they may be; C if it is exact.

        Args:
            factor: One for each band, or one for all.
        """
        return self

    def wider(
        self, sigma: Level, n: Signal, d: Signal, expected: Float[Tensor, "batch known"]
    ) -> Float[Tensor, "batch bands"]:
        """By how much it should be wider in each band, for these signals.

        Args:
            sigma: The level of x = z + sigma n, for any z of which n knows nothing.
            n: White noise.
            d: D(x) - z.
            expected: What is believed beforehand, one for each band or one for all.
        """
        return expected

    def apart(self) -> "Apart | None":
        """What it is of components that are independent; None where none are known to be."""
        return None

    def in_data(
        self,
        system: Callable[[Data], Data],
        gains: Gains,
        least: float | Tensor,
        e: Data,
        noise: Noise,
    ) -> "DataBands | None":
        """What a system makes of data, by band; None where the data are no signals.

        Each row has its own, so that a sample is the same whatever the batch.

        Args:
            system: v -> (H C H' + least I) v, with this C, on data of the shape of e.
            gains: By how much H' H multiplies Fourier coefficients, or None: see
                :meth:`~hdagger.operators.base.LinearOperator.gains`.
            least: sigma_y^2, one for all or one for each row, ``(batch, 1, ...)``.
            e: Data.
            noise: Draws the standard normals, where the system has to be tried.
        """
        return None


@dataclass(frozen=True)
class White(Covariance):
    """C = variance I, for signals of ``shape``, the batch included."""

    variance: float | Tensor
    shape: tuple[int, ...]

    def times(self, v: Signal) -> Signal:
        return self.variance * v

    def draw(self, noise: Noise) -> Signal:
        return self.variance**0.5 * noise(self.shape)


@dataclass(frozen=True)
class Grainy(Covariance):
    """C + variance I: with white grain of each signal, of the shape of C's."""

    C: Covariance
    variance: float | Tensor

    def times(self, v: Signal) -> Signal:
        return torch.addcmul(self.C.times(v), torch.as_tensor(self.variance).to(v), v)

    def draw(self, noise: Noise) -> Signal:
        u = self.C.draw(noise)
        return u + self.variance**0.5 * noise(tuple(u.shape))


class Bands(abc.ABC):
    """A transform T of signals with T' T = I, and its coefficients in bands of like kind.

    T = F Q: Q mixes the components of each place, such as colours; F knows nothing of
    components. A table has one number for each band, so that it serves signals of any size.

    Attributes:
        count: How many bands there are, whatever the size.
        band: The band of each coefficient, ``(*coefficients)``.
        torus: Sides of the grid of whose Fourier coefficients ``waves`` gives those of ``rfft2``.
    """

    count: int
    band: Int[Tensor, "..."]
    torus: tuple[int, int]

    @property
    @abc.abstractmethod
    def held(self) -> Int[Tensor, " bands"]:
        """How many independent numbers of a signal are in each band."""

    @abc.abstractmethod
    def mixed(self, x: Signal) -> Signal:
        """Q x, a tensor of its own."""

    @abc.abstractmethod
    def unmixed(self, x: Signal) -> Signal:
        """Q' x."""

    @abc.abstractmethod
    def waves(self, x: Signal) -> Tensor:
        """F x, ``(batch, *coefficients)``; they may be complex."""

    @abc.abstractmethod
    def places(self, z: Tensor) -> Signal:
        """F' z."""

    def forward(self, x: Signal) -> Tensor:
        """T x."""
        return self.waves(self.mixed(x))

    def inverse(self, z: Tensor) -> Signal:
        """T' z."""
        return self.unmixed(self.places(z))

    def by_component(self, mixed: Signal, work: Callable[[Signal, Tensor], Signal]) -> Signal:
        """Q' of what is made of each component of Q x, one after the other, to save memory.

        Args:
            mixed: Q x, which is written over.
            work: A component, ``(batch, 1, ...)``, and the band of each of its coefficients
                become such a component.
        """
        for part, band in zip(mixed.split(1, 1), self.band.split(1), strict=True):
            part.copy_(work(part, band))
        return self.unmixed(mixed)

    def filtered(self, factor: Tensor, x: Signal, band: Tensor) -> Signal:
        """F' diag(factor) F x, of signals with these bands and a factor for each, ``(batch or 1,
        bands)``."""
        return self.places(self.waves(x).mul_(of_each(factor, band)))

    def drawn(self, spectrum: Tensor, noise: Noise, rows: int) -> Signal:
        """F' c^1/2 z for white z: Q' of it is a draw of N(0, T' c T).

        Args:
            spectrum: c of the coefficients in each band, ``(batch or 1, bands)``.
            noise: Draws the standard normals.
            rows: How many.
        """
        return self.places(of_each(spectrum.sqrt(), self.band) * self.white(noise, rows))

    @abc.abstractmethod
    def white(self, noise: Noise, rows: int) -> Tensor:
        """Coefficients z whose T' c^1/2 z is a draw of N(0, T' c T)."""

    @abc.abstractmethod
    def power(self, x: Signal) -> Float[Tensor, "batch bands"]:
        """The mean square of the coefficients in each band."""

    @abc.abstractmethod
    def over(self, waves: Tensor) -> Float[Tensor, " bands"]:
        """The mean in each band of what belongs to the waves of any component."""

    @abc.abstractmethod
    def products(self, u: Signal, v: Signal) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of u^2, of u v and of v^2 in each band, of two signals' coefficients."""

    @abc.abstractmethod
    def around(self, variance: Signal) -> Tensor:
        """The mean variance around each place, in a shape that multiplies signals."""

    @abc.abstractmethod
    def apart(self) -> "tuple[Bands, ...]":
        """The bands of each component of Q x by itself: in this order, they are these bands."""

    def alike(self, shape: tuple[int, ...]) -> "Bands | None":
        """The bands of such tensors, if they are signals of this kind, of whatever size."""
        return None


def of_each(factor: Float[Tensor, "rows bands"], band: Int[Tensor, "*shape"]) -> Tensor:
    """The factor of each coefficient, ``(rows, *shape)``: factor[:, band], but faster."""
    return factor.index_select(1, band.flatten()).unflatten(1, band.shape)


@dataclass(frozen=True)
class Apart:
    """C = Q' diag(C_1, C_2, ...) Q, where Q mixes the components of each place.

    Attributes:
        mixed: Q.
        unmixed: Q'.
        parts: The covariance of each component, of signals that have one.
    """

    mixed: Callable[[Tensor], Tensor]
    unmixed: Callable[[Tensor], Tensor]
    parts: tuple[Covariance, ...]


@dataclass(frozen=True)
class DataBands:
    """What H C H' + sigma_y^2 I is in each band of data that look like signals.

    Data of a blur or of a smaller picture do.

    Attributes:
        bands: Their transform.
        variance: ``(batch, bands)``.
        least: sigma_y^2, ``(batch or 1, 1)``.
        of_waves: The variance of each coefficient, ``(batch, *coefficients)``, where it is known.
    """

    bands: Bands
    variance: Tensor
    least: Tensor
    of_waves: Tensor | None = None

    def inverse(self, v: Data) -> Data:
        """Close to (H C H' + sigma_y^2 I)^-1 v; symmetric and positive."""
        if self.of_waves is None:
            return self._times(1 / self.variance, v)
        return self.bands.inverse(self.bands.forward(v) / self.of_waves)

    def informed(self, v: Data) -> Data:
        """v, each band by the share of its variance that is not noise."""
        return self._times(self._share, v)

    @property
    def information(self) -> Float[Tensor, " batch"]:
        """The sum of the squares of those shares over all coefficients."""
        return self._share.square() @ self.bands.held.to(self._share)

    @property
    def _share(self) -> Tensor:
        return 1 - self.least / self.variance

    def _times(self, factor: Tensor, v: Data) -> Data:
        return self.bands.by_component(self.bands.mixed(v), partial(self.bands.filtered, factor))


@dataclass(frozen=True)
class LocalSpectra(Covariance):
    """C = sum_k R_k T' diag(c_k) T R_k: a spectrum for each class of places.

    Attributes:
        bands: T.
        spectra: c_k of the coefficients in each band, ``(classes, batch or 1, bands)``.
        shares: R_k, ``(classes, batch, ...)``, in a shape that multiplies signals; the squares
            add up to 1.
        rows: Of the batch.
        most: What no variance is above: sigma^2.
    """

    bands: Bands
    spectra: Tensor
    shares: Tensor
    rows: int
    most: float

    def times(self, v: Signal) -> Signal:
        mixed = self.bands.mixed(v)
        del v  # as large as all that follows
        return self.bands.by_component(mixed, self._times)

    def _times(self, v: Signal, band: Tensor) -> Signal:
        """Of one component."""
        total = torch.zeros_like(v)
        for R, c in zip(self.shares, self.spectra, strict=True):
            total.addcmul_(R, self.bands.filtered(c, R * v, band))
        return total

    def draw(self, noise: Noise) -> Signal:
        parts = zip(self.shares, self.spectra, strict=True)
        drawn = (self.bands.drawn(c, noise, self.rows).mul_(R) for R, c in parts)
        total = next(drawn)
        for part in drawn:
            total += part
        return self.bands.unmixed(total)

    def typical(self) -> "LocalSpectra":
        weights = self.shares.square().flatten(2).mean(2)[..., None]
        ones = self.shares.new_ones(1, *[1] * (self.shares.ndim - 1))
        return replace(self, spectra=(weights * self.spectra).sum(0)[None], shares=ones)

    def apart(self) -> Apart:
        alone = self.bands.apart()
        each = zip(alone, self.spectra.chunk(len(alone), dim=-1), strict=True)
        parts = tuple(replace(self, bands=bands, spectra=c) for bands, c in each)
        return Apart(self.bands.mixed, self.bands.unmixed, parts)

    def scaled(self, factor: Float[Tensor, "batch bands"]) -> "LocalSpectra":
        return replace(self, spectra=(factor * self.spectra).clamp(max=self.most))

    def wider(
        self, sigma: Level, n: Signal, d: Signal, expected: Float[Tensor, "batch known"]
    ) -> Float[Tensor, "batch bands"]:
        c = self.typical().spectra[0]
        sent, both, power = (each.to(c) for each in self.bands.products(n, d))
        sent = sent.clamp(min=torch.finfo(c.dtype).tiny)
        told = sigma * both / (sent * c)
        doubt = sigma**2 * power / (sent * self.bands.held.to(c) * c**2)
        share = SPREAD**2 / (SPREAD**2 + doubt)
        return torch.lerp(expected, told, share).clamp(NARROWEST, WIDEST)

    def in_data(
        self,
        system: Callable[[Data], Data],
        gains: Gains,
        least: float | Tensor,
        e: Data,
        noise: Noise,
    ) -> "DataBands | None":
        bands = self.bands.alike(tuple(e.shape[1:]))
        if bands is None or e.is_complex():
            return None
        least, gain = torch.as_tensor(least).reshape(-1, 1).to(e), gains(bands.torus)
        if gain is None:
            probe = noise(tuple(e.shape))
            sent, answer, back = bands.products(probe, system(probe))
            floor = (sent * back).sqrt() / 4  # a band of few may say < 0
            variance = torch.maximum(answer, floor) / sent
            return DataBands(bands, variance.to(e).clamp(min=least), least)
        spectrum, gain = self.typical().spectra[0], gain.to(e)
        of_waves = of_each(spectrum, bands.band) * gain + least[..., None, None]
        return DataBands(bands, spectrum * bands.over(gain) + least, least, of_waves)


class Uncertainty(abc.ABC):
    """What is known of a prior's covariances.

    Attributes:
        data_variance: The variance of one element of a clean signal.
        sha256: Of the file that says it; empty for none.
    """

    data_variance: float
    sha256: str = ""

    @abc.abstractmethod
    def at(self, sigma: Level, D: Signal, variance: Signal | None) -> Covariance:
        """Cov[x0 | x] as far as it is known.

        Args:
            sigma: The level of x.
            D: E[x0 | x].
            variance: What the network says of its own squared error; None if it does not.
        """


@dataclass(frozen=True)
class Isotropic(Uncertainty):
    """White signals: C = sigma^2 v / (sigma^2 + v) I, all that one variance v can say."""

    data_variance: float = 1.0

    def at(self, sigma: Level, D: Signal, variance: Signal | None) -> White:
        v = self.data_variance
        return White(sigma**2 * v / (sigma**2 + v), tuple(D.shape))


@dataclass(frozen=True)
class Stationary(Covariance):
    """C = F diag(variance) F, F being the Hartley transform: alike everywhere on a torus.

    Attributes:
        variance: Of each coefficient, ``(height, width)``.
        shape: Of the signals, the batch included.
    """

    variance: Tensor
    shape: tuple[int, ...]

    def times(self, v: Signal) -> Signal:
        return hartley(self.variance * hartley(v))

    def draw(self, noise: Noise) -> Signal:
        return hartley(self.variance.sqrt() * noise(self.shape))


@dataclass(frozen=True)
class ExactField(Uncertainty):
    """The covariances of a Gaussian random field, which its denoiser's errors have exactly."""

    field: GaussianField
    data_variance: float = 1.0

    def at(self, sigma: Level, D: Signal, variance: Signal | None) -> Stationary:
        power = self.field.power.to(D)
        return Stationary(sigma**2 * power / (sigma**2 + power), tuple(D.shape))
