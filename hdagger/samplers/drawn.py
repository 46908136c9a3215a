"""Drawn steps: at every level the clean signal is drawn, not predicted.

With x0 | x ~ N(D, C), C the covariance of hdagger/covariance.py, one draw given the data too is a
draw of the prior's Gaussian moved by Matheron's rule, one linear system and no gradient,

    z = D + u + C H' (H C H' + sigma_y^2 I)^-1 (y - H (D + u) - w),
    u ~ N(0, C),  w ~ N(0, sigma_y^2 I),

and x' = z + keep (x - z) + fresh n. A prediction in the place of z would lose
(1 - keep)^2 Cov[x0 | x, y] of the variance at every step; so, for Gaussians, the samples have the
law of the posterior for any eta and any number of steps.

An operator H_t may be known but for some numbers, t ~ N(rough, T) beforehand. Around a draw z
given the last ones, t_z, y = H_t x0 + w is y = H x0 + J (t - t_z) + w with J = d(H_t z)/dt. So t
and x0 are Gaussian together: t is drawn by the same rule, with the signal's uncertainty in it, and
x0 given t. Where H_t x0 is linear in both that is exact.

References:
    Matheron's rule: Journel and Huijbregts, Mining Geostatistics, 1978, section VII.A.
    Papandreou and Yuille, Gaussian Sampling by Local Perturbations, NeurIPS 2010.
    Bao et al., Analytic-DPM, ICLR 2022, of which it is the drawn form: the variance that a step
    with a prediction lacks. https://arxiv.org/abs/2201.06503
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..covariance import Covariance, Uncertainty
from ..linalg import conjugate_gradients, inner
from ..operators.base import LinearOperator
from ..operators.family import Family
from ..operators.quantisation import Quantiser
from ..priors.base import Denoiser, moments
from ..problem import Problem
from ..tensors import Data, Level, Noise, Signal
from .base import Sampler
from .walk import Step

ACCURACY = 0.05
"""Of the linear system's residual, over the deviation of the data's noise and a third of that
which sigma is in the data; .03 gives the same scores."""

ITERATIONS = 60

PATIENCE = 200
"""Iterations where it matters that the system is solved."""

PROBES = 8
"""Draws from which the deviation of a coefficient is estimated, to about a quarter."""

BORDER = 0.05
"""How well a coefficient is brought to its place in a cell, in steps."""

FARTHEST = 30.0
"""Deviations from the mean up to which a Gaussian's tail is told in float64."""

EXACT = 1e-3
"""Deviation of the noise that data without any are taken to have, over that which sigma is in the
data; the last step then meets them exactly."""


@dataclass(frozen=True)
class Guess:
    """A state of the walk, and what is thought of an operator that is not known exactly.

    Attributes:
        x: The state.
        numbers: Of each row's operator, ``(batch, numbers)``.
    """

    x: Signal
    numbers: Float[Tensor, "batch numbers"]


@dataclass(frozen=True)
class Drawn(Sampler[Signal | Guess]):
    """Draws the clean signal at every step, from its Gaussian given x and the data.

    Attributes:
        eta: Share of fresh noise. For Gaussians the law is right for any; fresh noise heals the
            errors of a network.
        uncertainty: The prior's covariances; left open, what is known of the prior.
    """

    needs = LinearOperator
    instead = "DPS"
    rough_calls = True

    uncertainty: Uncertainty | None = None

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "Drawn":
        return self if self.uncertainty else replace(self, uncertainty=uncertainty)

    def require(self, problem: Problem) -> None:
        if not isinstance(problem.H, Quantiser):
            super().require(problem)

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal | Guess:
        x = sigma * noise((len(problem.y), *problem.H.signal_shape))
        if isinstance(problem.H, Family):
            return Guess(x, problem.H.rough.expand(len(x), -1))
        return x

    def advance(
        self, state: Signal | Guess, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Signal | Guess:
        assert self.uncertainty is not None, "fitted"
        x = state.x if isinstance(state, Guess) else state
        D, variance = moments(prior, x, step.sigma)
        C = self.uncertainty.at(step.sigma, D, variance)
        if isinstance(state, Guess):
            z, numbers = given_rough(state, D, C, problem, step.sigma, noise)
            return Guess(step.move(z, x, noise), numbers)
        given = given_cells if isinstance(problem.H, Quantiser) else given_data
        return step.move(given(D, C, problem, step.sigma, noise), x, noise)

    def finish(self, state: Signal | Guess, /, problem: Problem) -> Signal:
        H = problem.H
        if isinstance(state, Guess):
            return state.x
        if problem.sigma_y > 0 or not isinstance(H, LinearOperator):
            return state
        return state + H.pinv(problem.residual(state))

    def known(self, state: Signal | Guess, /) -> dict[str, Tensor]:
        return {"numbers": state.numbers} if isinstance(state, Guess) else {}


def given_data(D: Signal, C: Covariance, problem: Problem, sigma: Level, noise: Noise) -> Signal:
    """A draw of N(D, C) given the data: Matheron's rule."""
    H, x0 = problem.H, D + C.draw(noise)
    assert isinstance(H, LinearOperator)
    residual = problem.residual(x0)
    back, tiny = H.adjoint(residual), torch.finfo(D.dtype).tiny
    length = inner(residual, residual).clamp(min=tiny)
    seen = sigma * (inner(back, back).view_as(length) / length).sqrt()
    deviation = problem.sigma_y or EXACT * seen
    e = residual - H.seen(deviation * like(problem.y, noise))
    near = C.near_inverse(partial(system, H, C.typical(), deviation), deviation**2, e, noise)
    goal = ACCURACY * (deviation**2 + (seen / 3) ** 2).sqrt() * H.rank**0.5
    share = goal / inner(e, e).sqrt().clamp(min=tiny)
    S = partial(system, H, C, deviation)
    return x0 + C.times(H.adjoint(conjugate_gradients(S, e, ITERATIONS, share, near=near)))


def given_rough(
    guess: Guess, D: Signal, C: Covariance, problem: Problem, sigma: Level, noise: Noise
) -> tuple[Signal, Float[Tensor, "batch numbers"]]:
    """A draw of the clean signal and of the numbers of an operator that is known roughly.

    What the signal can explain must not be left to the numbers: their system is solved to the
    noise of the data at every level.
    """
    family, held = problem.H, guess.numbers
    assert isinstance(family, Family)
    H, T = family.of(held), family.deviation
    own = replace(problem, H=H)
    z = given_data(D, C, own, sigma, noise)
    J = H.seen(family.slope(z, held).flatten(0, 1)).unflatten(0, held.shape)
    along = lambda t: torch.einsum("bn,bn...->b...", t, J)
    back = lambda v: T**2 * torch.einsum("bn...,b...->bn", J, v)
    t = family.rough + T * noise(tuple(held.shape))
    deviation = problem.sigma_y or EXACT * sigma
    w = H.seen(deviation * like(own.y, noise))
    e = own.residual(D + C.draw(noise)) - along(t - held) - w
    S = lambda v: system(H, C, deviation, v) + along(back(v))
    goal = ACCURACY * deviation * H.rank**0.5
    share = goal / inner(e, e).sqrt().clamp(min=torch.finfo(D.dtype).tiny)
    numbers = family.held(t + back(conjugate_gradients(S, e, PATIENCE, share)))
    return given_data(D, C, replace(problem, H=family.of(numbers)), sigma, noise), numbers


def given_cells(D: Signal, C: Covariance, problem: Problem, sigma: Level, noise: Noise) -> Signal:
    """A draw of N(D, C) given the cells that hold its coefficients.

    Each coefficient of a draw moves to where its rank among all draws is its rank among those in
    the cell; the signal follows the coefficients.
    """
    H, x0 = problem.H, D + C.draw(noise)
    assert isinstance(H, Quantiser)
    L = H.linear
    mean, drawn = L(D), L(x0)
    probes = [L(C.draw(noise)) for _ in range(PROBES)]
    deviation = torch.stack([drawn - mean, *probes]).square().mean(0).sqrt()
    deviation = deviation.clamp(min=1e-6)
    middle = H.middle(drawn, problem.y)
    e = at_rank(drawn, mean, deviation, middle - 0.5, middle + 0.5) - drawn
    S = partial(system, L, C, BORDER)
    near = lambda v: v / (deviation**2 + BORDER**2)
    return x0 + C.times(L.adjoint(conjugate_gradients(S, e, ITERATIONS, BORDER, near=near)))


def at_rank(drawn: Tensor, mean: Tensor, deviation: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Draws of N(mean, deviation^2) made draws of the same in [low, high], of the same rank.

    More than thirty deviations away from the mean, it is the border.
    """
    z, a, b = ((edge - mean) / deviation for edge in (drawn, low, high))
    above = a + b > 0
    z, a, b = (torch.where(above, -first, second) for first, second in ((z, z), (b, a), (a, b)))
    a, b = a.clamp(-FARTHEST, FARTHEST), b.clamp(-FARTHEST, FARTHEST)
    rank, least, most = (torch.special.ndtr(edge.double()) for edge in (z, a, b))
    moved = torch.special.ndtri(least + rank * (most - least)).to(z)
    found = mean + deviation * torch.where(above, -moved, moved)
    return torch.minimum(torch.maximum(found, low), high)


def system(H: LinearOperator, C: Covariance, deviation: float | Tensor, v: Data) -> Data:
    """(H C H' + deviation^2 I) v."""
    return H.seen(H(C.times(H.adjoint(v)))) + deviation**2 * v


def like(y: Data, noise: Noise) -> Data:
    """White noise of deviation 1, in the real and the imaginary part each, of the shape of y."""
    z = noise(tuple(y.shape))
    return torch.complex(z, noise(tuple(y.shape))) if y.is_complex() else z
