"""Drawn steps: at every level the clean signal is drawn, not predicted.

With x0 | x ~ N(D, C), C the covariance of hdagger/covariance.py, one draw given the data too is a
draw of the prior's Gaussian moved by Matheron's rule, one linear system and no gradient,

    z = D + u + C H' (H C H' + sigma_y^2 I)^-1 (y - H (D + u) - w),
    u ~ N(0, C),  w ~ N(0, sigma_y^2 I),

and x' = z + keep (x - z) + fresh n. A prediction in the place of z would lose
(1 - keep)^2 Cov[x0 | x, y] of the variance at every step; so, for Gaussians, the samples have the
law of the posterior for any eta and any number of steps, whatever keep is.

Noise that is kept remembers what earlier draws got wrong, and at high levels they settle what the
signal is: which digit, what fills a hole. So there it is forgotten: of what eta would keep stays
the share 4 v / (4 v + lower^2), v being the variance of clean signals: half of it at twice their
deviation. At low levels memory is worth having: a measured C draws what nobody saw as grain, and
the network takes it out in more than one step. docs/methods.md has the figures.

A measured C is that of an average signal. In the middle of a walk the network is asked a second
time, along the pull of the data: what it says of its own covariance there takes C's place
(samplers/tangent.py). And at each step it says for nothing how wide C is in each band
(hdagger/covariance.py).

This signal may be rougher or smoother than an average one. The data say which: with a = y - H D
and b = H u + w, a draw of what a should be, the same system's solution S^-1 (a - b) compares them
for nothing,

    (a + b)' S^-1 (a - b) = a' S^-1 a - b' S^-1 b,

which is 0 on average where C is right, and s - 1 times the trace of S^-1 H C H' where s C is. The
sum a + b is first filtered by how much of each band is not noise, so that data which tell nothing
add no noise. The next step's C is wider or narrower by what was found; only wider where the noise
may be less than is said, which looks as does a C that is too wide.

Rounded data say that a coefficient c = (L x0)_i lies in a cell. Of c ~ N(m, d^2) beforehand the
cell leaves a mean m + d a and a variance d^2 v, as would a datum

    t = m + d a / (1 - v)  of the variance  d^2 v / (1 - v)

of it, and with one for each coefficient the data are Gaussian. What one cell says of another's
coefficient is in the linear system. C keeps its scale there: the few coefficients that tell of it
are those of edges, and what they say puts grain into what is smooth.

An operator H_t may be known but for some numbers, t ~ N(rough, T) beforehand. Around a draw z
given the last ones, t_z, y = H_t x0 + w is y = H x0 + J (t - t_z) + w with J = d(H_t z)/dt. So t
and x0 are Gaussian together: t is drawn by the same rule, with the signal's uncertainty in it, and
x0 given t. Where H_t x0 is linear in both that is exact.

What chance did to a walk is known too. A step's noise is that of z, which one system more tells,
and the fresh one: together r, by which x' parts from what it would have been without. By it
E[x0 | x', y] moves by about Cov[x0 | x, y] r / lower^2, a system more. These moves are 0 in the
mean, however roughly these two systems are solved, and explain more than half of the samples'
variance; added up by parts of the walk, they serve the answer (hdagger/answer.py).

References:
    Matheron's rule: Journel and Huijbregts, Mining Geostatistics, 1978, section VII.A.
    Papandreou and Yuille, Gaussian Sampling by Local Perturbations, NeurIPS 2010.
    Minka, Expectation Propagation for Approximate Bayesian Inference, UAI 2001: a datum that
    leaves the moments of a truncated Gaussian; one pass. https://arxiv.org/abs/1301.2294
    Zhang et al., Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing, CVPR
    2025: a draw of x0, and nothing kept. https://arxiv.org/abs/2407.01521
    Bao et al., Analytic-DPM, ICLR 2022, of which it is the drawn form: the variance that a step
    with a prediction lacks. https://arxiv.org/abs/2201.06503
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from ..covariance import Covariance, Grainy, Uncertainty
from ..linalg import inner
from ..operators.base import LinearOperator
from ..operators.family import Family
from ..operators.quantisation import Quantiser
from ..priors.base import Denoiser, moments
from ..problem import Problem
from ..tensors import Coefficients, Data, Level, Noise, Signal, like
from .base import Sampler
from .ranges import Within
from .systems import System, Systems, roughly, solved
from .tangent import Pull, Tangent, difference
from .walk import Step

PATIENCE = 200
"""Iterations where it matters that the system is solved."""

PROBES = 8
"""Draws from which the deviation of a coefficient is estimated, to about a quarter."""

SURE = 1e-6
"""The least share of its variance that a cell leaves a coefficient, and takes."""

AT_ONCE = 2**16
"""Cells of which the moments are told together, in float64."""

FARTHEST = 30.0
"""Deviations from the mean up to which a Gaussian's tail is told in float64."""

NARROWEST, WIDEST = 0.35, 4.0
"""Between what a measured covariance may be scaled."""

DOUBT = 80.0
"""The information of one step at which its word on the scale counts half; 20 lets grain into
smooth pictures, where little is left to be told at the end."""

HELD = 0.8
"""The share of the scale's logarithm that is held to the next level; all of it leaves grain in
smooth pictures, .6 is as good."""

EARLY = 0.25
"""Share of a walk of which it is not told what chance did: that is of few waves, so that its share
would be a guess."""

PARTS = 2
"""Of the rest of a walk, of which that is told apart; more tell hardly more."""

FORGOTTEN = 4.0
"""The variance of noise, over that of clean signals, of which half is forgotten. By 1 answers are
as near on photographs and nearer on scans, and intervals narrower: too narrow on sharp ones."""

ASKED = 10.0
"""Levels at which the network is asked twice: from one over this to this, over the deviation of
clean signals. Above, the data know better; below, hardly anything is left to be told."""

NEVER = 1.0
"""``asked`` at no level."""

GRAIN = 0.3
"""Of sigma: the deviation of white grain that a signal is taken to have besides, where it is asked
for the direction along which the network is; without it that is of the finest grain."""

EXACT = 1e-3
"""Deviation of the noise that data without any are taken to have, over that which sigma is in the
data; the last step then meets them exactly."""


@dataclass(frozen=True)
class Drawing:
    """What is carried from step to step.

    Attributes:
        x: The noisy signals, ``(batch, *signal)``.
        scale: By how much the data say that each one's covariance is larger than was measured,
            ``(batch, 1)``.
        wider: By how much the network says so of each band, ``(batch, 1 or bands)``.
        z: The clean signals of which x is noisy; None at the start.
        numbers: Of each one's operator, ``(batch, numbers)``, where it is known only roughly.
        controls: By how much noise moved E[x0 | x, y] in each part of the walk; none where
            nobody asks.
    """

    x: Signal
    scale: Float[Tensor, "batch 1"]
    wider: Float[Tensor, "batch bands"]
    z: Signal | None = None
    numbers: Float[Tensor, "batch numbers"] | None = None
    controls: tuple[Signal, ...] = ()


@dataclass(frozen=True)
class Predicted:
    """x0 | x.

    Attributes:
        D: Its mean.
        C: Its covariance.
        sigma: The level of x.
        tangent: What the network itself says of its covariance; None where it is not asked.
    """

    D: Signal
    C: Covariance
    sigma: Level
    tangent: Tangent | None = None


@dataclass(frozen=True)
class Given:
    """x0 | x, y.

    Attributes:
        z: A draw of it.
        chance: Finds by how much z parts from its mean, by one more linear system.
        left: What the data leave of a change of x0: v -> v - C H' S^-1 H v, by one more.
        change: By how much C should be larger, ``(batch, 1)``, or 1 where nothing tells.
    """

    z: Signal
    chance: Callable[[], Signal]
    left: Callable[[Signal], Signal]
    change: float | Float[Tensor, "batch 1"] = 1.0


@dataclass(frozen=True)
class Drawn(Sampler[Drawing]):
    """Draws the clean signal at every step, from its Gaussian given x and the data.

    Attributes:
        eta: Share of fresh noise. For Gaussians the law is right for any; fresh noise heals the
            errors of a network.
        asked: The network is asked twice at levels from one over this to this, over the deviation
            of clean signals; at 1 it is never, and what it says for nothing is not taken either.
            Left open, what suits the kind of signal.
        uncertainty: The prior's covariances; left open, what is known of the prior.
    """

    needs = LinearOperator
    instead = "DPS"
    begins = 8.0
    rough_calls = True

    asked: Annotated[float | None, Within(1, 1000, "a ratio of levels", 10)] = None
    uncertainty: Uncertainty | None = None

    def fitted(self, problem: Problem, uncertainty: Uncertainty) -> "Drawn":
        return self if self.uncertainty else replace(self, uncertainty=uncertainty)

    def require(self, problem: Problem) -> None:
        if not isinstance(problem.H, Quantiser):
            super().require(problem)

    def start(self, problem: Problem, sigma: Level, noise: Noise) -> Drawing:
        x = sigma * noise((len(problem.y), *problem.H.signal_shape))
        rough = problem.H.rough.expand(len(x), -1) if isinstance(problem.H, Family) else None
        ones = x.new_ones(len(x), 1)
        return Drawing(x, ones, ones, numbers=rough)

    def advance(
        self, at: Drawing, /, prior: Denoiser, problem: Problem, step: Step, noise: Noise
    ) -> Drawing:
        step, numbers = self._forgetful(step), at.numbers
        predicted, wider = self._predicted(prior, at, step.sigma)
        if isinstance(problem.H, Quantiser):
            given = given_cells(predicted, problem, noise)
        elif numbers is not None:
            given, numbers = given_rough(numbers, predicted, problem, noise)
        else:
            given = given_data(predicted, problem, noise)
        narrowest = 1.0 if problem.at_most else NARROWEST
        scale = (given.change * at.scale).clamp(narrowest, WIDEST) ** HELD
        x = step.move(given.z, at.x, noise)
        controls = self._moved(at, x, predicted.C, given, step)
        return Drawing(x, scale, wider, given.z, numbers, controls)

    @property
    def _known(self) -> Uncertainty:
        assert self.uncertainty is not None, "fitted"
        return self.uncertainty

    def _forgetful(self, step: Step) -> Step:
        loud = FORGOTTEN * self._known.data_variance
        return replace(step, memory=loud / (loud + step.lower**2))

    def _moved(
        self, at: Drawing, x: Signal, C: Covariance, given: Given, step: Step
    ) -> tuple[Signal, ...]:
        """The controls, after a step to x."""
        controls, late = at.controls, (step.index / step.count - EARLY) / (1 - EARLY)
        if not controls or late < 0:
            return controls
        r = x - step.settle(given.z - given.chance(), at.x)
        moved = given.left(C.times(r) / step.lower**2) if step.lower > 0 else r
        part = int(len(controls) * late)
        return (*controls[:part], controls[part] + moved, *controls[part + 1 :])

    def differs(self, sigma: Level) -> bool:
        most, ratio = self.asked or ASKED, float(sigma) / self._known.data_variance**0.5
        return self._listens and 1 / most <= ratio <= most

    @property
    def _listens(self) -> bool:
        """Whether what the network says of its own covariance is taken."""
        return self.asked != NEVER

    def _predicted(
        self, prior: Denoiser, at: Drawing, sigma: Level
    ) -> tuple[Predicted, Float[Tensor, "batch bands"]]:
        """x0 | x, and by how much each band is wider than was measured."""
        D, variance = moments(prior, at.x, sigma)
        C, wider = self._known.at(sigma, D, variance), at.wider
        del variance  # it holds all that the network gave
        if at.z is not None and self._listens:
            wider = C.wider(sigma, (at.x - at.z) / sigma, D - at.z, wider)
        tangent = lambda u: sigma**2 * difference(prior, at.x, sigma, D, u)
        asked = tangent if self.differs(sigma) else None
        return Predicted(D, C.scaled(wider * at.scale), sigma, asked), wider

    def finish(self, at: Drawing, /, problem: Problem) -> Signal:
        return _met(at.x, problem)

    def controlled(self, at: Drawing, /) -> Drawing:
        return replace(at, controls=(torch.zeros_like(at.x),) * PARTS)

    def controls(self, at: Drawing, /, problem: Problem) -> tuple[Signal, ...]:
        nothing = replace(problem, y=torch.zeros_like(problem.y))
        return tuple(_met(moved, nothing) for moved in at.controls)

    def known(self, at: Drawing, /) -> dict[str, Tensor]:
        return {} if at.numbers is None else {"numbers": at.numbers}


def _met(x: Signal, problem: Problem) -> Signal:
    """x, moved to data without noise, if there are such."""
    H = problem.H
    if problem.sigma_y > 0 or not isinstance(H, LinearOperator):
        return x
    return x + H.pinv(problem.residual(x))


def given_data(predicted: Predicted, problem: Problem, noise: Noise) -> Given:
    """N(D, C) given the data, by Matheron's rule; and by how much C should change."""
    D, C, H = predicted.D, predicted.C, problem.H
    assert isinstance(H, LinearOperator)
    u, a = C.draw(noise), problem.residual(D)
    seen = predicted.sigma * gain(H, a)
    deviation = problem.sigma_y or EXACT * seen
    S = Systems.of(H, C, deviation, a, noise)
    e = S.split(a - H(u) - H.seen(deviation * like(problem.y, noise)))
    del a  # as large as the data; made again where it is looked at
    misfit = lambda: S.split(problem.residual(D))
    allowed = (deviation**2 + (seen / 3) ** 2).sqrt()
    solved = lambda e: S.each(lambda one, e: one.solved(e, allowed), e)
    pull = Pull(C, H, H.adjoint, deviation**2, lambda v: S.joined(solved(S.split(v))))
    w, grain = solved(e), (GRAIN * predicted.sigma) ** 2
    larger = change(S.each(told, misfit(), e, w))
    w = S.joined(w)  # the parts are let go
    if predicted.tangent:
        p = S.joined(S.each(lambda one, e: one.coarse(e, grain), e))
        moved = pull.along(p, predicted.tangent, w)
    else:
        moved = pull(w)

    def chance() -> Signal:
        return u - pull(S.joined(S.each(lambda one, a, e: one.roughly(a - e), misfit(), e)))

    return Given(
        moved.add_(D).add_(u),
        chance,
        lambda v: v - pull(S.joined(S.each(System.roughly, S.split(H(v))))),
        larger,
    )


def given_rough(
    held: Float[Tensor, "batch numbers"],
    predicted: Predicted,
    problem: Problem,
    noise: Noise,
) -> tuple[Given, Float[Tensor, "batch numbers"]]:
    """The clean signal, given a draw of the numbers of an operator that is known roughly.

    What the signal can explain must not be left to the numbers: their system is solved to the
    noise of the data at every level.
    """
    family, D, C = problem.H, predicted.D, predicted.C
    assert isinstance(family, Family)
    H, T = family.of(held), family.deviation
    own = replace(problem, H=H)
    z = given_data(predicted, own, noise).z
    J = H.seen(family.slope(z, held).flatten(0, 1)).unflatten(0, held.shape)
    along = lambda t: torch.einsum("bn,bn...->b...", t, J)
    back = lambda v: T**2 * torch.einsum("bn...,b...->bn", J, v)
    t = family.rough + T * noise(tuple(held.shape))
    deviation = problem.sigma_y or EXACT * predicted.sigma
    w = H.seen(deviation * like(own.y, noise))
    e = own.residual(D + C.draw(noise)) - along(t - held) - w
    alone = System(H, C, deviation)
    S = lambda v: alone(v) + along(back(v))
    w = solved(S, e, deviation, H.rank, iterations=PATIENCE)
    numbers = family.held(t + back(w))
    return given_data(predicted, replace(problem, H=family.of(numbers)), noise), numbers


def gain(H: LinearOperator, v: Data) -> Tensor:
    """|H' v| / |v| of each row."""
    back, tiny = H.adjoint(v), torch.finfo(v.dtype).tiny
    length = inner(v, v).clamp(min=tiny)
    return (inner(back, back).view_as(length) / length).sqrt()


def told(S: System, a: Data, e: Data, w: Data) -> tuple[Tensor, Tensor]:
    """What data say of C's scale: (a + b)' F S^-1 (a - b), and its slope, ``(batch,)`` each.

    The filter F is what is known of S by band, or one share of all data.

    Args:
        S: Their system.
        a: y - H D.
        e: a - b.
        w: S^-1 e.
    """
    both = 2 * a - e
    if S.bands:
        return inner(S.bands.informed(both), w).flatten(), S.bands.information
    tiny = torch.finfo(w.dtype).tiny
    noise_share = S.deviation**2 * inner(w, w) / inner(e, w).clamp(min=tiny)
    share = (1 - noise_share.flatten()).clamp(0, 1)
    return share * inner(both, w).flatten(), share**2 * S.H.seen_size


def change(said: Sequence[tuple[Tensor, Tensor]]) -> Float[Tensor, "batch 1"]:
    """By how much C should be larger, with some doubt.

    Args:
        said: What was told by data that have nothing to do with each other.
    """
    excess, information = (torch.stack(each).sum(0) for each in zip(*said, strict=True))
    found = 1 + excess / information.clamp(min=1e-9)
    return (found.clamp(0.2, 5) ** (information / (information + DOUBT)))[:, None]


def given_cells(predicted: Predicted, problem: Problem, noise: Noise) -> Given:
    """N(D, C) given the cells that hold its coefficients."""
    D, C, H = predicted.D, predicted.C, problem.H
    assert isinstance(H, Quantiser)
    u = C.draw(noise)
    datum, error, share = data_of_cells(D, C, H, problem.y, noise)
    forth = lambda x: H.shown(H.linear(x)) / error
    back = lambda v: H.linear.adjoint(H.shown(v / error))
    own = forth(u) + like(datum, noise)
    e = datum.sub_(own)
    system = lambda C: lambda v: forth(C.times(back(v))) + v
    S, near = system(C), lambda v: share * v
    pull = Pull(C, forth, back, 1.0, lambda v: solved(S, v, 1.0, H.linear.rank, near))
    w, grain = pull.inverse(e), (GRAIN * predicted.sigma) ** 2
    if predicted.tangent:
        moved = pull.along(roughly(system(Grainy(C, grain)), e, near), predicted.tangent, w)
    else:
        moved = pull(w)
    left = lambda v: v - pull(roughly(S, forth(v), near))
    return Given(moved.add_(D).add_(u), lambda: u - pull(roughly(S, own, near)), left)


def data_of_cells(
    D: Signal, C: Covariance, H: Quantiser, y: Data, noise: Noise
) -> tuple[Coefficients, Coefficients, Coefficients]:
    """What the cells are worth as data of H's linear map.

    Returns:
        The data less those of D, over their deviations; the deviations; and the share of its
        variance that each leaves a coefficient.
    """
    mean = H.linear(D)
    power = torch.zeros_like(mean)
    for _ in range(PROBES):
        power += H.shown(H.linear(C.draw(noise))).square()
    deviation = power.div_(PROBES).sqrt_().clamp_(min=1e-6)
    shift, error = datum_of(H.middle(mean, y) - mean, deviation)
    return shift.div_(error), error, 1 / ((deviation / error).square() + 1)


def datum_of(middle: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """What a cell is worth as a datum of its coefficient: t - m, and its deviation.

    Args:
        middle: Of the cell, from m.
        deviation: Of the coefficient beforehand, d.
    """

    def of_some(middle: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        shift, left = moments_within(middle / deviation, 0.5 / deviation)
        left = left.clamp(SURE, 1 - SURE)
        datum = deviation * shift / (1 - left), deviation * (left / (1 - left)).sqrt()
        return datum[0].to(middle), datum[1].to(middle)

    parts = zip(middle.flatten().split(AT_ONCE), deviation.flatten().split(AT_ONCE), strict=True)
    shifts, errors = zip(*(of_some(*part) for part in parts), strict=True)
    return torch.cat(shifts).view_as(middle), torch.cat(errors).view_as(middle)


def moments_within(middle: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of a standard normal z within half of a middle, in float64.

    More than thirty deviations away, it is taken to be at the border.
    """
    far = middle.abs().double()
    low, high = (far - half).clamp(max=FARTHEST), (far + half).clamp(max=FARTHEST)
    mass = (torch.erfc(low / 2**0.5) - torch.erfc(high / 2**0.5)) / 2
    density = lambda t: (-t * t / 2).exp() / (2 * math.pi) ** 0.5
    edge = lambda power: (low**power * density(low) - high**power * density(high)) / mass
    mean = torch.where(mass > 0, edge(0), low)
    variance = torch.where(mass > 0, 1 + edge(1) - mean**2, 0)
    return mean * middle.sign(), variance
