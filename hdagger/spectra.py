"""The covariances of a prior as they were measured: spectra by level and class of place.

See hdagger/covariance.py for the covariance that they make.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from .covariance import Bands, LocalSpectra, Uncertainty
from .errors import FileError
from .files import brief, fingerprint
from .priors import checkpoint
from .priors.base import Denoiser, moments
from .tensors import Level, SampleNoise, Signal

LEVELS = (0.01, 80.0, 14)
"""The levels at which a table is measured: the lowest, the highest, and how many."""

CLASSES = 3
"""Into how many classes the places of a signal are sorted, where a network tells its variance."""

KIND = "spectral-covariance"
"""What a file of such a table says that it holds."""


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
        spectra = sigma**2 * above * spectra[:, None]
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
