"""MRI: hdagger beside sigpy, on the same simulated scans.

    python benchmarks/mri.py data/scans/mri/test/brain1.nii.gz [--methods auto sense wavelets ...]
        [--slices 25] [--cases 4:0.01 4:0.05 8:0.01] [--draws 8] [--prior brain] [--json FILE]

Scans are those of benchmarks/mri_scenes.py: brain1 in random lines by 8 coils, the acceleration
and the noise of each real component as the cases say (bright is 1). All get the same maps.
sigpy's strengths are the best on the truth. Errors are those of the answer of so many samples,
``one`` those of one; intervals are of 90 %, inside of the head.
"""

import argparse
import time
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from mri_peers import STRENGTHS, recon
from mri_scenes import Scene, scene

from hdagger.domains.mri.domain import SCANS
from hdagger.domains.mri.judgement import Fit, against
from hdagger.domains.mri.kspace import signal_of
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare
from hdagger.samples import PosteriorSamples
from hdagger.trials import Row, run_trials, table_lines

PROTOCOL = 2
"""Of rows that may be compared."""

NAMES = ("method", "acceleration", "sigma", "item", "prior", "draws", "protocol")
SCORES = ("psnr", "one", "nmse", "ssim", "coverage", "spread", "chi2_n", "truth", "seconds")
SLICES = 25

prior_of = cache(lambda name: Prior.of(Recipe(prior=name)))
scene_of = lru_cache(maxsize=2)(scene)


def one(
    path: Path, method: str, acceleration: int, sigma: float, item: int, prior: str, draws: int
) -> Row:
    """The scores of a method on a slice."""
    shown, started = scene_of(path, item, acceleration, sigma), time.process_time()
    if method in STRENGTHS:
        return _peer(shown, method)
    recipe = Recipe(method, samples=draws, prior=prior)
    samples = prepare(recipe, shown.measurement, prior_of(prior)).run(item=item)
    seconds = time.process_time() - started
    truth, head = torch.from_numpy(shown.truth), torch.from_numpy(shown.head)
    measured = shown.measurement
    H = SCANS.operator(measured.operator, tuple(samples.mean.shape), measured.arrays)
    found = against(samples, truth, head)
    alone = lambda draw: against(PosteriorSamples(draw[None], {}), truth, head)["psnr"]
    fit = Fit.of(samples.draws, H, measured.y, sigma)
    whole = Fit.of(signal_of(truth[None]).float(), H, measured.y, sigma)
    return {
        **{name: found[name] for name in ("psnr", "nmse", "ssim", "complex_nmse")},
        "one": fmean(alone(draw) for draw in samples.draws),
        "coverage": found["coverage"]["magnitude"],
        "coverage_real": found["coverage"]["real"],
        "coverage_imaginary": found["coverage"]["imaginary"],
        "spread": found["spread"],
        "chi2_n": fmean(fit.of_samples),
        "truth": whole.of_mean,
        "seconds": seconds / draws,
    }


def _peer(shown: Scene, method: str) -> Row:
    measured, started = shown.measurement, time.process_time()
    maps, lines = (measured.arrays[name].numpy() for name in ("maps", "mask"))
    image, strength = recon(method, measured.y.numpy(), maps, lines, shown.truth)
    seconds = time.process_time() - started
    x = signal_of(torch.from_numpy(np.asarray(image, np.complex64))[None])
    answer = PosteriorSamples(x, {})
    found = against(answer, torch.from_numpy(shown.truth), torch.from_numpy(shown.head))
    scores: Row = {name: found[name] for name in ("psnr", "nmse", "ssim", "complex_nmse")}
    return scores | {"strength": strength, "seconds": seconds / len(STRENGTHS[method])}


def markdown(rows: list[Row]) -> str:
    """A row for each method and case: means over the slices."""
    table = []
    case = lambda row: (row["acceleration"], row["sigma"])
    for R, sigma in dict.fromkeys(case(row) for row in rows):
        for method in dict.fromkeys(row["method"] for row in rows):
            mine = [row for row in rows if (*case(row), row["method"]) == (R, sigma, method)]
            if mine:
                cells = (
                    f"{fmean(row[score] for row in mine):.3f}" if score in mine[0] else ""
                    for score in SCORES
                )
                table.append([str(R), f"{sigma:g}", method, str(len(mine)), *cells])
    return "\n".join(table_lines(["R", "noise", "method", "slices", *SCORES], table))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volume", type=Path)
    parser.add_argument("--methods", nargs="+", default=["auto", *STRENGTHS])
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--cases", nargs="+", default=["4:0.01", "4:0.05", "8:0.01"])
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--prior", default="brain")
    parser.add_argument("--json", type=Path, help="keeps the rows, and goes on from them")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trials = {}
    for k in range(args.slices):
        item = (2 * k + 1) * SLICES // (2 * args.slices)
        for method in args.methods:
            for R, sigma in (case.split(":") for case in args.cases):
                prior, draws = ("", 0) if method in STRENGTHS else (args.prior, args.draws)
                job = (method, int(R), float(sigma), item, prior, draws)
                trials[(*job, PROTOCOL)] = [(args.volume, *job)]
    rows = run_trials(NAMES, trials, one, lambda _, rows: rows, args.json, args.workers)
    print(markdown(rows))


if __name__ == "__main__":
    main()
