"""How plausible the physics projection makes damaged clips, and how close it stays.

    python benchmarks/projection.py FOLDER

FOLDER has ``train`` and ``held_out`` as scripts/gather_motion.py leaves them. The damage is that
of a poor generator: 15 mm up, waves of 15 mm, a drift of 30 mm and 0.1 m/s, jitter of 4 mm and
0.02 rad. *off* is the root-relative distance to the clip before the damage, *N* the horizontal
force granted to each segment.
"""

import argparse
import math
import time
from pathlib import Path

import torch

from hdagger.motion import rotations
from hdagger.motion.clips import FPS, Motion, read_deepmimic
from hdagger.motion.metrics import plausibility, root_relative_distance
from hdagger.motion.physics import Physics

CLIPS = "walk turn_right1 turn_left0 punch cartwheel kick dance_a dance_b jump run"
CYCLES = {"walk": 75, "run": 70}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what scripts/gather_motion.py left")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    physics = Physics(threads=1)
    columns = (
        "clip",
        "damage",
        "Phys-Err before",
        "after",
        "float",
        "skate",
        "off",
        "CPU-s/s",
        "N",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for name in CLIPS.split():
        for path in sorted(options.folder.glob(f"*/*/{name}.txt")):
            clip = read_deepmimic(path)[0].resampled(FPS)
            clip = clip.repeated(CYCLES.get(name, 0)).grounded()
            for seed in (None, *range(options.seeds)):
                before = clip if seed is None else damaged(clip, seed)
                started = time.process_time()
                ((after, report),) = physics([before])
                spent = (time.process_time() - started) / clip.seconds
                found = plausibility(after)
                force = [f"{b[0]:.0f}" if b else "fell" for b in report.budgets]
                print(
                    f"| {name} | {'none' if seed is None else f'seed {seed}'} "
                    f"| {plausibility(before).phys_err:.1f} | {found.phys_err:.1f} "
                    f"| {found.floating:.1f} | {found.skate:.1f} "
                    f"| {root_relative_distance(after, clip):.0f} | {spent:.2f} "
                    f"| {', '.join(force)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
