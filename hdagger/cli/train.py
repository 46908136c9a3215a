"""``hdagger train``: a folder of photographs becomes a prior, or a model of one task."""

from pathlib import Path
from typing import Annotated

import typer

from ..options import AsJson, check_plan


def train(
    plan: Annotated[Path, typer.Argument(help="Training plan in TOML; see training/photo.toml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the training.")] = Path(
        "runs/photo"
    ),
    as_json: AsJson = False,
) -> None:
    """Train a prior, or a model of one task, or go on with a training that was stopped.

    Every ten minutes, and at the end, the folder gets *prior.safetensors* (the running mean
    of the weights, for `hdagger restore --prior`), *samples.png* to look at, and *state.pt*,
    from which the same command goes on; once, before the learning rate falls, *flat.pt*, from
    which a plan of more hours goes on if it is renamed to *state.pt*. A GPU is used if there is
    one. `kill -STOP` pauses it, and the pause is not trained time. A plan with a task makes
    *specialist.safetensors* instead, which restores what that task damages.

    Examples:

        hdagger train training/photo.toml -o runs/photo

        hdagger train training/specialists/digits-palette-x4.toml -o runs/palette-x4
    """
    check_plan(plan)

    from ..specialists.training import training_of

    training = training_of(plan, out)
    parameters = sum(weight.numel() for weight in training.denoiser.parameters())
    if not as_json:
        print(f"{parameters / 1e6:.1f} M parameters on {training.device}, into {out}", flush=True)
    if training.step and not as_json:
        minutes = training.seconds / 60
        print(f"going on at step {training.step}, after {minutes:.0f} min", flush=True)
    training.run_aloud(as_json)
