"""The one pipeline: a recipe and a measurement become posterior samples.

Only this module knows the samplers and the priors by name; the command line, a TOML file and
any other face make a :class:`Recipe` and call :func:`restore`.
"""

import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from .diagnostics import seen_residual
from .domains.pictures.words import Arrays, operator_for_signal, operator_of
from .errors import FileError, SettingError, ShapeError
from .files import check_file
from .measurement import Measurement
from .operators.base import AlignedOperator, Operator, PinvOperator, SVDOperator
from .operators.decoded import Decoded
from .operators.quantisation import Quantiser
from .priors import zoo
from .priors.base import Counted, Denoiser
from .priors.latent import LatentDenoiser
from .samplers.base import Problem, Sampler, check_steps, karras_levels
from .samplers.cells import Cells
from .samplers.ddim import DDIM
from .samplers.ddrm import DDRM
from .samplers.guidance import DPS, ReconstructionGuidance
from .samplers.integrators import Multistep
from .samplers.pigdm import PiGDM
from .samplers.projection import Projection
from .samplers.tmpd import TMPD
from .samples import PosteriorSamples
from .tensors import SampleNoise
from .verdicts import fingerprint, stored

LOWEST, HIGHEST = 0.03, 80.0


@dataclass(frozen=True)
class Method:
    """A sampler and what it works well with.

    Attributes:
        make: (prior, variance of one element of a clean signal, noise on the data) -> the
            sampler.
        steps: Network evaluations that are enough, by default.
        anchored: Whether it starts at what the data show, so that the highest noise level
            need only swamp what they leave open.
    """

    make: Callable[[Denoiser, float, float], Sampler]
    steps: int
    anchored: bool = False


def _ddrm(prior: Denoiser, variance: float, sigma_y: float) -> Sampler:
    """With exact data, eta = 1 is 0.5 dB closer in PSNR; with noise 0.85 keeps to the data."""
    return DDRM(prior, eta=0.85 if sigma_y > 0 else 1.0)


def _pigdm(prior: Denoiser, variance: float, sigma_y: float) -> Sampler:
    """Without a backward pass: as good, and the memory of inference alone (docs/trust.md)."""
    return PiGDM(prior, data_variance=variance, jacobian="difference")


def _tmpd(prior: Denoiser, variance: float, sigma_y: float) -> Sampler:
    return Multistep(TMPD(prior, eta=0.0, iterations=5))


METHODS: dict[str, Method] = {
    "ddrm": Method(_ddrm, 20, anchored=True),
    "pigdm": Method(_pigdm, 50),
    "cells": Method(lambda prior, variance, sigma_y: Cells(prior), 12),
    "tmpd": Method(_tmpd, 30),
    "projection": Method(lambda prior, variance, sigma_y: Projection(prior), 20),
    "reconstruction": Method(lambda prior, variance, sigma_y: ReconstructionGuidance(prior), 100),
    "dps": Method(lambda prior, variance, sigma_y: DPS(prior), 200),
    "ddim": Method(lambda prior, variance, sigma_y: DDIM(prior), 20),
}


@dataclass(frozen=True)
class Recipe:
    """How to draw samples.

    Attributes:
        method: A name in ``METHODS``; ``"auto"`` is cells where the data are rounded (a
            JPEG), ddrm where the operator has a singular value decomposition, else pigdm.
        steps: Noise levels to walk down; 0 for the method's own number.
        samples: How many to draw.
        seed: Of the noise. Sample k is the same whatever the number of samples.
        prior: A prior that is bundled or was added, or a .safetensors file.
        label: The class to restore towards, for a prior with classes; None for any.
        guidance: How far: p(x) p(label | x)^guidance.
        save_memory: Compute a large network's blocks twice under a gradient, and keep less.
    """

    method: str = "auto"
    steps: int = 0
    samples: int = 4
    seed: int = 0
    prior: str = "photo"
    label: int | None = None
    guidance: float = 1.0
    save_memory: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("auto", *METHODS):
            raise SettingError(
                f"Wanted a method, one of auto, {', '.join(METHODS)}, but got {self.method!r}. "
                "Leave it out for the best one."
            )
        if not 1 <= self.samples <= 1000:
            raise SettingError(f"Wanted 1 to 1000 samples, but got {self.samples}. Try 4.")
        if not 0 <= self.steps <= 10_000:
            raise SettingError(f"Wanted 1 to 10000 steps, but got {self.steps}. Try 20.")
        if not 0 <= self.seed < 2**63:
            raise SettingError(f"Wanted a seed of 0 or more, but got {self.seed}. Try 0.")
        if not 0 <= self.guidance <= 100:
            raise SettingError(f"Wanted a guidance of 0 to 100, but got {self.guidance}. Try 1.")

    def to_toml(self) -> str:
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())

    @classmethod
    def from_toml(cls, path: Path) -> "Recipe":
        """Reads what ``to_toml`` wrote.

        Raises:
            FileError: It is no TOML.
            SettingError: It names a setting that does not exist, or one out of range.
        """
        check_file(path, "a recipe")
        try:
            return cls(**tomllib.loads(path.read_text()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileError(f"Wanted TOML, but {path} is not ({error}). Mend it.") from error
        except TypeError as error:
            known = ", ".join(entry.name for entry in fields(cls))
            raise SettingError(
                f"Wanted the settings {known}, but {path} has others ({error}). Remove them."
            ) from error


def measure(x: Tensor, text: str, arrays: Arrays, sigma_y: float, seed: int = 0) -> Measurement:
    """Simulates a measurement of one clean signal, with Gaussian noise.

    Args:
        x: The signal, ``(channels, height, width)`` in [-1, 1].
        text: The operator's text form.
        arrays: What the operator needs beyond its text.
        sigma_y: Standard deviation of the noise, in the units of x.
        seed: Of the noise.
    """
    H = operator_for_signal(text, tuple(x.shape), arrays)
    clean = H(x[None].double())
    noise = SampleNoise(seed, [(0,)])(tuple(clean.shape))
    if isinstance(H, AlignedOperator):
        noise = noise * H.observed.to(noise).view(clean.shape)
    return Measurement((clean + sigma_y * noise)[0], text, sigma_y, dict(arrays), H.signal_shape)


def restore(
    recipe: Recipe,
    measurement: Measurement,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> PosteriorSamples:
    """Draws posterior samples of what was measured.

    A gray picture is a colour picture whose chroma is known to be zero: its data are given to
    all three channels, with the noise that leaves the gray axis as certain as it was, and the
    samples' mean over the channels is returned.

    Args:
        recipe: How.
        measurement: What was measured.
        watch: Called as (steps done, steps in all) after every step.

    Raises:
        HDaggerError: Something in the recipe or the measurement does not fit the other.
    """
    card = zoo.card(recipe.prior)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = zoo.load(card, device, recipe.save_memory)
    counted = Counted(network)
    prior = zoo.towards(counted, card, recipe.label, recipe.guidance, device)
    seen, H = measurement, operator_of(measurement)
    gray = H.signal_shape[0] == 1 and card.channels == 3
    if gray:
        seen = three_copies(measurement, H.signal_shape)
        H = operator_of(seen)
    H, y, sigma_y = H.to(device), seen.y.to(device)[None], seen.sigma_y
    if H.signal_shape[0] != card.channels:
        raise ShapeError(
            f"{card.name} is a prior of {card.channels} channels, but the signal has "
            f"{H.signal_shape[0]}. Restore the channels one by one."
        )
    if isinstance(network, LatentDenoiser):
        code_shape = network.code_shape(H.signal_shape)
        H = Decoded(H, network.decode, network.encode, code_shape)
    name = best_for(H) if recipe.method == "auto" else recipe.method
    method = METHODS[name]
    steps = recipe.steps or method.steps
    levels = levels_for(method, steps, H, sigma_y, card.sigma_max).to(device)
    sampler = method.make(prior, card.data_variance, sigma_y)

    batch = 1 if device == "cpu" else recipe.samples
    total, done, started = steps * -(-recipe.samples // batch), 0, time.perf_counter()
    draws = []
    for first in range(0, recipe.samples, batch):
        rows = [(0, k) for k in range(first, min(first + batch, recipe.samples))]
        problem = Problem(y.expand(len(rows), *y.shape[1:]), H, sigma_y)

        def count(step: object) -> None:
            nonlocal done
            done += 1
            watch(done, total)

        draws.append(
            sampler.sample(problem, levels, SampleNoise(recipe.seed, rows, device), count)
        )
    x = torch.cat(draws)
    whole = Problem(y.expand(len(x), *y.shape[1:]), H, sigma_y)
    if isinstance(H, Quantiser):
        x = H.settle(x, whole.y)
    seconds = time.perf_counter() - started
    if not x.isfinite().all():
        raise SettingError(
            f"Wanted finite samples, but {name} diverged in {steps} steps. "
            "Take more --steps, or --method ddrm."
        )
    sha256 = card.sha256 or fingerprint(card.weights)
    provenance = {
        "recipe": asdict(recipe) | {"method": name, "steps": steps},
        "operator": measurement.operator,
        "sigma_y": measurement.sigma_y,
        "prior": card.name,
        "prior_sha256": sha256,
        "checks": [
            asdict(found) for found in stored(card.weights, sha256) if found.method == name
        ],
        "hdagger": version("hdagger"),
        "nfe": counted.nfe // len(draws),
        "seconds": round(seconds, 3),
        **residual_check(x, whole, gray),
    }
    if isinstance(H, Quantiser):
        provenance["kept"] = round(H.kept(x, whole.y), 6)
    if isinstance(network, LatentDenoiser):
        with torch.no_grad():
            x = torch.cat([network.decode(z[None]) for z in x])
    x = x.mean(dim=1, keepdim=True) if gray else x
    return PosteriorSamples(x.float().cpu(), provenance)


def best_for(H: Operator) -> str:
    """The method that ``"auto"`` stands for."""
    fits = {Quantiser: "cells", SVDOperator: "ddrm", Operator: "pigdm"}
    return next(name for rung, name in fits.items() if isinstance(H, rung))


def three_copies(gray: Measurement, signal_shape: tuple[int, ...]) -> Measurement:
    """The same for a signal of three channels, each measured like the gray one.

    With sqrt(3) times the noise the three together know the gray axis as well as it was.
    """
    return Measurement(
        torch.cat([gray.y] * 3),
        gray.operator,
        3**0.5 * gray.sigma_y,
        gray.arrays | {"copies": torch.tensor(True)},
        (3, *signal_shape[1:]),
    )


def levels_for(
    method: Method, steps: int, H: Operator, sigma_y: float, highest: float = HIGHEST
) -> Tensor:
    """The noise levels to walk down: none wasted where nothing is left to decide.

    The lowest is a quarter of the noise on the data, at most LOWEST. The highest is HIGHEST, or,
    for a method that starts at what the data show, half of the side of the largest square that
    they leave open: the mean of such a square is then as uncertain as a pixel of the prior. It is
    not above ``highest``, the prior's own.
    """
    check_steps(steps)
    if isinstance(H, Quantiser):
        return karras_levels(steps, low=min(0.1, H.pixel_error / 8), high=8.0)
    low = min(LOWEST, sigma_y / 4) if sigma_y > 0 else LOWEST
    high = min(HIGHEST, highest)
    if method.anchored and isinstance(H, PinvOperator):
        high = min(high, max(2.0, unseen_side(H) / 2))
    return karras_levels(steps, low=max(low, 0.002), high=high)


def unseen_side(H: PinvOperator) -> int:
    """Side, a power of two, of the largest square of pixels that the data say nothing about.

    Random signs on a grid of squares, one for each channel, are sent through H and back; a
    square counts as unseen if less than a twentieth of its energy returns.
    """
    channels, height, width = H.signal_shape
    generator = torch.Generator().manual_seed(0)
    found, side = 1, 2
    while side <= min(height, width):
        rows, columns = -(-height // side), -(-width // side)
        signs = torch.randint(2, (1, channels, rows, columns), generator=generator) * 2.0 - 1.0
        squares = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)
        x = squares[:, :, :height, :width].to(next(H.buffers()).device, torch.float64)
        lost = H.null(x).square().mean(dim=1, keepdim=True)
        if torch.nn.functional.avg_pool2d(lost, side).max() > 0.95:
            found = side
        side *= 2
    return found


def residual_check(x: Tensor, problem: Problem, gray: bool) -> dict[str, float | None]:
    """Is the residual y - H(x) what noise of sigma_y would leave?

    Returns:
        ``chi2_dof``: the mean square of the residual over sigma_y^2, 1 for a sample that is
        right, None for data without noise; ``residual_max``: its largest element.
    """
    residual = seen_residual(x, problem)
    chi2 = None
    if problem.sigma_y > 0:
        freedom = max(1, problem.H.rank) / (3 if gray else 1)
        mean_square = residual.square().flatten(1).sum(1).mean() / freedom
        chi2 = round(float(mean_square / problem.sigma_y**2), 4)
    return {"chi2_dof": chi2, "residual_max": float(residual.abs().max())}
