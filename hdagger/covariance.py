"""What a noisy signal leaves open about the clean one: the covariance of x0 given x.

With x = x0 + sigma noise, a denoiser's mean D(x) errs, and C = Cov[x0 | x] says how: by
frequency, since fine detail is lost first, and by place, since a wall is surer than a lawn. One
table says both. At a level of noise, places are sorted by the variance that the network tells
of them, or by nothing if it tells none; each class k of places has a spectrum c_k, and

    C = sum_k R_k T' diag(c_k) T R_k,    sum_k R_k^2 = 1,    0 <= c_k <= sigma^2,

T being an orthonormal transform that the kind of signal names. C is symmetric, between 0 and
sigma^2, and has a square root to draw from, so it costs a step no evaluation of the network.

References:
    Rissanen, Heinonen and Solin, Free Hunch, ICLR 2025: a covariance that is diagonal in the DCT.
    https://arxiv.org/abs/2410.11149
    Peng et al., Improving Diffusion Models for Inverse Problems Using Optimal Posterior
    Covariance, ICML 2024: variances that networks tell. https://arxiv.org/abs/2402.02149
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import FileError
from .files import brief, fingerprint
from .linalg import hartley
from .priors import checkpoint
from .priors.analytic import GaussianField
from .priors.base import Denoiser, moments
from .tensors import Data, Level, Noise, SampleNoise, Signal

LEVELS = (0.01, 80.0, 14)
"""The levels at which a table is measured: the lowest, the highest, and how many."""

CLASSES = 3
"""Into how many classes the places of a signal are sorted, where a network tells its variance."""

KIND = "spectral-covariance"
"""What a file of such a table says that it holds."""


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

    def scaled(self, factor: Float[Tensor, " batch"]) -> "Covariance":
        """C with each row's variances times a factor, as far as they may be; C if it is exact."""
        return self

    def in_data(
        self, system: Callable[[Data], Data], least: float | Tensor, e: Data, noise: Noise
    ) -> "DataBands | None":
        """What a system makes of data, by band; None where the data are no signals.

        Each row has its own, so that a sample is the same whatever the batch.

        Args:
            system: v -> (H C H' + least I) v, with a typical C, on data of the shape of e.
            least: sigma_y^2, one for all or one for each row, ``(batch, 1, ...)``.
            e: Data.
            noise: Draws the standard normals.
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


class Bands(abc.ABC):
    """A transform T of signals with T' T = I, and its coefficients in bands of like kind.

    A table has one number for each band, so that it serves signals of any size.

    Attributes:
        count: How many bands there are, whatever the size.
        band: The band of each coefficient, ``(*coefficients)``.
    """

    count: int
    band: Int[Tensor, "..."]

    @property
    @abc.abstractmethod
    def held(self) -> Int[Tensor, " bands"]:
        """How many independent numbers of a signal are in each band."""

    @abc.abstractmethod
    def forward(self, x: Signal) -> Tensor:
        """T x, ``(batch, *coefficients)``; they may be complex."""

    @abc.abstractmethod
    def inverse(self, z: Tensor) -> Signal:
        """T' z."""

    @abc.abstractmethod
    def white(self, noise: Noise, rows: int) -> Tensor:
        """Coefficients z whose T' c^1/2 z is a draw of N(0, T' c T)."""

    @abc.abstractmethod
    def product(self, u: Signal, v: Signal) -> Float[Tensor, "batch bands"]:
        """The mean product of two signals' coefficients in each band."""

    def power(self, e: Signal) -> Float[Tensor, "batch bands"]:
        """The mean square of the coefficients in each band."""
        return self.product(e, e)

    @abc.abstractmethod
    def around(self, variance: Signal) -> Tensor:
        """The mean variance around each place, in a shape that multiplies signals."""

    def alike(self, shape: tuple[int, ...]) -> "Bands | None":
        """The bands of such tensors, if they are signals of this kind, of whatever size."""
        return None


@dataclass(frozen=True)
class DataBands:
    """What H C H' + sigma_y^2 I is in each band of data that look like signals.

    Data of a blur or of a smaller picture do.

    Attributes:
        bands: Their transform.
        variance: ``(batch, bands)``.
        least: sigma_y^2, ``(batch or 1, 1)``.
    """

    bands: Bands
    variance: Tensor
    least: Tensor

    def inverse(self, v: Data) -> Data:
        """Close to (H C H' + sigma_y^2 I)^-1 v; symmetric and positive."""
        return self._times(1 / self.variance, v)

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
        return self.bands.inverse(factor[:, self.bands.band] * self.bands.forward(v))


@dataclass(frozen=True)
class LocalSpectra(Covariance):
    """C = sum_k R_k T' diag(c_k) T R_k: a spectrum for each class of places.

    Attributes:
        bands: T.
        spectra: c_k, ``(classes, batch or 1, *coefficients)``.
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
        z = self.bands.forward((self.shares * v).flatten(0, 1)).unflatten(0, (-1, self.rows))
        return self._gathered(self.spectra * z)

    def draw(self, noise: Noise) -> Signal:
        roots = self.spectra.sqrt()
        return self._gathered(
            torch.stack([root * self.bands.white(noise, self.rows) for root in roots])
        )

    def typical(self) -> "LocalSpectra":
        weights = self.shares.square().flatten(2).mean(2)
        weights = weights.view(*weights.shape, *[1] * (self.spectra.ndim - 2))
        ones = self.shares.new_ones(1, *[1] * (self.shares.ndim - 1))
        return replace(self, spectra=(weights * self.spectra).sum(0)[None], shares=ones)

    def scaled(self, factor: Float[Tensor, " batch"]) -> "LocalSpectra":
        wide = factor.view(-1, *[1] * (self.spectra.ndim - 2)) * self.spectra
        return replace(self, spectra=wide.clamp(max=self.most))

    def in_data(
        self, system: Callable[[Data], Data], least: float | Tensor, e: Data, noise: Noise
    ) -> "DataBands | None":
        bands = self.bands.alike(tuple(e.shape[1:]))
        if bands is None or e.is_complex():
            return None
        probe = noise(tuple(e.shape))
        least, made = torch.as_tensor(least).reshape(-1, 1).to(e), system(probe)
        variance = bands.product(probe, made) / bands.power(probe)
        floor = (bands.power(made) / bands.power(probe)).sqrt() / 4  # a band of few may say < 0
        return DataBands(bands, torch.maximum(variance, floor).to(e).clamp(min=least), least)

    def _gathered(self, z: Tensor) -> Signal:
        """sum_k R_k T' z_k."""
        parts = self.bands.inverse(z.flatten(0, 1)).unflatten(0, (len(z), -1))
        return (self.shares * parts).sum(0)


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


@dataclass(frozen=True)
class SpectralTable(Uncertainty):
    """Spectra of a denoiser's error by level and class of place, as they were measured.

    Between the levels of the table both its numbers are interpolated in log sigma; below, the
    error keeps its share of sigma^2, and above it stays. Where a network does not tell its
    variance, a place belongs to all classes alike.

    Attributes:
        data_variance: The variance of one element of a clean signal.
        bands: The transform, for signals of one size.
        levels: Increasing, ``(levels,)``.
        nodes: Logarithm of the variance around the middle place of each class, over sigma^2,
            ``(levels, classes)``, increasing; a place between two nodes belongs to both in part.
        spectra: The error's variance over sigma^2, in (0, 1], ``(levels, classes, bands)``.
    """

    data_variance: float
    bands: Bands
    levels: Tensor
    nodes: Tensor
    spectra: Tensor
    sha256: str = ""

    def at(self, sigma: Level, D: Signal, variance: Signal | None) -> LocalSpectra:
        grid = self.levels.log()
        held = sigma.clamp(self.levels[0], self.levels[-1]).to(grid)
        k = int(torch.searchsorted(grid, held.log()).clamp(1, len(grid) - 1))
        t = (held.log() - grid[k - 1]) / (grid[k] - grid[k - 1])
        above = float((held / sigma.to(held)).clamp(max=1) ** 2)
        nodes = torch.lerp(self.nodes[k - 1], self.nodes[k], t).to(D)
        spectra = torch.lerp(self.spectra[k - 1].log(), self.spectra[k].log(), t).exp().to(D)
        if variance is None or len(nodes) == 1:
            shares = D.new_full((len(nodes), *[1] * D.ndim), len(nodes) ** -0.5)
        else:
            place = (self.bands.around(variance) / (above * sigma**2)).log()
            shares = shares_of(place, nodes)
        spectra = sigma**2 * above * spectra[:, None, self.bands.band]
        return LocalSpectra(self.bands, spectra, shares, len(D), float(sigma) ** 2)

    @classmethod
    @torch.no_grad()
    def measured(
        cls,
        prior: Denoiser,
        truths: Signal,
        bands: Bands,
        seed: int = 0,
        within: tuple[float, float] = LEVELS[:2],
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> "SpectralTable":
        """The table of a prior, from its errors on clean signals that it was not trained on.

        Args:
            prior: The denoiser.
            truths: ``(count, *signal)``, some dozens.
            bands: The transform, for signals of this size.
            seed: Of the noise.
            within: The levels that the prior was trained on, of which none outside is measured.
            watch: Called after every batch.
        """
        low, high, count = LEVELS
        ends = math.log(max(low, within[0])), math.log(min(high, within[1]))
        levels = torch.linspace(*ends, count, dtype=torch.float64).exp()
        parts = truths.split(8)
        noise = SampleNoise(seed, [(k,) for k in range(len(truths))])
        nodes, spectra = [], []
        for done, sigma in enumerate(levels):
            errors, places = [], []
            z = noise(tuple(truths.shape)).to(truths)
            for number, (x0, n) in enumerate(zip(parts, z.split(8), strict=True)):
                D, variance = moments(prior, x0 + sigma.to(x0) * n, sigma.to(x0))
                errors.append((x0 - D) / sigma.to(x0))
                if variance is not None:
                    places.append((bands.around(variance) / sigma.to(x0) ** 2).log())
                watch(done * len(parts) + number + 1, count * len(parts))
            error = torch.cat(errors)
            place = torch.cat(places) if places else None
            middle = middles(place) if place is not None else torch.zeros(1)
            ones = error.new_ones(1, 1, *[1] * (error.ndim - 1))
            shares = ones if place is None else shares_of(place, middle)
            power = [bands.power(R * error).mean(0) / R.square().mean().cpu() for R in shares]
            nodes.append(middle)
            spectra.append(torch.stack(power).clamp(1e-12, 1))
        variance = float(truths.double().var())
        return cls(variance, bands, levels, torch.stack(nodes), torch.stack(spectra))

    def save(self, path: Path, prior_sha256: str, truths: str) -> None:
        """Writes the table, for the prior with these weights, to one safetensors file."""
        tensors = {"levels": self.levels, "nodes": self.nodes, "spectra": self.spectra}
        build = {"data_variance": self.data_variance}
        build |= {"prior_sha256": prior_sha256, "truths": truths}
        checkpoint.write(path, KIND, build, {name: t.float() for name, t in tensors.items()})

    @classmethod
    def load(cls, path: Path, prior_sha256: str, bands: Bands) -> "SpectralTable":
        """Reads what ``save`` wrote.

        Raises:
            FileError: It is not such a file, or is that of other weights or other signals.
        """
        kind, build, tensors = checkpoint.read(path)
        try:
            if kind != KIND:
                raise ValueError(f"it holds a {kind}")
            if build["prior_sha256"] != prior_sha256:
                raise ValueError("it belongs to other weights")
            levels, nodes, spectra = (tensors[n].double() for n in ("levels", "nodes", "spectra"))
            count, classes = nodes.shape
            if levels.shape != (count,) or spectra.shape != (count, classes, bands.count):
                raise ValueError("it is for other signals")
            variance = float(build["data_variance"])
            sorted_ = all((t.diff() > 0).all() and t.isfinite().all() for t in (levels, nodes))
            right = sorted_ and min(count - 1, classes, levels[0], variance) > 0
            if not right or not ((spectra > 0) & (spectra <= 1)).all():
                raise ValueError("its numbers are no covariances")
            return cls(variance, bands, levels, nodes, spectra, fingerprint(path))
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(
                f"Wanted the covariances of a prior, but {path} does not hold them "
                f"({brief(error)}). Remove it, and run hdagger priors calibrate."
            ) from error


def middles(place: Tensor) -> Float[Tensor, " classes"]:
    """The middle of each class, if as many places belong to each."""
    marks = (torch.arange(CLASSES, dtype=torch.float64) + 0.5) / CLASSES
    found = place.double().cpu().flatten().sort().values[(marks * place.numel()).long()]
    return found + 1e-3 * torch.arange(CLASSES)


def shares_of(place: Tensor, nodes: Float[Tensor, " classes"]) -> Tensor:
    """R_k, ``(classes, *place)``: linear between two nodes before the root is taken."""
    nodes = nodes.to(place)
    where = torch.searchsorted(nodes, place).clamp(1, len(nodes) - 1)
    t = ((place - nodes[where - 1]) / (nodes[where] - nodes[where - 1])).clamp(0, 1)
    shares = place.new_zeros(len(nodes), *place.shape)
    shares.scatter_(0, (where - 1)[None], (1 - t)[None])
    shares.scatter_(0, where[None], t[None])
    return shares.sqrt()
