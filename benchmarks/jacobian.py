"""PiGDM by J u in place of J^T u: how symmetric the prior's Jacobian is, and what that saves.

    python benchmarks/jacobian.py PICTURES [--prior photo] [--side 256] [--most 4] [--steps 50]

PICTURES is a folder of clean pictures that the prior was not trained on; the central square of
each is used. Four tables:

1. By noise level, with u the residual that PiGDM pulls back for x4 averaging: the cosine of J u
   (forward mode, exact) to J^T u (a backward pass), the ratio of their lengths, and how far the
   forward difference is from J u for two sizes of nudge.
2. PSNR of one sample by a backward pass and by a forward difference, the same noise for both.
3. CPU time of a step over that of a bare call of the prior: medians of calls taken in turns.
4. The largest resident memory of a process that takes three steps.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from restoration import central, half, pictures_in
from rich.progress import track
from torch import Tensor

from hdagger import measure, operator_for_data, read_picture
from hdagger.covariance import Isotropic
from hdagger.domains.pictures.metrics import psnr
from hdagger.domains.pictures.words import operator_for_signal
from hdagger.priors import zoo
from hdagger.problem import Problem
from hdagger.samplers import tangent
from hdagger.samplers.base import Sampler, denoise_and_pull_back
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.pigdm import PiGDM
from hdagger.solving import levels_for, solve
from hdagger.tensors import SampleNoise

SIGMAS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 40.0)
NUDGES = (0.001, 0.01)
TASKS = ("average:4", "mask")


@torch.no_grad()
def symmetry(card: zoo.Card, pictures: Sequence[Tensor]) -> list[str]:
    prior, v = zoo.load(card), card.data_variance
    rows = ["| sigma | cosine | length | " + " | ".join(f"nudge {n:g}" for n in NUDGES) + " |"]
    rows.append("|---|---|---|" + "---|" * len(NUDGES))
    for number in track(SIGMAS, "symmetry"):
        sigma, found = torch.tensor(number, dtype=torch.float64), []
        r2 = sigma**2 * v / (sigma**2 + v)
        for x0 in pictures:
            H = operator_for_signal("average:4", tuple(x0.shape), {})
            problem = Problem(H(x0[None]), H)
            x = x0[None] + sigma * SampleNoise(1, [(0,)])((1, *x0.shape))
            residual = lambda D, p=problem, r2=r2: p.towards_data(D, r2)
            D, u, backward = denoise_and_pull_back(prior, x, sigma, residual)
            forward = PiGDM(jacobian="jvp").along(prior, x, sigma, D, u)
            cosine = torch.cosine_similarity(forward.flatten(), backward.flatten(), 0)
            errors = []
            for tangent.NUDGE in NUDGES:
                nudged = PiGDM(jacobian="difference").along(prior, x, sigma, D, u)
                errors.append(float((nudged - forward).norm() / forward.norm()))
            found.append([float(cosine), float(forward.norm() / backward.norm()), *errors])
        cosine, length, *errors = torch.tensor(found).mean(0).tolist()
        cells = [f"{cosine:.4f}", f"{length:.3f}", *(f"{100 * error:.2g} %" for error in errors)]
        rows.append(f"| {number:g} | " + " | ".join(cells) + " |")
    return rows


def quality(card: zoo.Card, pictures: Sequence[Tensor], steps: int) -> list[str]:
    prior = zoo.load(card)
    ways = {"vjp": None} | {f"difference, nudge {nudge:g}": nudge for nudge in NUDGES}
    figures = {(task, way): [] for task in TASKS for way in ways}
    for x0 in track(pictures, "quality"):
        for task, (way, nudge) in ((task, way) for task in TASKS for way in ways.items()):
            measurement = measure(x0, task, {"mask": half(x0.shape[1])}, 0.0)
            H = operator_for_data(task, tuple(measurement.y.shape), measurement.arrays)
            tangent.NUDGE = nudge or 0.0
            problem = Problem.of(measurement.y, H)
            drawn = solve(
                prior,
                problem,
                PiGDM(jacobian="difference" if nudge else "vjp"),
                levels=levels_for(problem, steps),
                samples=1,
                uncertainty=Isotropic(card.data_variance),
            )
            figures[task, way].append(psnr(drawn.mean, x0))
    rows = ["| task | " + " | ".join(ways) + " | largest difference |", "|---" * 5 + "|"]
    for task in TASKS:
        means = [statistics.mean(figures[task, way]) for way in ways]
        apart = max(
            abs(a - b)
            for way in list(ways)[1:]
            for a, b in zip(figures[task, way], figures[task, "vjp"], strict=True)
        )
        cells = " | ".join(f"{mean:.2f}" for mean in means)
        rows.append(f"| {task} | {cells} | {apart:.2f} of one picture |")
    return rows


SAMPLERS: dict[str, Sampler[Any]] = {
    "ddrm": DDRM(),
    "pigdm, difference": PiGDM(jacobian="difference"),
    "pigdm, vjp": PiGDM(jacobian="vjp"),
}


def walk(card: zoo.Card, side: int, steps: int) -> Callable[[Sampler[Any]], object]:
    """Runs a sampler on x4 averaging of noise."""
    prior = zoo.load(card)
    H = operator_for_signal("average:4", (card.channels, side, side), {})
    problem = Problem.of(H(SampleNoise(0, [(0,)])((1, *H.signal_shape)))[0], H, 0.1)
    levels = levels_for(problem, steps)
    return lambda method: solve(prior, problem, method, levels=levels, samples=1)


def seconds(card: zoo.Card, side: int, rounds: int = 5, steps: int = 3) -> list[str]:
    prior, run = zoo.load(card), walk(card, side, steps)
    x, sigma = torch.zeros(1, card.channels, side, side).double(), torch.tensor(1.0).double()

    def took(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return (time.process_time() - started) / steps

    @torch.no_grad()
    def bare() -> None:
        for _ in range(steps):
            prior(x, sigma)

    rows = ["| sampler | a step over a bare call |", "|---|---|"]
    for name, method in SAMPLERS.items():
        ratios = []
        for _ in track(range(rounds), f"seconds, {name}"):
            before, inside, after = took(bare), took(lambda m=method: run(m)), took(bare)
            ratios.append(2 * inside / (before + after))
        rows.append(f"| {name} | {statistics.median(ratios):.2f} |")
    return rows


def resident(card: zoo.Card, side: int, name: str) -> tuple[float, float]:
    """The largest resident memory of this process in MB, before and after three steps."""
    torch.set_num_threads(1)
    run = walk(card, side, 3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run(SAMPLERS[name])
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(card: zoo.Card, side: int) -> list[str]:
    rows = ["| sampler | MB before | MB at most | over DDRM |", "|---|---|---|---|"]
    least = 0.0
    for name in SAMPLERS:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            before, peak = pool.submit(resident, card, side, name).result()
        least = least or peak
        rows.append(f"| {name} | {before:.0f} | {peak:.0f} | {peak / least:.2f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--most", type=int, default=4, help="the first so many pictures")
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    card, side = zoo.card(arguments.prior), arguments.side
    paths = pictures_in(arguments.pictures, arguments.most)
    pictures = [central(read_picture(path).pixels, side) for path in paths]
    tables: tuple[Callable[[], list[str]], ...] = (
        lambda: memory(card, side),
        lambda: seconds(card, side),
        lambda: symmetry(card, pictures[:2]),
        lambda: quality(card, pictures, arguments.steps),
    )
    for table in tables:
        print("\n".join(table()), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
