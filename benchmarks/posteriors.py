"""Posterior samplers side by side on photographs: hdagger's methods, and peers where installed.

    python benchmarks/posteriors.py PICTURES [--methods auto ddrm pigdm tmpd azula-mmps ...]
        [--tasks average:4 gauss:2 motion:15,30 mask jpeg:10] [--sigma-y 0.1] [--crop 96]
        [--draws 8] [--most 8] [--prior photo] [--json rows.json] [--workers 1]

PICTURES is a folder of pictures that nothing was trained or tuned on. The middle of each is
measured: a blur with the picture's true surroundings, which nobody is told. All methods get the
same network, operator and data; the scores are those of ``hdagger check`` (docs/trust.md). Samples
are drawn together as ``hdagger restore`` does it, a peer's one by one, and seconds are those of
the processor for one, in one thread.

Peers: ``pip install azula deepinv`` (both want torchvision), and benchmarks/peers.py.
"""

import argparse
import time
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from peers import PEERS
from restoration import pictures_in
from torch import Tensor

from hdagger import Recipe, read_picture
from hdagger.diagnostics import residual_summary
from hdagger.domains.pictures.arguments import BLURS
from hdagger.domains.pictures.domain import PICTURES
from hdagger.domains.pictures.words import DAMAGES, parse, signal_shape_for
from hdagger.errors import OperatorAbilityError, SettingError
from hdagger.judging import Judged, Scores, judge
from hdagger.restoration import Prior, Restoration, prepare
from hdagger.samples import PosteriorSamples
from hdagger.solving import Network
from hdagger.trials import Row, run_trials, table_lines

PROTOCOL = 1
"""Of rows that may be compared."""

FAR = 100.0
"""A number in a sample beyond which it has diverged; pictures are in [-1, 1]."""

MOST_ATTEMPTS = 4
"""At a sample, on average."""

NAMES = ("task", "sigma_y", "method", "prior", "crop", "draws", "pictures", "protocol")
TASKS = ("average:4", "gauss:2", "motion:15,30", "mask", "jpeg:10")
METHODS = ("auto", "ddrm", "pigdm", "tmpd")


@cache
def prior_of(name: str) -> Prior:
    return Prior.of(Recipe(prior=name))


def drawn_by_peer(name: str, restoration: Restoration, item: int) -> PosteriorSamples:
    """What ``Restoration.run`` gives, drawn by a sampler of another package.

    Samples that diverge, as conjugate gradients on the Jacobian of a network may, are drawn again;
    their calls and seconds count.
    """
    posed, draws = restoration.posed, restoration.recipe.samples
    network = Network(restoration.prior.network)
    found: list[Tensor] = []
    for attempt in range(MOST_ATTEMPTS * draws):
        x = PEERS[name](network, posed.problem, 1000 * item + attempt).detach()
        if x.abs().max() <= FAR:
            found.append(x.to(posed.problem.y))
        if len(found) == draws:
            x = torch.cat(found)
            told = residual_summary(x, posed.problem) | {"nfe": network.nfe / draws}
            return PosteriorSamples(posed.finish(x)[0], told)
    raise SettingError(f"Wanted samples, but {name} diverges on picture {item}. Leave it out.")


def middle_of(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The middle of a picture, in this shape."""
    whole = read_picture(path).pixels
    top, left = ((whole.shape[axis] - shape[axis]) // 2 for axis in (1, 2))
    if min(top, left) < 0 or len(whole) != shape[0]:
        raise SettingError(
            f"Wanted colour pictures of at least {shape[1]} x {shape[2]} pixels, but {path} has "
            f"{whole.shape[1]} x {whole.shape[2]} in {len(whole)} channels. Lower --crop."
        )
    return whole[:, top : top + shape[1], left : left + shape[2]]


def one(
    path: Path,
    item: int,
    task: str,
    sigma_y: float,
    method: str,
    prior: str,
    side: int,
    draws: int,
) -> Judged | None:
    """A method judged on the middle of a picture; None where it cannot work on the task."""
    shape, last = (3, side, side), parse(task)[-1].name
    truth = middle_of(path, signal_shape_for(task, shape) if last in BLURS else shape)
    arrays = PICTURES.arrays(task, tuple(truth.shape), {}, item)
    measurement = PICTURES.measure(truth, task, arrays, sigma_y, item=item)
    recipe = Recipe("auto" if method in PEERS else method, samples=draws, prior=prior)
    try:
        restoration = prepare(recipe, measurement, prior_of(prior))
        started = time.process_time()
        if method in PEERS:
            samples = drawn_by_peer(method, restoration, item)
        else:
            samples = restoration.run(item=item)
        seconds = time.process_time() - started
    except OperatorAbilityError:
        return None
    samples = replace(samples, provenance=samples.provenance | {"seconds": seconds})
    return judge(samples, truth[restoration.posed.frame], PICTURES, item)


def rows_of(key: tuple[object, ...], judged: list[Judged | None]) -> list[Row]:
    """The scores of a method on a task: nothing if it cannot work on it."""
    done = [each for each in judged if each is not None]
    if not done:
        return []
    scores = Scores.of(done)
    return [replace(scores, covered={0.9: scores.covered[0.9]}).described()]


def markdown(rows: list[Row]) -> str:
    """A table for each task, methods down, scores across."""
    lines = []
    for task, sigma_y in dict.fromkeys((row["task"], row["sigma_y"]) for row in rows):
        of_task = [row for row in rows if (row["task"], row["sigma_y"]) == (task, sigma_y)]
        scores = dict.fromkeys(name for row in of_task for name in row if name not in NAMES)
        table = [[row["method"], *(row.get(name, "") for name in scores)] for row in of_task]
        lines += [f"\n{task}, noise {sigma_y:g}\n", *table_lines(["method", *scores], table)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    found = [name for name in PEERS if find_spec(name.split("-")[0])]
    parser.add_argument("--methods", nargs="+", default=[*METHODS, *found])
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--sigma-y", type=float, default=0.1)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--most", type=int, default=8, help="the first so many pictures")
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--json", type=Path, help="keeps the rows, and goes on from them")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = pictures_in(args.pictures, args.most)
    names = f"{args.pictures}: {len(paths)}"
    noise = {
        task: 0.0 if DAMAGES[parse(task)[-1].name].rounds else args.sigma_y for task in args.tasks
    }
    trials = {
        (task, noise[task], method, args.prior, args.crop, args.draws, names, PROTOCOL): [
            (path, item, task, noise[task], method, args.prior, args.crop, args.draws)
            for item, path in enumerate(paths)
        ]
        for task in args.tasks
        for method in args.methods
    }
    print(markdown(run_trials(NAMES, trials, one, rows_of, args.json, args.workers)))


if __name__ == "__main__":
    main()
