"""Objects in, posterior samples out: the one loop over batches.

:func:`solve` runs any method with any denoiser on any problem. It owns the streams of noise, the
casts to the network's precision, the count of its evaluations and the check of the residual.
What is the same bits: the noise of sample k of item i, whatever the batch, the order and the
number of samples. What a network makes of it is the same to rounding: a batch of another size, or
another number of threads, moves a float32 network by about 1e-6, and a sample by some 1e-5.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from .answer import Walks
from .covariance import Isotropic, Uncertainty
from .diagnostics import residual_summary
from .errors import SettingError
from .operators.base import LinearOperator, Operator
from .priors.base import Denoiser, moments
from .problem import Problem
from .samplers import METHODS
from .samplers.base import Sampler
from .samplers.walk import check_steps, karras_levels
from .samples import PosteriorSamples
from .settings import settings_of
from .tensors import Level, SampleNoise, Signal

Answer = TypeVar("Answer")

Watch: TypeAlias = Callable[[int, int], None]
"""Called as (done, in all)."""

LOWEST, HIGHEST = 0.03, 80.0

FAR = 1e4
"""Deviations of an element of a signal beyond which a sample counts as diverged."""

BFLOAT16 = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
"""Whether the processor computes in bfloat16, twice as fast as in float32."""

UNKNOWN = Isotropic()
"""What is known of a prior of which nothing was said."""

TOGETHER = {"cpu": 2**18, "cuda": 2**24}
"""Numbers in the signals of one batch, at most, if they are more than one signal: no more than in
a picture of 300 x 300. Nine of 96 x 96 at once take a processor half of the time of one by one."""


def unwatched(done: int, total: int) -> None:
    """Nobody watches."""


def solve(
    prior: Denoiser,
    problem: Problem,
    method: Sampler[Any],
    *,
    levels: Tensor | None = None,
    samples: int = 4,
    seed: int = 0,
    item: int = 0,
    batch: int | None = None,
    uncertainty: Uncertainty = UNKNOWN,
    watch: Watch = unwatched,
) -> PosteriorSamples:
    """Draws posterior samples.

    Args:
        prior: Any function D(x, sigma) -> E[x0 | x] for x = x0 + sigma noise, x being
            ``(batch, *signal)`` and sigma ``()``. A module gets its own precision.
        problem: The data of one measurement, their operator and noise: see :meth:`Problem.of`.
            Its precision and device are those of the state.
        method: A sampler with its settings.
        levels: Noise levels, decreasing, the last one 0; by default as many as the method
            finds enough, from 80 down to a quarter of the noise.
        samples: How many to draw; of a method that draws groups, rounded up to whole ones.
        seed: Of the noise.
        item: Which measurement this is, for noise of its own.
        batch: How many to draw at once; by default as many as keep a batch small.
        uncertainty: What is known of the prior's covariances, for methods that ask; by default
            that its signals have a variance of 1.
        watch: Called after every step.

    Raises:
        OperatorAbilityError: The method asks for more than the operator can do.
        SettingError: A setting is out of range, or the samples are not finite.

    Example:
        >>> from hdagger.operators.spectral import Inpainting
        >>> from hdagger.samplers.ddrm import DDRM
        >>> seen = torch.tensor([True, False, True])
        >>> problem = Problem.of(torch.tensor([1.0, 0.0, -1.0]), Inpainting(seen), 0.1)
        >>> white = lambda x, sigma: x / (1 + sigma**2)
        >>> solve(white, problem, DDRM(), samples=100).mean.shape
        torch.Size([3])
    """
    if isinstance(samples, bool) or not 1 <= samples <= 100_000 or samples != int(samples):
        raise SettingError(f"Wanted 1 to 100000 samples, but got {samples}. Try 4.")
    if not 0 <= seed < 2**63:
        raise SettingError(f"Wanted a seed of 0 or more, but got {seed}. Try 0.")
    method = method.fitted(problem, uncertainty)
    method.require(problem)
    samples = -(-samples // method.group) * method.group
    y, H = problem.y, problem.H
    if levels is None:
        levels = levels_for(problem, method.enough)
    levels = levels.to(y.device)
    batch = _batch(batch, samples, H, y.device.type, method.group)
    rough = method.rough_calls and y.device.type == "cpu" and BFLOAT16
    network = Network(prior, rough, method.differs)
    batches = [range(first, min(first + batch, samples)) for first in range(0, samples, batch)]
    done, total, started = 0, (len(levels) - 1) * len(batches), time.perf_counter()

    def count(step: object) -> None:
        nonlocal done
        done += 1
        watch(done, total)

    walks = Walks()

    def draw(numbers: range) -> tuple[Signal, dict[str, Tensor]]:
        rows = problem.rows(len(numbers))
        noise = SampleNoise(seed, [(item, k) for k in numbers], y.device, _precision(y))
        state = method.run(network, rows, levels, noise, count, controlled=samples > 1)
        x = method.finish(state, rows)
        walks.add(x, method.controls(state, rows))
        return x, method.known(state)

    parts, known = zip(*(draw(numbers) for numbers in batches), strict=True)
    x = parts[0] if len(parts) == 1 else torch.cat(parts)
    del parts
    name = METHODS.name_of(method)
    if not x.abs().max() <= FAR * uncertainty.data_variance**0.5:
        steps = len(levels) - 1
        raise SettingError(
            f"Wanted samples that a signal can be, but {name} diverged in {steps} steps. "
            "Look whether the data came about as was said, say their noise, or take more steps."
        )
    provenance = {
        "method": name,
        "settings": settings_of(method),
        "steps": len(levels) - 1,
        "samples": samples,
        "seed": seed,
        "item": item,
        "batch": batch,
        "precision": str(_precision(y)).removeprefix("torch."),
        "network_precision": network.precision,
        "hdagger": version("hdagger"),
        "nfe": network.nfe // len(batches),
        "seconds": round(time.perf_counter() - started, 3),
        **residual_summary(x, problem),
    }
    names = known[0]
    together = {n: torch.cat([k[n] for k in known]) for n in names}
    return PosteriorSamples(x, provenance, together, walks.mean())


class Network:
    """A denoiser that is given its own precision, and whose evaluations are counted.

    Args:
        prior: A module computes in the precision of its first parameter; any other function
            is given the state as it is, and float32 if it refuses that.
        rough: Whether its convolutions and products of matrices may be in bfloat16.
        differs: At which levels they may not, since differences of it are taken.

    Attributes:
        nfe: Calls so far. A call evaluates the network once, for a whole batch.
    """

    def __init__(
        self,
        prior: Denoiser,
        rough: bool = False,
        differs: Callable[[Level], bool] = lambda sigma: False,
    ) -> None:
        self.prior = prior
        self.nfe = 0
        self.rough = rough
        self.differs = differs
        self.dtype: torch.dtype | None = None
        if isinstance(prior, nn.Module):
            own = (p.dtype for p in prior.parameters() if p.is_floating_point())
            self.dtype = next(own, None)

    @property
    def precision(self) -> str:
        """What it computes in, as far as that is known."""
        if self.rough:
            return "bfloat16"
        return str(self.dtype or "its own").removeprefix("torch.")

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        return self._called(self.prior, x, sigma).to(x)

    def moments(self, x: Signal, sigma: Level) -> tuple[Signal, Signal | None]:
        """See :func:`hdagger.priors.base.moments`."""
        D, variance = self._called(partial(moments, self.prior), x, sigma)
        return D.to(x), None if variance is None else variance.to(x)

    def _called(self, call: Callable[[Signal, Level], Answer], x: Signal, sigma: Level) -> Answer:
        self.nfe += 1
        with torch.autocast("cpu", torch.bfloat16, self.rough and not self.differs(sigma)):
            if self.dtype is None:
                try:
                    return call(x, sigma)
                except RuntimeError as error:
                    if x.dtype != torch.float64 or "ouble" not in str(error):
                        raise
                    self.dtype = torch.float32
            return call(x.to(self.dtype), sigma.to(self.dtype))


def levels_for(
    problem: Problem,
    steps: int,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    within: tuple[float, float] = (0.0, math.inf),
    share: float = 0.25,
) -> Tensor:
    """The noise levels to walk down, ``(steps + 1,)``.

    Args:
        problem: What is solved.
        steps: How many.
        lowest: Where to stop, unless the noise of the data as the signal sees it,
            sigma_y / |H|, asks for less.
        highest: Where to begin.
        within: The levels that a prior was trained on, beyond which none lies.
        share: Of that noise, which is low enough.
    """
    check_steps(steps)
    if problem.sigma_y > 0:
        norm = problem.H.norm if isinstance(problem.H, LinearOperator) else 1.0
        lowest = min(lowest, share * problem.sigma_y / norm)
    high = min(highest, within[1])
    return karras_levels(steps, low=max(lowest, within[0], high / 1e5), high=high)


def _batch(asked: int | None, samples: int, H: Operator, device: str, group: int) -> int:
    if asked is not None and asked < 1:
        raise SettingError(f"Wanted batches of 1 or more, but got {asked}. Leave it out.")
    fits = TOGETHER.get(device, TOGETHER["cuda"]) // math.prod(H.signal_shape)
    batch = min(asked or max(1, fits), samples)
    return -(-batch // group) * group


def _precision(y: Tensor) -> torch.dtype:
    return y.dtype.to_real() if y.is_complex() else y.dtype
