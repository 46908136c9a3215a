"""Plants bugs in a copy of the package, and proves that a test turns red for each.

    python scripts/mutations.py

The same tests have to be green before. Prints a table; exit status 1 if a bug survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """A bug.

    Attributes:
        name: What it is.
        file: Where, under ``hdagger/``.
        right: The text that is right, found exactly once.
        wrong: What takes its place.
        tests: What should turn red, as pytest names it.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str


MUTATIONS = (
    Mutation(
        "DDRM: noise / sqrt 2",
        "samplers/ddrm.py",
        "x.addcmul_(spread, noise(tuple(D.shape)))",
        "x.addcmul_(spread / 2**0.5, noise(tuple(D.shape)))",
        "test_exact_posterior.py -k ddrm",
    ),
    Mutation(
        "all: noise / sqrt 2",
        "samplers/base.py",
        "x + self.fresh * noise(",
        "x + self.fresh / 2**0.5 * noise(",
        "test_exact_posterior.py -k test_pigdm_converges",
    ),
    Mutation(
        "PiGDM: sigma_y ignored",
        "samplers/pigdm.py",
        "H.solve(y - H(D), r2, problem.sigma_y**2)",
        "H.solve(y - H(D), r2, 0.0)",
        "test_exact_posterior.py -k test_pigdm_converges",
    ),
    Mutation(
        "TMPD: sigma_y ignored",
        "samplers/tmpd.py",
        "problem.H, problem.sigma_y**2",
        "problem.H, 0.0",
        "test_exact_posterior.py -k test_tmpd_converges",
    ),
    Mutation(
        "DDRM: sigma_y ignored",
        "samplers/base.py",
        "self.sigma_y / H.singular_values",
        "0.0 / H.singular_values",
        "test_exact_posterior.py -k ddrm",
    ),
    Mutation(
        "PiGDM: r^2 doubled",
        "samplers/pigdm.py",
        "r2 = sigma2 * self.data_variance",
        "r2 = 2 * sigma2 * self.data_variance",
        "test_exact_posterior.py -k test_pigdm_converges",
    ),
    Mutation(
        "TMPD: r^2 doubled",
        "samplers/tmpd.py",
        "return H(pull(v)) + sigma_y2 * v",
        "return 2 * H(pull(v)) + sigma_y2 * v",
        "test_exact_posterior.py -k test_tmpd_converges",
    ),
    Mutation(
        "all: eta without the factor of DDPM",
        "samplers/base.py",
        "self.eta * self.lower * (1 - (self.lower / self.sigma) ** 2).sqrt()",
        "self.eta * self.lower",
        "test_exact_posterior.py -k ddim",
    ),
    Mutation(
        "DDRM: eta with the factor of DDPM",
        "samplers/ddrm.py",
        "(self.eta * lower) ** 2",
        "(self.eta * lower) ** 2 * (1 - (lower / step.sigma) ** 2)",
        "test_exact_posterior.py -k ddrm",
    ),
    Mutation(
        "DPS: norm over the batch",
        "samplers/guidance.py",
        "torch.linalg.vector_norm(e.flatten(1), dim=1).sum()",
        "torch.linalg.vector_norm(e)",
        "test_samplers.py -k place_in_it",
    ),
    Mutation(
        "PiGDM: weight over the batch",
        "samplers/pigdm.py",
        "(a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))",
        "(a * b).sum()",
        "test_samplers.py -k place_in_it",
    ),
    Mutation(
        "SMC: the price of the pull left out",
        "samplers/smc.py",
        "ratio = _squared(moved - b) - _squared(moved - a)",
        "ratio = 0 * _squared(moved - b)",
        "test_smc.py",
    ),
    Mutation(
        "SMC: no determinant",
        "samplers/tmpd.py",
        "z * scaled + torch.where(seen, 2 * math.pi * values, 1).log()",
        "z * scaled",
        "test_smc.py",
    ),
    Mutation(
        "Gaussian step: the data's share left out",
        "samplers/base.py",
        "1 / (1 / variance + (data.s_bar**-2)[data.kind])",
        "variance + 0 * data.s_bar[data.kind].nan_to_num(posinf=0.0)",
        "test_exact_posterior.py -k gaussian_step",
    ),
    Mutation(
        "Heun: one end only",
        "samplers/integrators.py",
        "step.spread.times((1 - share) / 2, change)",
        "step.spread.times((1 - share) / 4, change)",
        "test_exact_posterior.py -k heun",
    ),
    Mutation(
        "Checkpoints: the timestep off by one",
        "priors/conventions.py",
        "return (after - 1 + (level - low) / (high - low))",
        "return (after + (level - low) / (high - low))",
        "test_huggingface.py -k own_alphas",
    ),
    Mutation(
        "ADM: q, k and v split before the heads",
        "priors/adm.py",
        "unflatten(0, (heads, 3, -1)).unbind(1)",
        "unflatten(0, (3, heads, -1)).unbind(0)",
        "test_adm.py -k ffhq",
    ),
    Mutation(
        "Classifier guidance: sigma for sigma^2",
        "priors/classes.py",
        "self.guidance * sigma**2 * gradient",
        "self.guidance * sigma * gradient",
        "test_zoo.py -k exact_arithmetic",
    ),
)


def is_red(tests: str, planted: Mutation | None = None) -> bool:
    """Whether these tests fail in a copy of the repository, perhaps with a bug in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "hdagger", copy / "hdagger")
        shutil.copytree(ROOT / "tests", copy / "tests")
        shutil.copy(ROOT / "pyproject.toml", copy)
        if planted is not None:
            file = copy / "hdagger" / planted.file
            text = file.read_text()
            if text.count(planted.right) != 1:
                sys.exit(f"{planted.name}: {planted.right!r} is not once in {planted.file}")
            file.write_text(text.replace(planted.right, planted.wrong))
        file, *chosen = tests.split()
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", f"tests/{file}", *chosen],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
            capture_output=True,
        ).returncode
    if status not in (0, 1):
        sys.exit(f"{tests}: pytest ended with status {status}")
    return status == 1


def main() -> int:
    table = Table("bug", "file", "tests", "found")
    survivors = 0
    console = Console()
    for tests in dict.fromkeys(mutation.tests for mutation in MUTATIONS):
        if is_red(tests):
            sys.exit(f"{tests} is red before any bug is planted")
    for mutation in MUTATIONS:
        found = is_red(mutation.tests, mutation)
        survivors += not found
        table.add_row(mutation.name, mutation.file, mutation.tests, "yes" if found else "NO")
        Console(stderr=True).print(f"{mutation.name}: {'found' if found else 'SURVIVED'}")
    console.print(table)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
