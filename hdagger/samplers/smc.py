"""Twisted sequential Monte Carlo: a cloud of guided particles that corrects the guidance.

A guided sampler approximates p(y | x) at every level, by psi. Its particles are drawn with the
pull of psi, weighted by what that pull ignored,

    w *= psi'(x') / psi(x) * N(x'; a, C^2 I) / N(x'; b, C^2 I),

where a and b are the next mean without and with the pull and C the fresh noise, and resampled
when the weights grow uneven. So psi only has to be good enough to keep the weights even:
as the particles grow in number, the draws become exact for the walk that the prior makes in
these steps, whatever psi is, and the modes get the weight that the data give them.

References:
    Wu, Trippe, Naesseth, Blei and Cunningham, Practical and Asymptotically Exact Conditional
    Sampling in Diffusion Models, NeurIPS 2023, algorithm 1. https://arxiv.org/abs/2306.17775
    Douc and Cappe, Comparison of resampling schemes for particle filtering, 2005, section 2.4:
    systematic resampling. https://arxiv.org/abs/cs/0507025
"""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..covariance import Uncertainty
from ..errors import OperatorAbilityError, SettingError
from ..priors.base import Denoiser
from ..problem import Problem
from ..tensors import Level, Noise, Signal
from .base import GuidedSampler, Sampler
from .ranges import Within
from .walk import Step

LogWeights = Float[Tensor, "clouds particles"]

ENOUGH = 0.5
"""Share of effective particles below which a cloud is resampled."""


@dataclass(frozen=True)
class Cloud:
    """Particles and their history; the rows of x are cloud after cloud.

    Attributes:
        x: Particles, ``(clouds * particles, *signal)``; of equal weight at the end.
        log_weights: Logarithms of the weights, but for psi(x) at the present level.
        log_evidence: log p(y) of each cloud, as far as it went into resampling.
        ancestors: Which particle of the start each descends from.
        ess: Effective share of the particles before resampling, one row for each step.
    """

    x: Signal
    log_weights: LogWeights
    log_evidence: Float[Tensor, " clouds"]
    ancestors: Int[Tensor, "clouds particles"]
    ess: Float[Tensor, "steps clouds"]

    @property
    def distinct_ancestors(self) -> Int[Tensor, " clouds"]:
        """How many particles of the start have descendants, for each cloud."""
        return torch.tensor([len(row.unique()) for row in self.ancestors])


@dataclass(frozen=True)
class SMC(Sampler[Cloud]):
    """Draws clouds of particles by a guided sampler, weighted and resampled.

    The rows of the data go into clouds of ``particles`` rows, one after the other; the rows
    of a cloud share their data, and its particles are not independent of each other. A cloud
    of one is the guided sampler itself with Euler's steps, bit for bit.

    Attributes:
        eta: Share of fresh noise, above 0 for more than one particle.
        particles: Rows of a cloud.
        twist: The guided sampler: PiGDM, whose ``data_variance`` should be that of the prior,
            or TMPD with ``covariance="matrix"``. Its eta and solver are not used.
    """

    particles: Annotated[int, Within(1, 10**6, "a number", 500)] = 64
    twist: GuidedSampler = field(kw_only=True)

    def check(self) -> None:
        super().check()
        if self.particles > 1 and self.eta == 0:
            raise SettingError("SMC wants fresh noise in every step, but got eta = 0. Try 1.")

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "SMC":
        twist = self.twist.fitted(problem, uncertainty)
        assert isinstance(twist, GuidedSampler)
        return replace(self, twist=twist)

    def require(self, problem: Problem) -> None:
        self.twist.require(problem)

    @property
    def variance(self) -> float | Tensor:
        return self.twist.variance

    @property
    def group(self) -> int:
        return self.particles

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Cloud:
        rows = len(problem.y)
        if rows % self.particles:
            raise SettingError(
                f"SMC wants whole clouds of {self.particles} particles, but got {rows} rows. "
                f"Ask for {-(-rows // self.particles) * self.particles} samples."
            )
        x = sigma * noise((rows, *problem.H.signal_shape))
        clouds = rows // self.particles
        zeros = x.new_zeros(clouds, self.particles)
        ancestors = torch.arange(self.particles, device=x.device).expand(clouds, -1)
        return Cloud(x, zeros, x.new_zeros(clouds), ancestors, x.new_zeros(0, clouds))

    def advance(
        self, cloud: Cloud, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Cloud:
        guidance = self.twist.guide(prior, cloud.x, problem, step)
        if guidance.log_likelihood is None:
            raise OperatorAbilityError(
                f"SMC needs a likelihood, which {type(self.twist).__name__} does not give for "
                f"{type(problem.H).__name__} with these settings. "
                'Use TMPD(covariance="matrix") (--set twist.covariance=matrix).'
            )
        log_psi = guidance.log_likelihood().view_as(cloud.log_weights)
        log_weights = cloud.log_weights + log_psi
        evidence, ancestors = cloud.log_evidence, cloud.ancestors
        x, D, corrected = cloud.x, guidance.D, guidance.D + guidance.pull
        ess = effective_share(log_weights)
        if self.particles > 1:
            uniform = torch.special.ndtr(noise((len(x),))).view_as(log_weights)[:, 0]
            uneven = (ess < ENOUGH) | (step.lower == 0)
            order = leading_coordinate(D.view(*log_weights.shape, -1)).argsort(1)
            chosen = order.gather(1, systematic(log_weights.gather(1, order), uniform))
            stay = torch.arange(self.particles, device=x.device).expand_as(chosen)
            chosen = torch.where(uneven[:, None], chosen, stay)
            mean = log_weights.logsumexp(1) - math.log(self.particles)
            evidence = torch.where(uneven, evidence + mean, evidence)
            log_weights = torch.where(uneven[:, None], 0, log_weights)
            ancestors, log_psi = ancestors.gather(1, chosen), log_psi.gather(1, chosen)
            rows = (chosen + self.particles * torch.arange(len(chosen))[:, None]).flatten()
            x, D, corrected = x[rows], D[rows], corrected[rows]
        b = step.settle(corrected, x)
        moved = step.refresh(b, noise)
        if step.fresh > 0:
            a = step.settle(D, x)
            ratio = _squared(moved - b) - _squared(moved - a)
            log_weights = log_weights + (ratio / (2 * step.fresh**2)).view_as(log_psi) - log_psi
        return Cloud(moved, log_weights, evidence, ancestors, torch.cat([cloud.ess, ess[None]]))

    def finish(self, cloud: Cloud, /, problem: Problem) -> Signal:
        return cloud.x

    def known(self, cloud: Cloud, /) -> dict[str, Tensor]:
        per_row = lambda values: values.repeat_interleave(self.particles)
        return {
            "log_evidence": per_row(cloud.log_evidence),
            "ancestor": cloud.ancestors.flatten(),
            "effective_share": per_row(cloud.ess.min(0).values),
        }


def effective_share(log_weights: LogWeights) -> Float[Tensor, " clouds"]:
    """(sum w)^2 / (N sum w^2): 1 for even weights, 1 / N for a single one."""
    total, squares = log_weights.logsumexp(1), (2 * log_weights).logsumexp(1)
    return (2 * total - squares).exp() / log_weights.shape[1]


def leading_coordinate(
    D: Float[Tensor, "clouds particles n"], rounds: int = 10
) -> Float[Tensor, "clouds particles"]:
    """Where each particle lies along the direction in which its cloud is longest.

    In this order neighbours replace each other, which takes noise out of the resampling.
    """
    away = D - D.mean(1, keepdim=True)
    farthest = away.square().sum(2).argmax(1)
    direction = away[torch.arange(len(away)), farthest][:, None]
    for _ in range(rounds):
        direction = (away @ direction.mT).mT @ away
        direction = torch.nn.functional.normalize(direction, dim=2)
    return (away @ direction.mT).squeeze(2)


def systematic(
    log_weights: LogWeights, uniform: Float[Tensor, " clouds"]
) -> Int[Tensor, "clouds particles"]:
    """Which particles go on: number i is drawn floor(N w_i) or ceil(N w_i) times.

    Args:
        log_weights: Logarithms of the weights, up to a constant.
        uniform: One number in [0, 1) for each cloud.
    """
    count = log_weights.shape[1]
    places = (uniform[:, None] + torch.arange(count)) / count
    shares = log_weights.softmax(1).cumsum(1)
    return torch.searchsorted(shares, places, right=True).clamp(max=count - 1)


def _squared(x: Signal) -> Float[Tensor, " batch"]:
    return x.square().flatten(1).sum(1)
