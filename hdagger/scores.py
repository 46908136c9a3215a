"""How good are samples, judged by the truth? Proper scores, and where the intervals hold.

A score is proper if nobody expects a better one from other draws than those of the posterior.
Those here are fair too: their expectation is that of the law that is drawn from, however few
the draws are. Lower is better.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .errors import SettingError

Draws = Float[Tensor, "draws *signal"]
Truth = Float[Tensor, "*signal"]

SIDE = 8
"""Of the blocks whose elements are judged together."""


def fair_crps(draws: Draws, truth: Truth) -> Float[Tensor, "*signal"]:
    """The continuous ranked probability score of each element, fair.

    E|X - t| - E|X - X'| / 2, the second mean over pairs of different draws. For a Gaussian of
    deviation s around the truth it is s (sqrt(2) - 1) / sqrt(pi).

    References:
        Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, 2007,
        eq. 20 and 21. https://doi.org/10.1198/016214506000001437
        Ferro, Fair scores for ensemble forecasts, 2014, eq. 2.
        https://doi.org/10.1002/qj.2270
    """
    count = _count(draws)
    rank = torch.arange(count, dtype=draws.dtype, device=draws.device)
    weight = (2 * rank - count + 1).view(-1, *[1] * truth.ndim)
    apart = (weight * draws.sort(0).values).sum(0) / (count * (count - 1))
    return (draws - truth).abs().mean(0) - apart


def fair_energy(draws: Draws, truth: Truth, side: int = SIDE) -> float:
    """The energy score of blocks of neighbours, fair, and the mean over the blocks.

    |.| is the Euclidean norm of a block: side x side along the last two axes of a signal, through
    all of the others, and side^2 elements of a flat one. It also judges how elements hang
    together, which the ranked score of single elements does not. What is left at the edges is
    not looked at.

    References:
        Gneiting and Raftery, 2007, eq. 22. https://doi.org/10.1198/016214506000001437
    """
    count = _count(draws)
    x, t = blocks(draws, side), blocks(truth[None], side)
    near = (x - t).norm(dim=-1).mean(0)
    apart = sum((x[k + 1 :] - x[k]).norm(dim=-1).sum(0) for k in range(count - 1))
    return float((near - apart / (count * (count - 1))).mean())


def blocks(x: Float[Tensor, "rows *signal"], side: int) -> Float[Tensor, "rows blocks elements"]:
    """Signals cut into blocks of neighbours, each flat; axes before the last two are not cut."""
    if x.ndim == 2:
        x = x[:, None]
        high, wide = 1, min(side**2, x.shape[-1])
    else:
        high, wide = min(side, x.shape[-2]), min(side, x.shape[-1])
    rows, columns = x.shape[-2] // high, x.shape[-1] // wide
    layers = x.reshape(len(x), -1, *x.shape[-2:])
    cut = layers[..., : rows * high, : columns * wide]
    tiles = cut.unflatten(-1, (columns, wide)).unflatten(-3, (rows, high))
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def spread_and_error(draws: Draws, truth: Truth) -> tuple[float, float]:
    """What the draws vary by, and what their mean misses the truth by: means of squares.

    (1 + 1 / K) times the variance of K draws, and (mean - truth)^2: of draws of the posterior
    both have the same expectation, in whatever part of the signal they are looked at.

    References:
        Fortin, Abaza, Anctil and Turcotte, Why should ensemble spread match the RMSE of the
        ensemble mean?, 2014, eq. 15. https://doi.org/10.1175/JHM-D-14-0008.1
    """
    count, mean, size = _count(draws), draws.mean(0), max(1, truth.numel())
    variances = (draws - mean).square().sum() / (count - 1)
    spread = (1 + 1 / count) * variances / size
    return float(spread), float((mean - truth).square().sum() / size)


def by_thirds(
    held: Bool[Tensor, "*signal"], activity: Float[Tensor, "*signal"]
) -> tuple[float, float, float]:
    """How often an interval held the truth where the least, more, and the most goes on.

    Args:
        held: Whether it did, for each element.
        activity: How much goes on around it. It has to come from the samples: to sort by the
            truth would show even right intervals as wrong.
    """
    order = activity.flatten().argsort(stable=True)
    shares = [float(part.double().mean()) for part in held.flatten()[order].tensor_split(3)]
    return shares[0], shares[1], shares[2]


def _count(draws: Tensor) -> int:
    if len(draws) < 2:
        raise SettingError(f"A fair score wants 2 draws or more, but got {len(draws)}. Draw more.")
    return len(draws)
