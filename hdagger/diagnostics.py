"""Are these samples what they claim to be? Every check takes samples, never a sampler.

Two kinds. Of one measurement: does what was drawn explain the data (``residual_chi2``)? Of
many simulated ones, whose truth is known: is the truth a typical draw (``coverage``,
``hpd_coverage``, ``sbc``, ``tarp``)? Where exact draws are at hand, two sets of samples are
compared (``wasserstein``, ``classifier_test``), always beside what chance leaves.

Simulations have the axes ``(simulation, draw, element)``, their truths ``(simulation, element)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .errors import SettingError
from .operators.base import SVDOperator
from .problem import Problem
from .tensors import Signal

Samples = Float[Tensor, "count n"]
Others = Float[Tensor, "others n"]
Truths = Float[Tensor, "simulations n"]
Draws = Float[Tensor, "simulations draws n"]


def residual_chi2(x: Signal, problem: Problem) -> Float[Tensor, " batch"]:
    """|y - H x|^2 / (rank sigma_y^2) of each sample: about 1 where it explains the data.

    Over many measurements the mean is 1 if the samples are right; sqrt(2 / rank) either way
    is chance.
    """
    squares = seen_residual(x, problem).flatten(1).abs().square().sum(1)
    return squares / (max(1, problem.H.rank) * problem.sigma_y**2)


def chi2_of(x: Signal, problem: Problem) -> tuple[float, list[float]]:
    """:func:`residual_chi2` of the mean of samples, and of each.

    That of a sample is 1 within 3 sqrt(2 / rank) where all is well; that of the mean is less by
    what the mean takes from the noise.
    """
    rows = torch.cat([x.mean(0, keepdim=True), x])
    of_mean, *of_samples = (float(residual_chi2(row[None], problem)) for row in rows)
    return of_mean, of_samples


def seen_residual(x: Signal, problem: Problem) -> Tensor:
    """y - H(x), of an operator with singular values only what it can see, in its basis."""
    H, residual = problem.H, problem.residual(x)
    if isinstance(H, SVDOperator):
        residual = H.Ut(residual)[:, : H.singular_values.shape[-1]] * H.observed
    return residual


def residual_summary(x: Signal, problem: Problem) -> dict[str, float | None]:
    """Is the residual y - H(x) what noise of sigma_y would leave?

    Args:
        x: Samples of one measurement.
        problem: The measurement, one row.

    Returns:
        ``chi2_dof``: the mean of ``residual_chi2``, 1 for samples that are right, None for data
        without noise; ``residual_max``: the largest element of the residual.
    """
    largest, chi2 = 0.0, []
    for row in x:
        residual = seen_residual(row[None], problem)
        largest = max(largest, float(residual.abs().max()))
        chi2.append(float(residual.abs().square().sum()))
    freedom = max(1, problem.H.rank) * problem.sigma_y**2
    mean = sum(chi2) / len(chi2) / freedom if freedom > 0 else None
    return {"chi2_dof": None if mean is None else round(mean, 4), "residual_max": largest}


def levels_shown(levels: Sequence[float], count: int) -> tuple[float, ...]:
    """Those levels whose central interval can be told from ``count`` draws.

    The widest interval that n draws span, from the least to the largest, holds another draw of
    the same law with probability (n - 1) / (n + 1): 19 draws show 90 % and not 95 %.
    """
    return tuple(level for level in levels if _end(level, count) > 1 - 1e-9)


def _end(level: float, count: int) -> float:
    """The rank, from 1, of the lower end of a central interval."""
    return (1 - level) * (count + 1) / 2


def central_interval(
    samples: Float[Tensor, "count *shape"], level: float
) -> tuple[Tensor, Tensor]:
    """The interval that leaves out as much below as above, ``(*shape)`` each.

    Its ends are at the ranks (1 -+ level) (count + 1) / 2, between two samples where those are
    no whole numbers: another draw of the same law falls inside with probability ``level``.

    Raises:
        SettingError: The samples are too few to show this level.
    """
    ordered, count = samples.sort(0).values, len(samples)
    if not levels_shown((level,), count):
        raise SettingError(
            f"Wanted a {100 * level:g} % interval, but got {count} samples, which show "
            f"{100 * (count - 1) / (count + 1):.3g} % at most. "
            f"Draw {math.ceil(2 / (1 - level) - 1e-9) - 1} or more."
        )
    rank = min(max(_end(level, count) - 1, 0), count - 1)
    below, part = int(rank), rank - int(rank)
    above = min(below + 1, count - 1)
    low = torch.lerp(ordered[below], ordered[above], part)
    high = torch.lerp(ordered[count - 1 - below], ordered[count - 1 - above], part)
    return low, high


def student_reach(count: int, level: float) -> float:
    """How many standard deviations of ``count`` draws, either side of their mean, hold another.

    t sqrt(1 + 1 / count), t being Student's of count - 1 degrees of freedom: of a Gaussian law
    another draw falls inside with probability ``level``, however few the draws are.
    """
    if count < 2:
        raise SettingError(f"An interval wants 2 draws or more, but got {count}. Draw more.")
    return student(count - 1, level) * math.sqrt(1 + 1 / count)


def student_interval(
    samples: Float[Tensor, "count *shape"], level: float
) -> tuple[Tensor, Tensor]:
    """mean -+ reach * std, ``(*shape)`` each: right for a Gaussian law, from 2 samples on."""
    reach = student_reach(len(samples), level) * samples.std(0)
    return samples.mean(0) - reach, samples.mean(0) + reach


def interval(samples: Float[Tensor, "count *shape"], level: float) -> tuple[Tensor, Tensor]:
    """By rank where there are enough samples to show this level, else Student's."""
    enough = levels_shown((level,), len(samples))
    return (central_interval if enough else student_interval)(samples, level)


def held(
    samples: Float[Tensor, "count *shape"], truth: Float[Tensor, "*shape"], level: float
) -> Bool[Tensor, "*shape"]:
    """Where an :func:`interval` holds the truth: nowhere for a single sample, which has none."""
    if len(samples) < 2:
        return torch.zeros_like(truth, dtype=torch.bool)
    low, high = interval(samples, level)
    return (low <= truth) & (truth <= high)


@cache
def student(freedom: int, level: float) -> float:
    """The t with P(|T| < t) = level, of Student's T.

    P(|T| < sqrt(freedom) tan a) is a finite sum of powers of cos a; a is found by halving.

    References:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
        https://personal.math.ubc.ca/~cbm/aands/page_948.htm

    Example:
        >>> [round(student(n, 0.95), 3) for n in (1, 2, 11, 39)]
        [12.706, 4.303, 2.201, 2.023]
    """
    power = torch.tensor(range(freedom % 2, freedom - 1, 2), dtype=torch.float64)
    ratio = (power[:-1] + 1) / (power[:-1] + 2)
    weight = torch.cat([torch.ones_like(power[:1]), ratio]).cumprod(0)

    def inside(a: float) -> float:
        total = math.sin(a) * float((weight * math.cos(a) ** power).sum())
        return total if freedom % 2 == 0 else (a + total) * 2 / math.pi

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def coverage(truths: Truths, draws: Draws, level: float) -> float:
    """How often the truth lies in its central interval: ``level``, if the draws are right."""
    low, high = central_interval(draws.transpose(0, 1), level)
    return float(((truths >= low) & (truths <= high)).double().mean())


def hpd_coverage(log_truths: Tensor, log_draws: Tensor, level: float) -> float:
    """How often the truth lies among the ``level`` of the draws that are most probable.

    Args:
        log_truths: Log-density of each truth under its posterior, up to a constant,
            ``(simulations,)``.
        log_draws: That of the draws, ``(simulations, draws)``.
        level: The share.
    """
    share = (log_draws > log_truths[:, None]).double().mean(1)
    return float((share < level).double().mean())


@dataclass(frozen=True)
class Uniformity:
    """Ranks that are uniform if the draws are right, and a test of that.

    Attributes:
        ranks: Of each truth among its draws: 0 to the number of draws.
        chi2: Pearson's statistic over ``bins`` bins.
        p_value: Chance of a larger one.
    """

    ranks: Int[Tensor, "simulations n"]
    bins: int
    chi2: float
    p_value: float


def sbc(truths: Truths, draws: Draws, bins: int = 10) -> Uniformity:
    """Simulation-based calibration: where does the truth stand among its draws?

    A heap in the middle: too wide. At the ends: too narrow. Aside: biased. The test takes the
    elements of a truth as independent; give it a few that are.

    References:
        Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian Inference
        Algorithms with Simulation-Based Calibration, 2018. https://arxiv.org/abs/1804.06788
    """
    ranks = (draws < truths[:, None]).sum(1)
    bin_of = (ranks * bins) // (draws.shape[1] + 1)
    counts = torch.bincount(bin_of.flatten(), minlength=bins).double()
    possible = torch.arange(draws.shape[1] + 1) * bins // (draws.shape[1] + 1)
    expected = torch.bincount(possible, minlength=bins) * ranks.numel() / (draws.shape[1] + 1)
    chi2 = float(((counts - expected).square() / expected).sum())
    upper = torch.special.gammaincc(torch.tensor((bins - 1) / 2), torch.tensor(chi2 / 2))
    return Uniformity(ranks, bins, chi2, float(upper))


def tarp(
    truths: Truths, draws: Draws, generator: torch.Generator, levels: int = 19
) -> tuple[Tensor, Tensor]:
    """Tests of accuracy with random points: expected coverage of credible balls.

    A ball around a random point that just reaches the truth holds a uniform share of the
    draws, if and only if these are right; so the coverage equals the level.

    Returns:
        Levels and coverages, ``(levels,)`` each.

    References:
        Lemos, Coogan, Hezaveh and Perreault-Levasseur, Sampling-Based Accuracy Testing of
        Posterior Estimators for General Inference, ICML 2023. https://arxiv.org/abs/2302.03026
    """
    low, high = truths.min(0).values, truths.max(0).values
    points = torch.rand(truths.shape, generator=generator, dtype=truths.dtype)
    points = low + (high - low) * points
    reach = (truths - points).norm(dim=1)
    inside = ((draws - points[:, None]).norm(dim=2) < reach[:, None]).double().mean(1)
    level = torch.arange(1, levels + 1, dtype=torch.float64) / (levels + 1)
    return level, (inside[:, None] < level).double().mean(0)


@dataclass(frozen=True)
class Distance:
    """A distance between two sets of samples, beside what two sets of one law would show.

    Attributes:
        value: The distance.
        floor: The same between two disjoint halves of the reference, scaled to its size.
    """

    value: float
    floor: float

    def __str__(self) -> str:
        return f"{self.value:.3g} (floor {self.floor:.3g})"


def wasserstein(
    samples: Samples, reference: Others, slices: int, generator: torch.Generator
) -> tuple[Distance, Distance]:
    """Sliced Wasserstein-1 distance, and the largest of its slices, each beside its floor.

    Args:
        samples: One set.
        reference: Exact samples, twice as many: the first half is compared with ``samples``,
            the second half gives the floor.
        slices: How many directions are drawn.
        generator: Draws them.

    Returns:
        The mean over the slices and the largest.
    """
    first, second = reference.chunk(2)
    value, largest = sliced_wasserstein(samples, first, slices, generator)
    floor, largest_floor = sliced_wasserstein(second, first, slices, generator)
    return Distance(value, floor), Distance(largest, largest_floor)


def sliced_wasserstein(
    samples: Samples, reference: Samples, slices: int, generator: torch.Generator
) -> tuple[float, float]:
    """Wasserstein-1 distances along random directions: their mean and the largest of them.

    The mean shrinks as 1 / sqrt(n) for the same fault in one direction.

    Args:
        samples: One set.
        reference: Another, of the same size.
        slices: How many directions are drawn.
        generator: Draws them.

    References:
        Rabin, Peyre, Delon and Bernot, Wasserstein Barycenter and its Application to Texture
        Mixing, 2011. https://doi.org/10.1007/978-3-642-24785-9_37
    """
    directions = torch.randn(samples.shape[1], slices, generator=generator, dtype=samples.dtype)
    directions /= directions.norm(dim=0)
    ours, theirs = (samples @ directions).sort(0).values, (reference @ directions).sort(0).values
    distances = (ours - theirs).abs().mean(0)
    return float(distances.mean()), float(distances.max())


def classifier_test(
    samples: Samples, reference: Others, generator: torch.Generator, epochs: int = 200
) -> Distance:
    """Classifier two-sample test: how well a small network tells the two sets apart.

    Half of each set trains it; the accuracy on the other half is 0.5 if they are of one law.
    The floor is what chance reaches in one of 20 cases.

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017.
        https://arxiv.org/abs/1610.06545
    """
    x = torch.cat([samples, reference]).float()
    label = torch.cat([torch.zeros(len(samples)), torch.ones(len(reference))])
    order = torch.randperm(len(x), generator=generator)
    x, label = ((x - x.mean(0)) / x.std(0).clamp(min=1e-12))[order], label[order]
    half, width, n = len(x) // 2, 32, x.shape[1]
    with torch.enable_grad():
        first = torch.randn(n, width, generator=generator) / math.sqrt(n)
        second = torch.randn(width, width, generator=generator) / math.sqrt(width)
        weights = [first, torch.zeros(width), second, torch.zeros(width), torch.zeros(width)]
        for weight in weights:
            weight.requires_grad_()
        optimiser = torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1)

        def score(x: Tensor) -> Tensor:
            hidden = nn.functional.silu(x @ weights[0] + weights[1])
            return nn.functional.silu(hidden @ weights[2] + weights[3]) @ weights[4]

        for _ in range(epochs):
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(score(x[:half]), label[:half])
            loss.backward()
            optimiser.step()
    right = ((score(x[half:]) > 0).float() == label[half:]).double().mean()
    return Distance(float(right), 0.5 + 1.645 * 0.5 / math.sqrt(len(x) - half))
