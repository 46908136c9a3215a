"""What a sampler costs beside its network: time of solve by DDRM / (NFE x time of one bare call).

    python benchmarks/overhead.py [--operator average:4] [--rounds 7]

Sampler and bare calls take turns on the bundled photo prior at 3x256x256, so that a change of
the machine's speed touches both; the median ratio over the rounds is printed last.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from hdagger.domains.pictures.words import operator_for_signal
from hdagger.priors import zoo
from hdagger.problem import Problem
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.walk import karras_levels
from hdagger.solving import solve
from hdagger.tensors import SampleNoise

SHAPE = (3, 256, 256)
STEPS = 20


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operator", default="average:4", help="text form, such as gauss:2")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    prior = zoo.load(zoo.card("photo"))
    H = operator_for_signal(arguments.operator, SHAPE, {})
    levels = karras_levels(STEPS)
    noise = SampleNoise(0, [(0,)])
    problem = Problem.of(H(noise((1, *SHAPE)).clamp(-1, 1))[0], H, 0.1)
    x = noise((1, *SHAPE))

    @torch.no_grad()
    def bare() -> None:
        for sigma in levels[:-1]:
            prior(x, sigma)

    def sampler() -> None:
        solve(prior, problem, DDRM(), levels=levels, samples=1)

    bare()
    sampler()
    ratios = []
    for _ in range(arguments.rounds):
        before, inside, after = seconds(bare), seconds(sampler), seconds(bare)
        ratios.append(2 * inside / (before + after))
        print(f"bare call {1e3 * (before + after) / 2 / STEPS:.1f} ms, ratio {ratios[-1]:.3f}")
    print(f"{statistics.median(ratios):.4f}")


if __name__ == "__main__":
    main()
