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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..domains.pictures.spectral import CircularBlur
from ..operators.base import LinearOperator
from ..operators.spectral import Inpainting
from ..priors.base import Denoiser
from ..samplers.base import Sampler
from ..samplers.ddrm import DDRM
from ..samplers.guidance import ReconstructionGuidance
from ..samplers.pigdm import PiGDM
from .cells import Row, generator_for, run_cells
from .field import SHAPE, Case, draw

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
        methods: Name -> prior -> the sampler.
    """

    values: Sequence[float]
    operator: Callable[[float], LinearOperator]
    sigma_y: float
    methods: dict[str, Callable[[Denoiser], Sampler]]


SWEEPS = {
    "conditioning": Sweep(
        (3, 10, 30, 100, 300, 1000),
        blur,
        0.01,
        {
            "reconstruction": lambda prior: ReconstructionGuidance(prior),
            "pigdm": lambda prior: PiGDM(prior),
        },
    ),
    "sparsity": Sweep(
        (0.5, 0.25, 0.12, 0.06, 0.03, 0.015),
        scattered,
        0.1,
        {"ddrm": lambda prior: DDRM(prior), "pigdm": lambda prior: PiGDM(prior)},
    ),
}


def solve(name: str, value: float, method: str) -> Row:
    """One method with one operator."""
    sweep = SWEEPS[name]
    case = Case.measured(sweep.operator(value), sweep.sigma_y)
    found, nfe, seconds = draw(sweep.methods[method], case, STEPS)
    return {
        "sweep": name,
        "value": value,
        "method": method,
        "nfe": nfe,
        **found,
        "seconds": seconds,
    }


def run(name: str, file: Path | None = None, workers: int = 2) -> list[Row]:
    """A row for each operator and method; those that ``file`` holds are not run again."""
    sweep = SWEEPS[name]
    cells = {
        (name, value, method): [(name, value, method)]
        for value in sweep.values
        for method in sweep.methods
    }
    return run_cells(
        ("sweep", "value", "method"), cells, solve, lambda cell, rows: rows, file, workers
    )


def markdown(rows: Sequence[Row]) -> str:
    """One table: operators down."""
    columns = ("mean_error", "variance_ratio", "chi2_dof", "coverage_90")
    lines = ["| H | method | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for row in rows:
        numbers = " | ".join(f"{row[column]:.3f}" for column in columns)
        lines += [f"| {row['value']:g} | {row['method']} | {numbers} |"]
    return "\n".join(lines)
