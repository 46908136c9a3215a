"""``hdagger train``: a folder of photographs becomes a prior."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def train(
    plan: Annotated[Path, typer.Argument(help="Training plan in TOML; see training/photo.toml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the training.")] = Path(
        "runs/photo"
    ),
) -> None:
    """Train a prior, or go on with a training that was stopped.

    Every ten minutes, and at the end, the folder gets *prior.safetensors* (the running mean
    of the weights, for `hdagger restore --prior`), *samples.png* to look at, and *state.pt*,
    from which the same command goes on; once, before the learning rate falls, *flat.pt*, from
    which a plan of more hours goes on if it is renamed to *state.pt*. A GPU is used if there is
    one. `kill -STOP` pauses it, and the pause is not trained time.

    Example:

        hdagger train training/photo.toml -o runs/photo
    """
    from ..domains.pictures.training import Training, TrainingPlan

    training = Training(TrainingPlan.read(plan), out)
    console = Console(highlight=False)
    parameters = sum(weight.numel() for weight in training.denoiser.parameters())
    console.print(f"{parameters / 1e6:.1f} M parameters on {training.device}, into {out}")
    if training.step:
        console.print(f"going on at step {training.step}, after {training.seconds / 60:.0f} min")
    total = 3600 * training.plan.hours
    training.run(
        lambda now: console.print(
            f"step {now.step}  crops {now.crops}  loss {now.loss:.4f}  "
            f"{now.crops_per_second:.0f} crops/s  "
            f"left {time.strftime('%H:%M:%S', time.gmtime(max(0, total - now.seconds)))}"
        )
    )
    console.print(f"{out / 'prior.safetensors'}")
