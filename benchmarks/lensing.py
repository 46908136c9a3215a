"""Lensed galaxies: hdagger beside the field's own methods, on the same images.

    python benchmarks/lensing.py [--methods auto curvature gradient convolved ...] [--sources 30]
        [--peaks 10 25 50] [--draws 16] [--prior galaxy] [--json rows.json] [--figure figure.png]

Sources and images are those of benchmarks/lensing_sources.py: simulated lenses and noise over real
galaxies. Every method gets the same operator, every sampler the same prior. ``curvature`` and
``gradient`` are semi-linear inversions at the strength of the highest evidence, with their own
posterior deviations; ``inversion`` in the table is, image by image, the one of higher evidence.
``rough`` draws the lens too, from a start that is off by DEVIATIONS; ``inside`` is the share of
the lens's numbers that lie within their 90 % intervals. Errors are those of the answer of so many
samples on the pixels above 5 % of the peak, over the root mean square of the source there;
intervals are of 90 %.
"""

import argparse
import time
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from lensing_peers import ConvolvedLikelihood, Inversion, semilinear, squared
from lensing_sources import Scene, galaxies, scene
from torch import Tensor

from hdagger.diagnostics import central_interval, student_interval
from hdagger.domains.lensing.domain import LENSING
from hdagger.domains.lensing.figures import Shown, write_figure
from hdagger.domains.lensing.judgement import ON_SOURCE, Fit, against
from hdagger.domains.lensing.unknown import drawn_lenses
from hdagger.operators.base import LinearOperator
from hdagger.operators.gram import Gram
from hdagger.problem import Problem
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare
from hdagger.samples import PosteriorSamples
from hdagger.solving import solve
from hdagger.trials import Row, run_trials, table_lines

PROTOCOL = 2
"""Of rows that may be compared."""

NAMES = ("method", "peak", "item", "sources", "prior", "draws", "protocol")
INVERSIONS = ("curvature", "gradient")
SCORES = ("nrmse", "coverage", "coverage_sky", "spread", "chi2_n", "deviation", "truth", "inside")
SCORES += ("seconds",)
STEPS = 100
"""Of the convolved likelihood."""

DEVIATIONS = (0.03, 0.05, 5.0, 0.03, 0.03, 0.02, 0.02)
"""Of the rough numbers of a lens: Einstein radius, axis ratio, angle, centre, shear."""

Z90 = 1.6449


prior_of = cache(lambda name: Prior.of(Recipe(prior=name)))
sources_of = cache(galaxies)


@lru_cache(maxsize=8)
def scene_of(item: int, sources: int, peak: float) -> Scene:
    found = sources_of()
    return scene(found[item * len(found) // sources], item, peak)


def operator_of(scene: Scene) -> LinearOperator:
    return scene.view.operator(scene.measurement.arrays["psf"])


@lru_cache(maxsize=1)
def squared_of(item: int, sources: int) -> Tensor:
    return squared(operator_of(scene_of(item, sources, 10)))


@lru_cache(maxsize=1)
def gram_of(item: int, sources: int) -> Gram:
    return Gram(operator_of(scene_of(item, sources, 10)))


def inverted(kind: str, peak: float, item: int, sources: int) -> Inversion:
    one = scene_of(item, sources, peak)
    HH = squared_of(item, sources)
    return semilinear(operator_of(one), HH, one.measurement.y, one.noise, kind)


def drawn(
    method: str, peak: float, item: int, sources: int, prior: str, draws: int
) -> PosteriorSamples:
    """Samples of a source, 1 x 64 x 64."""
    one, at_hand = scene_of(item, sources, peak), prior_of(prior)
    if method != "convolved":
        recipe = Recipe(method, samples=draws, prior=prior)
        return prepare(recipe, one.measurement, at_hand).run(item=item)
    posed = LENSING.posed(one.measurement, at_hand.card, at_hand.network)
    problem = Problem(posed.problem.y, gram_of(item, sources), posed.problem.sigma_y)
    walk = ConvolvedLikelihood()
    levels = LENSING.levels(posed.problem, walk, STEPS, at_hand.card)
    found = solve(at_hand.network, problem, walk, levels=levels, samples=draws, item=item)
    return replace(found, draws=posed.finish(found.draws)[0])


def one(method: str, peak: float, item: int, sources: int, prior: str, draws: int) -> Row:
    """The scores of a method on an image."""
    if method == "rough":
        return roughly(peak, item, sources, prior, draws)
    shown, started = scene_of(item, sources, peak), time.process_time()
    y, H, truth = shown.measurement.y, operator_of(shown), torch.from_numpy(shown.truth)
    more: Row = {}
    if method in INVERSIONS:
        found = inverted(method, peak, item, sources)
        x, on = found.mean[None, None], truth > ON_SOURCE * truth.max()
        error, held = found.mean - truth, (found.mean - truth).abs() <= Z90 * found.std
        rms = lambda v: float(v.square().mean().sqrt())
        more = {
            "nrmse": rms(error[on]) / rms(truth[on]),
            "coverage": float(held[on].double().mean()),
            "coverage_sky": float(held[~on].double().mean()),
            "spread": rms(found.std[on]) / rms(error[on]),
            "log_evidence": found.log_evidence,
        }
    else:
        samples = drawn(method, peak, item, sources, prior, draws)
        x, more = samples.draws, against(samples, truth)
    seconds = time.process_time() - started
    fit = Fit.of(x, H, y, shown.noise)
    residual = (y - H(x[:1].double())[0]) / shown.noise
    return more | {
        "chi2_n": fmean(fit.of_samples),
        "deviation": float(residual.std()),
        "truth": Fit.of(truth[None, None], H, y, shown.noise).of_mean,
        "seconds": seconds,
    }


def roughly(peak: float, item: int, sources: int, prior: str, draws: int) -> Row:
    """The scores of a source and of its lens, both drawn."""
    shown, started = scene_of(item, sources, peak), time.process_time()
    view, off = shown.view, np.random.default_rng([item, 11]).standard_normal(len(DEVIATIONS))
    true = torch.tensor(view.lens.numbers, dtype=torch.float64)
    rough = true + torch.from_numpy(off) * torch.tensor(DEVIATIONS, dtype=torch.float64)
    rough[1] = rough[1].clamp(0.3, 0.98)
    guess = replace(view, lens=view.lens.moved(rough.tolist()))
    arrays = dict(shown.measurement.arrays) | {"deviations": torch.tensor(DEVIATIONS)}
    measurement = replace(shown.measurement, operator=str(guess), arrays=arrays)
    recipe = Recipe("drawn", samples=draws, prior=prior)
    samples = prepare(recipe, measurement, prior_of(prior)).run(item=item)
    numbers = samples.known["numbers"].double()
    numbers[:, 2] = true[2] + torch.remainder(numbers[:, 2] - true[2] + 90, 180) - 90
    lenses = drawn_lenses(view.lens, DEVIATIONS, numbers)
    H = [replace(view, lens=lens).operator(shown.measurement.arrays["psf"]) for lens in lenses]
    fit = Fit.of(samples.draws, H, shown.measurement.y, shown.noise)
    low, high = (central_interval if draws >= 19 else student_interval)(numbers, 0.9)
    return against(samples, torch.from_numpy(shown.truth)) | {
        "inside": float(((low <= true) & (true <= high)).double().mean()),
        "off": ((numbers.mean(0) - true) / numbers.std(0)).tolist(),
        "std": numbers.std(0).tolist(),
        "chi2_n": fmean(fit.of_samples),
        "chi2_n_worst": max(fit.of_samples),
        "deviation": fit.of_samples[0] ** 0.5,
        "truth": Fit.of(
            torch.from_numpy(shown.truth)[None, None],
            operator_of(shown),
            shown.measurement.y,
            shown.noise,
        ).of_mean,
        "seconds": time.process_time() - started,
    }


def by_evidence(rows: list[Row]) -> list[Row]:
    """Of both inversions of an image the one that the data make more likely, as ``inversion``."""
    best: dict[tuple[float, int], Row] = {}
    for row in (row for row in rows if row["method"] in INVERSIONS):
        key = row["peak"], row["item"]
        if key not in best or row["log_evidence"] > best[key]["log_evidence"]:
            best[key] = row | {"method": "inversion"}
    return list(best.values())


def markdown(rows: list[Row]) -> str:
    """A row for each method and noise: means over the images."""
    table = []
    every = [*rows, *by_evidence(rows)]
    for peak in sorted({row["peak"] for row in every}):
        for method in dict.fromkeys(row["method"] for row in every):
            mine = [row for row in every if (row["peak"], row["method"]) == (peak, method)]
            if mine:
                cells = (
                    f"{fmean(row[score] for row in mine):.3f}" if score in mine[0] else ""
                    for score in SCORES
                )
                table.append([f"{peak:g}", method, str(len(mine)), *cells])
    return "\n".join(table_lines(["peak / noise", "method", "images", *SCORES], table))


def draw(path: Path, peak: float, item: int, sources: int, prior: str, draws: int) -> None:
    """The figure of one image, with the inversion of the highest evidence beside ours."""
    shown = scene_of(item, sources, peak)
    samples = drawn("auto", peak, item, sources, prior, draws)
    x, mean = samples.draws[:, 0], samples.mean[0]
    found = [(kind, inverted(kind, peak, item, sources)) for kind in INVERSIONS]
    kind, best = max(found, key=lambda each: each[1].log_evidence)
    y, H = shown.measurement.y, operator_of(shown)
    fit = Fit.of(samples.draws, H, y, shown.noise)
    noise, truth = torch.full_like(y[0], shown.noise), torch.from_numpy(shown.truth)
    others = [(f"inversion, {kind}", best.mean)]
    write_figure(path, Shown(shown.view, y[0], noise, x, mean, fit, truth, others))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=["auto", *INVERSIONS, "convolved"])
    parser.add_argument("--sources", type=int, default=30)
    parser.add_argument("--peaks", nargs="+", type=float, default=[10, 25, 50])
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--prior", default="galaxy")
    parser.add_argument("--json", type=Path, help="keeps the rows, and goes on from them")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--figure", type=Path, help="of one image, in place of the table")
    parser.add_argument("--item", type=int, default=0, help="which, for the figure")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.figure:
        draw(args.figure, args.peaks[0], args.item, args.sources, args.prior, args.draws)
        return
    trials = {}
    for item in range(args.sources):
        for method in args.methods:
            for peak in args.peaks:
                prior, draws = ("", 0) if method in INVERSIONS else (args.prior, args.draws)
                job = (method, peak, item, args.sources, prior, draws)
                trials[(*job, PROTOCOL)] = [job]
    rows = run_trials(NAMES, trials, one, lambda _, rows: rows, args.json, args.workers)
    print(markdown(rows))


if __name__ == "__main__":
    main()
