"""Why a pseudoinverse, and why a gradient: two sweeps over the operator, on the field.

``conditioning``: a blur whose gain falls from 1 to 1 / kappa, and reconstruction guidance
against PiGDM. H^T H, which the former follows, has gains s^2 and hardly moves what a small s
has seen; pinv(H) H has gains 0 or 1.

``sparsity``: fewer and fewer pixels are seen, and DDRM against PiGDM. DDRM's update touches the
pixels that are seen, and the others learn of it at the next step; PiGDM's goes through the
Jacobian of the prior and reaches all.

Both on the Gaussian field of :mod:`hdagger.bench.field` with its exact denoiser, and judged as
there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..domains.pictures.spectral import CircularBlur
from ..operators.base import LinearOperator
from ..operators.spectral import Inpainting
from ..samplers.base import Sampler
from ..samplers.ddrm import DDRM
from ..samplers.guidance import ReconstructionGuidance
from ..samplers.pigdm import PiGDM
from ..settings import settings_text
from ..trials import Row, generator_for, run_trials, table_lines
from .field import MEASUREMENTS, SAMPLES, SHAPE, Case, draw

PROTOCOL = "sweeps 2"
"""Changes when rows are no longer to be compared with those of before."""

STEPS = 100


def blur(kappa: float) -> CircularBlur:
    """A blur whose gain falls geometrically with the wave number, to 1 / kappa at the highest."""
    k = torch.fft.fftfreq(SHAPE[1], dtype=torch.float64)
    wave = (k[:, None] ** 2 + k**2).sqrt()
    gain = kappa ** -(wave / wave.max())
    return CircularBlur(SHAPE, torch.fft.fftshift(torch.fft.ifft2(gain).real))


def scattered(share: float) -> Inpainting:
    """This share of the pixels is seen, at random; fewer of them are among more of them."""
    return Inpainting(torch.rand(SHAPE, generator=generator_for(0)) < share)


@dataclass(frozen=True)
class Sweep:
    """A family of operators, and the samplers that it tells apart.

    Attributes:
        values: What names the operators.
        operator: value -> the operator.
        sigma_y: Standard deviation of the noise.
        methods: Name -> the sampler.
    """

    values: Sequence[float]
    operator: Callable[[float], LinearOperator]
    sigma_y: float
    methods: Mapping[str, Sampler[Any]]


_PIGDM = PiGDM(data_variance=1.0, jacobian="vjp")

SWEEPS = {
    "conditioning": Sweep(
        (3, 10, 30, 100, 300, 1000),
        blur,
        0.01,
        {"reconstruction": ReconstructionGuidance(), "pigdm": _PIGDM},
    ),
    "sparsity": Sweep(
        (0.5, 0.25, 0.12, 0.06, 0.03, 0.015),
        scattered,
        0.1,
        {"ddrm": DDRM(eta=0.85), "pigdm": _PIGDM},
    ),
}


def one(
    name: str, value: float, method: str, steps: int, measurements: int, samples: int, seed: int
) -> Row:
    """One method with one operator."""
    sweep = SWEEPS[name]
    case = Case.measured(sweep.operator(value), sweep.sigma_y, measurements, seed)
    return draw(sweep.methods[method], case, steps, samples, seed)


NAMES = (
    "protocol",
    "sweep",
    "value",
    "method",
    "settings",
    "steps",
    "measurements",
    "samples",
    "seed",
)


def run(
    name: str,
    file: Path | None = None,
    steps: int = STEPS,
    measurements: int = MEASUREMENTS,
    samples: int = SAMPLES,
    seed: int = 0,
    workers: int = 2,
) -> list[Row]:
    """A row for each operator and method; those that ``file`` holds are not run again."""
    sweep, sizes = SWEEPS[name], (steps, measurements, samples, seed)
    trials = {
        (PROTOCOL, name, value, label, settings_text(method), *sizes): [
            (name, value, label, *sizes)
        ]
        for value in sweep.values
        for label, method in sweep.methods.items()
    }
    return run_trials(NAMES, trials, one, lambda key, rows: rows, file, workers)


def markdown(rows: Sequence[Row]) -> str:
    """One table: operators down."""
    columns = ("mean_error", "variance_ratio", "chi2_dof", "coverage_90")
    cells = [
        [f"{row['value']:g}", row["method"], *(f"{row[column]:.3f}" for column in columns)]
        for row in rows
    ]
    return "\n".join(table_lines(["H", "method", *columns], cells))
