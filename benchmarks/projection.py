"""How plausible the physics projection makes damaged clips, and how close it stays.

    python benchmarks/projection.py FOLDER
    python benchmarks/projection.py FOLDER --clip kick --strip docs/projection.png

FOLDER has ``train`` and ``held_out`` as scripts/gather_motion.py leaves them. The damage is that
of a poor generator: 15 mm up, waves of 15 mm, a drift of 30 mm and 0.1 m/s, jitter of 4 mm and
0.02 rad. A row has the mean over the seeds of the damage and, after a slash, the worst; *off* is
the root-relative distance to the clip before the damage, *N* the largest horizontal force granted.
With ``--strip`` there is no table: a clip, the damage and what physics makes of it, one above the
other.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from hdagger.domains.motion import rotations
from hdagger.domains.motion.clips import FPS, Motion
from hdagger.domains.motion.files import read_deepmimic
from hdagger.domains.motion.metrics import plausibility, root_relative_distance
from hdagger.domains.motion.physics import Physics
from hdagger.domains.motion.render import renderer, strip

CLIPS = (
    "walk long_walk3 stealthy_walk0 turn_right1 turn_left0 punch cartwheel kick "
    "dance_a dance_b dance_spin jump run"
)
CYCLES = {"walk": 75, "run": 70}
LONGEST = 150
COLUMNS = "clip|damage|Phys-Err before|after|of it Float|Skate|off|CPU-s per s|N"


def damaged(motion: Motion, seed: int) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(len(motion)).double() / motion.fps
    phase = torch.rand(3, generator=generator).double()
    wave = lambda hertz, k: torch.sin(2 * math.pi * (hertz * t + phase[k]))
    qpos = motion.qpos.clone()
    qpos[:, 2] += 0.015 + 0.015 * wave(0.7, 0)
    qpos[:, 0] += 0.03 * wave(0.5, 1) + 0.1 * t
    qpos[:, 1] += 0.03 * wave(0.4, 2)
    qpos[:, :3] += 0.004 * torch.randn(len(motion), 3, generator=generator).double()
    turns = motion.skeleton.quaternions
    jitter = 0.02 * torch.randn(len(motion), len(turns), 3, generator=generator).double()
    jittered = rotations.multiply(qpos[:, turns], rotations.from_vector(jitter))
    qpos[:, turns.flatten()] = jittered.flatten(1)
    hinges = [
        motion.skeleton.columns[body.name].start
        for body in motion.skeleton.bodies
        if body.joint == "hinge"
    ]
    qpos[:, hinges] += 0.02 * torch.randn(len(motion), len(hinges), generator=generator).double()
    return motion.moved(qpos)


def row(physics: Physics, clip: Motion, seed: int | None) -> dict[str, float]:
    before = clip if seed is None else damaged(clip, seed)
    started = time.process_time()
    ((after, report),) = physics([before])
    spent = time.process_time() - started
    found = plausibility(after)
    return {
        "before": plausibility(before).phys_err,
        "after": found.phys_err,
        "float": found.floating,
        "skate": found.skate,
        "off": root_relative_distance(after, clip),
        "spent": spent / clip.seconds,
        "force": max(math.inf if budget is None else budget[0] for budget in report.budgets),
    }


def summary(rows: list[dict[str, float]]) -> str:
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    worst = {key: max(row[key] for row in rows) for key in rows[0]}
    return (
        f"{mean['before']:.1f} | {mean['after']:.1f} / {worst['after']:.1f} "
        f"| {mean['float']:.1f} | {mean['skate']:.1f} | {mean['off']:.0f} / {worst['off']:.0f} "
        f"| {mean['spent']:.2f} / {worst['spent']:.2f} | {worst['force']:.0f}"
    )


def read(folder: Path, name: str) -> Motion:
    (path,) = folder.glob(f"*/*/{name}.txt")
    clip = read_deepmimic(path)[0].resampled(FPS)
    return clip.repeated(CYCLES.get(name, 0)).grounded()[:LONGEST]


def picture(physics: Physics, clip: Motion, seed: int) -> Image.Image:
    """Rows: the clip, the damage, what physics makes of it, and the Phys-Err of each."""
    given = damaged(clip, seed)
    ((clean, _),) = physics([given])
    rows = {"captured": clip, "damaged": given, "projected": clean}
    with renderer() as draw:
        strips = [strip(motion, draw, 6) for motion in rows.values()]
    width, height = 1080, round(1080 * strips[0].height / strips[0].width)
    image = Image.new("RGB", (width, height * len(strips)))
    canvas = ImageDraw.Draw(image)
    for k, (name, motion) in enumerate(rows.items()):
        image.paste(strips[k].resize((width, height), Image.Resampling.LANCZOS), (0, k * height))
        words = f"{name}: Phys-Err {plausibility(motion).phys_err:.1f} mm a frame"
        canvas.text((8, k * height + 6), words, (60, 60, 60), font_size=15)
    return image.quantize(128, dither=Image.Dither.NONE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what scripts/gather_motion.py left")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--clip", choices=CLIPS.split(), help="by default all of them")
    parser.add_argument("--strip", type=Path, help="draw a clip (walk) here, a .png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    physics = Physics(threads=1)
    if options.strip:
        clip = read(options.folder, options.clip or "walk")
        picture(physics, clip, options.first).save(options.strip, optimize=True)
        return
    print(f"| {COLUMNS.replace('|', ' | ')} |")
    print("|---" * (COLUMNS.count("|") + 1) + "|")
    for name in [options.clip] if options.clip else CLIPS.split():
        clip = read(options.folder, name)
        seeds = range(options.first, options.first + options.seeds)
        for damage, chosen in (("none", [None]), (f"{len(seeds)} seeds", seeds)):
            rows = [row(physics, clip, seed) for seed in chosen]
            print(f"| {name} | {damage} | {summary(rows)} |", flush=True)


if __name__ == "__main__":
    main()
