"""Few, noisy or missing projections of a chest: hdagger beside what is done without a prior.

    python benchmarks/ct.py SCANS [--prior chest] [--settings few many arc] [--slices 48]
        [--methods auto fbp sirt tv] [--draws 20] [--json rows.json]

SCANS is the folder of scripts/gather_scans.py. The slices are those of its ``chest/test`` (lung1
of pyradiomics), a patient whom no prior has seen; of n slices as many are taken, evenly. Scans are
simulated: photons through the 512 x 512 original with four rays a bin, parallel beams; what is
restored has 128 x 128 pixels of 2.28 mm. Every method gets the same projector, and the same noise
where it asks for one: that of photons, and what a slice and its pixels differ by, as measured on
another patient. ``tv`` is total variation at the strength, of STRENGTHS, of the highest PSNR over
the very slices of a setting, which favours it. Ours are the answer of so many samples, and
``sample``, the first alone; intervals are of 90 %, in the body. ``rmse`` is of the whole slice,
``rmse_hu`` of the body, both in HU.
"""

import argparse
import time
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from ct_peers import sirt, total_variation
from torch import Tensor

from hdagger.diagnostics import residual_chi2
from hdagger.domains.ct.judgement import against, body, psnr, told
from hdagger.domains.ct.projector import Projector, filtered_back_projection, water
from hdagger.domains.ct.reading import measured
from hdagger.domains.ct.simulation import Plan, Simulated, Slices, read_slices, simulate
from hdagger.domains.ct.sinograms import of_counts
from hdagger.problem import Problem
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, prepare
from hdagger.samples import PosteriorSamples
from hdagger.trials import Row, run_trials, table_lines

PROTOCOL = 2
"""Of rows that may be compared."""

NAMES = ("method", "setting", "item", "slices", "prior", "draws", "protocol")
SETTINGS = {
    "few": Plan(views=23, i0=1e4),
    "many": Plan(views=60, i0=1e5),
    "arc": Plan(views=60, arc=90, i0=1e5),
}
STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
SCORES = ("psnr", "ssim", "rmse", "rmse_hu", "coverage", "spread", "coverage_unseen")
SCORES += ("bias_hu_lung", "bias_hu_soft_tissue", "bias_hu_bone")
SCORES += ("chi2_n_of_samples", "truth", "seconds")
DEFAULT = ["tv", "fbp", "sirt", "auto"]

prior_of = cache(lambda name: Prior.of(Recipe(prior=name)))
volume_of = cache(lambda scans: read_slices(next(Path(scans, "chest/test").glob("*.nii.gz"))))


@lru_cache(maxsize=8)
def scan_of(scans: str, setting: str, item: int, slices: int) -> Simulated:
    volume = volume_of(scans)
    number = item * len(volume.x) // slices
    one = Slices(volume.x[[number]], volume.pixel)
    return simulate(one, SETTINGS[setting], lambda done, total: None)


def one(
    scans: str, method: str, setting: str, item: int, slices: int, prior: str, draws: int
) -> Row:
    """The scores of a method on a slice."""
    made = scan_of(scans, setting, item, slices)
    scan, truth, H = made.scan, made.truth[0], Projector(made.scan)
    p, photons = of_counts(made.counts[0], made.i0)
    measurement = measured(p, photons, scan, water(H))
    problem = Problem.of(measurement.y, H, measurement.sigma_y)
    started, more = time.process_time(), {}
    kind, _, strength = method.partition(":")
    if kind == "tv":
        x = total_variation(problem, float(strength))
    elif kind == "sirt":
        x = sirt(H, measurement.y)
    elif kind == "fbp":
        x = filtered_back_projection(torch.where(photons.isfinite(), p, 0), scan)
    else:
        recipe = Recipe(method, samples=draws, prior=prior)
        samples = prepare(recipe, measurement, prior_of(prior)).run(item=item)
        x = samples.mean[0]
        more = against(samples, truth, scan) | told(samples, problem, scan)
        more["sample"] = psnr(samples.draws[0, 0], truth)
    seconds = time.process_time() - started
    single = against(PosteriorSamples(x[None, None].float(), {}), truth, scan)
    chi2 = lambda v: float(residual_chi2(v.double().view(1, 1, *truth.shape), problem))
    more = {"chi2_n_of_samples": chi2(x)} | more
    more |= {k: v for k, v in single.items() if k not in ("coverage", "coverage_unseen")}
    return more | {
        "ssim": ssim(x, truth),
        "rmse": 1000 * float((x - truth).square().mean().sqrt()),
        "body": float(body(truth).double().mean()),
        "truth": chi2(truth),
        "seconds": seconds,
    }


def ssim(x: Tensor, truth: Tensor) -> float:
    """In the window of -1000 to 1000 HU."""
    from skimage.metrics import structural_similarity

    a, b = (v.double().clamp(-1, 1).numpy() for v in (x, truth))
    found: Any = structural_similarity(a, b, data_range=2)
    return float(found)


def with_best_strength(rows: list[Row]) -> list[Row]:
    """``tv`` at the strength of the highest PSNR in each setting, in the place of all."""
    best = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        mine = [row for row in rows if row["setting"] == setting]
        tried = dict.fromkeys(row["method"] for row in mine if row["method"].startswith("tv:"))
        mean = lambda method, mine=mine: fmean(
            row["psnr"] for row in mine if row["method"] == method
        )
        chosen = max(tried, key=mean, default=None)
        best += [row for row in mine if row["method"] not in tried or row["method"] == chosen]
    return best


def markdown(rows: list[Row]) -> str:
    """A row for each method and setting: means over the slices."""
    names = (*SCORES[:1], "sample", *SCORES[1:])
    table = []
    every = with_best_strength(rows)
    for setting in dict.fromkeys(row["setting"] for row in every):
        for method in dict.fromkeys(row["method"] for row in every if row["setting"] == setting):
            mine = [r for r in every if (r["setting"], r["method"]) == (setting, method)]
            found = [[row[name] for row in mine if name in row] for name in names]
            cells = (f"{fmean(each):.3f}" if each else "" for each in found)
            table.append([setting, method, str(len(mine)), *cells])
    return "\n".join(table_lines(["setting", "method", "slices", *names], table))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", help="folder of scripts/gather_scans.py")
    parser.add_argument("--methods", nargs="+", default=DEFAULT)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--prior", default="chest")
    parser.add_argument("--json", type=Path, help="keeps the rows, and goes on from them")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    methods = [m for m in args.methods if m != "tv"]
    methods += [f"tv:{strength:g}" for strength in STRENGTHS if "tv" in args.methods]
    trials = {}
    for setting in args.settings:
        for item in range(args.slices):
            for method in methods:
                peer = method in ("fbp", "sirt") or method.startswith("tv:")
                prior, draws = ("", 0) if peer else (args.prior, args.draws)
                job = (method, setting, item, args.slices, prior, draws)
                trials[(*job, PROTOCOL)] = [(args.scans, *job)]
    rows = run_trials(NAMES, trials, one, lambda _, rows: rows, args.json, args.workers)
    print(markdown(rows))


if __name__ == "__main__":
    main()
