"""Is a network a denoiser, and on which noise levels? Public checks: they return numbers.

For D = E[x0 | x] the error is at right angles to every function of x. So, over pictures x0 and
noise, with c any constant, and x' the same picture at a lower level:

    calibration   <D - c, x0 - c> = <D - c, D - c>
    Pythagoras    |x - D|^2 + |D - x0|^2 = |x - x0|^2
    across        <D - c, D(x') - c> = <D - c, D - c>

and sigma^2 dD/dx is a covariance, so the Jacobian is symmetric.

References:
    Robbins, An Empirical Bayes Approach to Statistics, 1956; Efron, Tweedie's Formula and
    Selection Bias, 2011. https://doi.org/10.1198/jasa.2011.tm11181
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import interpolate

from ...errors import FileError, SettingError
from ...priors import zoo
from ...priors.base import Denoiser
from ...priors.latent import LatentDenoiser
from ...priors.tiles import Tiled
from ...tensors import SampleNoise, Signal, device_at_hand
from .files import PICTURE_SUFFIXES, read_picture

LEVELS = 8
SAMPLING_STEPS = 25
TOLERANCE = 0.15
"""How far from 1 a ratio may be, of few pictures and a network that has learned enough."""


@dataclass(frozen=True)
class LevelCheck:
    """What was found at one noise level; a ratio is 1 for a conditional mean.

    Attributes:
        sigma: The level.
        error_to_noise: |D - x0| / |x - x0|, below 1 for a denoiser.
        error_to_data: |D - x0| / |x0 - c|, not much above 1 for one.
        calibration: <D - c, x0 - c> / <D - c, D - c>.
        pythagoras: (|x - D|^2 + |D - x0|^2) / |x - x0|^2.
        across: <D - c, D(x') - c> / <D - c, D - c>, x' at the level below; 1 at the lowest.
        asymmetry: |J v - J^T v| / |J v| for one random v.
    """

    sigma: float
    error_to_noise: float
    error_to_data: float
    calibration: float
    pythagoras: float
    across: float
    asymmetry: float

    @property
    def denoises(self) -> bool:
        return self.error_to_noise < 1 and self.error_to_data < 1 + TOLERANCE

    @property
    def is_mean(self) -> bool:
        """Whether the ratios that the data determine are near 1."""
        ratios = [self.pythagoras]
        if self.error_to_data < 0.5:
            ratios += [self.calibration, self.across]
        return all(abs(ratio - 1) < TOLERANCE for ratio in ratios)


@dataclass(frozen=True)
class Examination:
    """What was found out about a prior.

    Attributes:
        levels: From the lowest noise level up.
        low: The lowest value in the clean pictures.
        high: The highest.
        own: Whether these are the prior's own samples.
        seconds: Of a call, for one picture.
        gradient_seconds: Of a call and its gradient.
        gradient_mb: What the gradient keeps, beside the weights.
        weights_mb: The weights.
    """

    levels: list[LevelCheck]
    low: float
    high: float
    own: bool
    seconds: float
    gradient_seconds: float
    gradient_mb: float
    weights_mb: float

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against the prior."""
        return all(level.denoises and level.is_mean for level in self.levels) and not self._range

    @property
    def verdict(self) -> str:
        """In words: is it a denoiser, on which levels, and what is odd about it."""
        good = [level.sigma for level in self.levels if level.denoises]
        if not good:
            return "Not a denoiser: at no level does it come closer to the picture than the noise."
        said = [f"A denoiser for sigma of {good[0]:.3g} to {good[-1]:.3g}."]
        bad = [level.sigma for level in self.levels if not level.denoises]
        if bad:
            said.append(f"Not one at {_list(bad)}: do not go there.")
        odd = [level.sigma for level in self.levels if level.denoises and not level.is_mean]
        if odd:
            said.append(
                f"Its prediction is no conditional mean at {_list(odd)}: the schedule or the "
                "range of its data may be another than its card says."
            )
        twisted = [level.sigma for level in self.levels if level.asymmetry > 0.5]
        if twisted:
            said.append(
                f"Its Jacobian is far from symmetric at {_list(twisted)}: let PiGDM use the vjp."
            )
        return " ".join([*said, self._range]).strip()

    @property
    def _range(self) -> str:
        if self.own and self.high <= 1.1 and self.low > -0.2:
            return f"Its pictures lie in [{self.low:.2f}, {self.high:.2f}], not in [-1, 1]."
        if max(-self.low, self.high) > 2:
            return f"Its pictures go from {self.low:.3g} to {self.high:.3g}, far beyond [-1, 1]."
        return ""


def _list(sigmas: list[float]) -> str:
    return ", ".join(f"{sigma:.3g}" for sigma in sigmas)


def examine(
    card: zoo.Card,
    pictures: Path | None = None,
    count: int = 4,
    size: int = 0,
    label: int | None = None,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Examination:
    """Looks at a prior from all sides.

    Args:
        card: Which.
        pictures: A folder of clean pictures that it was made for; None for its own samples.
        count: How many to look at.
        size: Their side, if the prior takes any; 0 for 64.
        label: Their class, if the prior wants one.
        seed: Of the noise.
        watch: Called as (calls done, calls in all).

    Raises:
        HDaggerError: The prior cannot be loaded, or there are no pictures.
    """
    if not 1 <= count <= 64:
        raise SettingError(f"Wanted 1 to 64 pictures, but got --count {count}. Try 4.")
    if not 0 <= size <= 1024:
        raise SettingError(f"Wanted a side of 1 to 1024, but got --size {size}. Try 64.")
    device = device_at_hand()
    network = zoo.load(card, device)
    done, own = 0, pictures is None
    total = (SAMPLING_STEPS if own else 0) + 3 * LEVELS + 2

    def prior(x: Signal, sigma: Tensor) -> Signal:
        nonlocal done
        done += 1
        watch(min(done, total), total)
        rows = None if label is None else torch.full((len(x),), label, device=x.device)
        return network(x, sigma, rows)

    shape = (card.channels, *(2 * [card.size or size or 64]))
    with torch.no_grad():
        if pictures is None:
            code = network.code_shape(shape) if isinstance(network, LatentDenoiser) else shape
            noise = SampleNoise(seed, [(k, 0) for k in range(count)], device)
            x0 = sampled(prior, (count, *code), min(card.sigma_max, 80.0), noise)
        else:
            x0 = gathered(pictures, count, shape).to(device)
            x0 = network.encode(x0) if isinstance(network, LatentDenoiser) else x0
    noise = SampleNoise(seed, [(k, 1) for k in range(len(x0))], device)
    module = network.prior if isinstance(network, Tiled) else network
    assert isinstance(module, nn.Module)
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    sigmas = torch.logspace(-2, 1.6, LEVELS, dtype=torch.float64, device=device)
    sigmas = sigmas.clamp(card.sigma_min, card.sigma_max).unique()
    return Examination(
        check_levels(prior, x0, sigmas, noise),
        float(x0.quantile(0.001)) if x0.numel() < 1e7 else float(x0.min()),
        float(x0.quantile(0.999)) if x0.numel() < 1e7 else float(x0.max()),
        own,
        *price(prior, x0[:1], sigmas[len(sigmas) // 2], weights),
        weights_mb=card.weights.stat().st_size / 1e6,
    )


def check_levels(
    prior: Denoiser, x0: Signal, sigmas: Tensor, noise: Callable[[tuple[int, ...]], Tensor]
) -> list[LevelCheck]:
    """Checks a denoiser on clean signals, at levels that rise."""
    found, x, c = [], x0, x0.mean()
    before, below = torch.zeros_like(sigmas[0]), x0
    for sigma in sigmas:
        x = x + (sigma**2 - before**2).sqrt() * noise(tuple(x.shape)).to(x)
        with torch.no_grad():
            D = prior(x, sigma)
        error, power = (D - x0).square().sum(), (D - c).square().sum()
        whole = (x - x0).square().sum()
        found.append(
            LevelCheck(
                float(sigma),
                float((error / whole).sqrt()),
                float((error / (x0 - c).square().sum()).sqrt()),
                float(((D - c) * (x0 - c)).sum() / power),
                float(((x - D).square().sum() + error) / whole),
                float(((D - c) * (below - c)).sum() / power) if found else 1.0,
                asymmetry(prior, x[:1], sigma, noise(tuple(x.shape))[:1].to(x)),
            )
        )
        before, below = sigma, D
    return found


def asymmetry(prior: Denoiser, x: Signal, sigma: Tensor, v: Signal) -> float:
    """|J v - J^T v| / |J v|, J v by forward-mode and J^T v by backward-mode differentiation."""
    with sdpa_kernel(SDPBackend.MATH):  # the others know no forward mode
        Jv = torch.func.jvp(lambda x: prior(x, sigma), (x,), (v,))[1]
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (JTv,) = torch.autograd.grad(prior(x, sigma), x, v)
    return float((Jv - JTv).norm() / Jv.norm())


def price(
    prior: Denoiser, x: Signal, sigma: Tensor, weights: set[int]
) -> tuple[float, float, float]:
    """Seconds of a call, seconds of a call with its gradient, and the MB that this keeps.

    Args:
        prior: The denoiser.
        x: One noisy signal.
        sigma: Its level.
        weights: Addresses of what is in memory anyway.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    started = time.perf_counter()
    with torch.no_grad():
        prior(x, sigma)
    middle = time.perf_counter()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        x = x.detach().requires_grad_()
        D = prior(x, sigma)
        torch.autograd.grad(D, x, x)
    return middle - started, time.perf_counter() - middle, sum(kept.values()) / 1e6


def sampled(
    prior: Denoiser,
    shape: tuple[int, ...],
    high: float,
    noise: Callable[[tuple[int, ...]], Tensor],
) -> Signal:
    """Samples of the prior itself, along the ODE."""
    levels = torch.linspace(high ** (1 / 7), 0.02 ** (1 / 7), SAMPLING_STEPS).double() ** 7
    x = high * noise(shape)
    for sigma, lower in pairwise([*levels, levels.new_zeros(())]):
        D = prior(x, sigma)
        x = D + lower / sigma * (x - D)
    return x


def gathered(folder: Path, count: int, shape: tuple[int, ...]) -> Signal:
    """The central squares of the first pictures in a folder, resized to a shape."""
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in PICTURE_SUFFIXES)[:count]
    if not paths:
        raise FileError(f"Wanted pictures, but {folder} has none. Give a folder with PNG files.")
    return torch.cat([_square(read_picture(path).pixels, shape) for path in paths])


def _square(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    channels, height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[None, :, top : top + side, left : left + side]
    if channels != shape[0]:
        square = square.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    return interpolate(square, shape[1:], mode="bicubic", antialias=True)
