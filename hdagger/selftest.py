"""Does this installation compute what it should? Three questions, a few seconds."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .covariance import Isotropic
from .files import fingerprint
from .operators.spectral import Dense
from .priors import cards, zoo
from .priors.analytic import GaussianPrior
from .problem import Problem
from .samplers.drawn import Drawn
from .solving import BFLOAT16, Network, solve
from .tensors import SampleNoise

SAMPLES, SIZE, SEEN, NOISE = 4000, 6, 3, 0.5
"""Of the Gaussian whose posterior is known."""

WORST = 5.0
"""Standard errors by which a moment of the samples may miss."""

SIDE, GRAIN, GAIN = 64, 0.2, 6.0
"""A picture, the deviation of its noise, and the decibels that a prior has to gain."""


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        question: What was asked.
        well: Whether the answer is right.
        answer: The answer, in words.
    """

    question: str
    well: bool
    answer: str


def findings() -> Iterator[Finding]:
    """All questions, one after the other."""
    yield _law_of_samples()
    yield _whole_weights()
    yield _denoising()


def _law_of_samples() -> Finding:
    """Samples of a Gaussian, against its posterior in closed form."""
    noise = SampleNoise(0, [(0,)])
    matrix = noise((1, SEEN, SIZE))[0]
    prior = GaussianPrior(torch.zeros(SIZE))
    y = matrix @ prior.sample(1, noise)[0] + NOISE * noise((1, SEEN))[0]
    problem = Problem.of(y, Dense(matrix), NOISE)
    x = solve(prior, problem, Drawn(), samples=SAMPLES, uncertainty=Isotropic()).draws.double()
    mean, covariance = prior.posterior(matrix, y, NOISE)
    variance = covariance.diagonal()
    off = (x.mean(0) - mean) / (variance / SAMPLES).sqrt()
    wide = (x.var(0) / variance - 1) / (2 / SAMPLES) ** 0.5
    worst = float(torch.cat([off, wide]).abs().max())
    return Finding(
        "samples of a Gaussian have its posterior's mean and variance",
        worst < WORST,
        f"{worst:.1f} standard errors at worst of {2 * SIZE}",
    )


def _whole_weights() -> Finding:
    """The hashes of the bundled priors, against their cards."""
    bundled = [card for card in cards.known() if card.weights.parent == cards.BUNDLED]
    broken = [card.name for card in bundled if fingerprint(card.weights) != card.sha256]
    return Finding(
        "the bundled priors are as they were trained",
        not broken,
        f"broken: {', '.join(broken)}" if broken else f"{len(bundled)} files",
    )


def _denoising() -> Finding:
    """A disc before a slope, as the photo prior sees it through noise, and the time of a call."""
    network = Network(zoo.load(zoo.card("photo"), "cpu"), BFLOAT16)
    place = torch.linspace(-1, 1, SIDE)
    clean = 0.6 * place.expand(1, 3, SIDE, SIDE).clone()
    clean[..., place[:, None].square() + place.square() < 0.3] = 0.7
    noisy = clean + GRAIN * SampleNoise(0, [(0,)])((1, 3, SIDE, SIDE))
    sigma = torch.tensor(GRAIN)
    rest = (network(noisy.float(), sigma) - clean).square().mean()
    gain = float(10 * torch.log10(GRAIN**2 / rest))
    wide = torch.zeros(1, 3, 4 * SIDE, 4 * SIDE)
    began = time.perf_counter()
    network(wide, sigma)
    seconds = time.perf_counter() - began
    return Finding(
        "the photo prior takes noise away",
        gain > GAIN,
        f"{gain:.1f} dB; {seconds:.2f} s for a call on 256 x 256",
    )
