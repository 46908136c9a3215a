"""Drawn steps: at every level the clean signal is drawn, not predicted.

With x0 | x ~ N(D, C), C the covariance of hdagger/covariance.py, one draw given the data too is a
draw of the prior's Gaussian moved by Matheron's rule, one linear system and no gradient,

    z = D + u + C H' (H C H' + sigma_y^2 I)^-1 (y - H (D + u) - w),
    u ~ N(0, C),  w ~ N(0, sigma_y^2 I),

and x' = z + keep (x - z) + fresh n. A prediction in the place of z would lose
(1 - keep)^2 Cov[x0 | x, y] of the variance at every step; so, for Gaussians, the samples have the
law of the posterior for any eta and any number of steps.

References:
    Matheron's rule: Journel and Huijbregts, Mining Geostatistics, 1978, section VII.A.
    Papandreou and Yuille, Gaussian Sampling by Local Perturbations, NeurIPS 2010.
    Bao et al., Analytic-DPM, ICLR 2022, of which it is the drawn form: the variance that a step
    with a prediction lacks. https://arxiv.org/abs/2201.06503
"""

from dataclasses import dataclass, replace
from functools import partial

import torch

from ..covariance import Covariance, Uncertainty
from ..linalg import conjugate_gradients, inner
from ..operators.base import LinearOperator
from ..priors.base import Denoiser, moments
from ..problem import Problem
from ..tensors import Data, Level, Noise, Signal
from .base import Sampler
from .walk import Step

ACCURACY = 0.05
"""Of the linear system's residual, over the deviation of the data's noise and a third of that
which sigma is in the data; .03 gives the same scores."""

ITERATIONS = 60

EXACT = 1e-3
"""Deviation of the noise that data without any are taken to have, over that which sigma is in the
data; the last step then meets them exactly."""


@dataclass(frozen=True)
class Drawn(Sampler[Signal]):
    """Draws the clean signal at every step, from its Gaussian given x and the data.

    Attributes:
        eta: Share of fresh noise. For Gaussians the law is right for any; fresh noise heals the
            errors of a network, old noise keeps fine texture.
        uncertainty: The prior's covariances; left open, what is known of the prior.
    """

    needs = LinearOperator
    instead = "DPS"
    rough_calls = True

    eta: float = 0.75
    uncertainty: Uncertainty | None = None

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "Drawn":
        return self if self.uncertainty else replace(self, uncertainty=uncertainty)

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Signal:
        return sigma * noise((len(problem.y), *problem.H.signal_shape))

    def advance(
        self, x: Signal, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Signal:
        assert self.uncertainty is not None, "fitted"
        D, variance = moments(prior, x, step.sigma)
        C = self.uncertainty.at(step.sigma, D, variance)
        z = given_data(D + C.draw(noise), C, problem, step.sigma, noise)
        return step.move(z, x, noise)

    def finish(self, x: Signal, /, problem: Problem) -> Signal:
        if problem.sigma_y > 0:
            return x
        H = problem.H
        assert isinstance(H, LinearOperator)
        return x + H.pinv(problem.residual(x))


def given_data(x0: Signal, C: Covariance, problem: Problem, sigma: Level, noise: Noise) -> Signal:
    """A draw of N(D, C) made one of the same Gaussian given the data: Matheron's rule."""
    H = problem.H
    assert isinstance(H, LinearOperator)
    residual = problem.residual(x0)
    length = inner(residual, residual).clamp(min=torch.finfo(x0.dtype).tiny)
    back = H.adjoint(residual)
    seen = sigma * (inner(back, back).view_as(length) / length).sqrt()
    deviation = problem.sigma_y or EXACT * seen
    e = residual - H.seen(deviation * like(problem.y, noise))

    def through(C: Covariance, v: Data) -> Data:
        return H.seen(H(C.times(H.adjoint(v)))) + deviation**2 * v

    near = C.near_inverse(partial(through, C.typical()), deviation**2, e, noise)
    goal = ACCURACY * (deviation**2 + (seen / 3) ** 2).sqrt() * H.rank**0.5
    share = goal / inner(e, e).sqrt().clamp(min=torch.finfo(x0.dtype).tiny)
    solution = conjugate_gradients(partial(through, C), e, ITERATIONS, share, near=near)
    return x0 + C.times(H.adjoint(solution))


def like(y: Data, noise: Noise) -> Data:
    """White noise of deviation 1, in the real and the imaginary part each, of the shape of y."""
    z = noise(tuple(y.shape))
    return torch.complex(z, noise(tuple(y.shape))) if y.is_complex() else z
