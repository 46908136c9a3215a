"""Does a label help? Accuracy of a classifier on restored digits, with and without their labels.

    python scripts/gather_digits.py data/digits
    python benchmarks/digits.py data/digits/test [--count 500] [--methods auto,ddrm,pigdm]

The digits were never trained on. Each is measured without noise and restored once by the bundled
digits prior: not told its label, and told it ("cc"; at guidance 1 the prior is the plain
conditional one). Columns: the share that the bundled classifier, which guides nothing here, reads
as the digit's label, +- 1.96 standard errors. --samples FILE draws new digits instead, writes a
sheet of them and reports how many are read as their label.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hdagger import Measurement, Recipe, operator_for_signal, read_picture, restore
from hdagger.domains.pictures.words import Arrays
from hdagger.domains.pictures.writing import to_image
from hdagger.errors import OperatorAbilityError
from hdagger.priors import zoo

CENTRE = torch.zeros(28, 28, dtype=torch.bool)
CENTRE[7:21, 7:21] = True
CASES: dict[str, tuple[str, Arrays]] = {
    "x4 averaging": ("average:4", {}),
    "centre 14x14 missing": ("mask", {"mask": CENTRE}),
    "JPEG 5": ("jpeg:5", {}),
}


def held_out(folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first digits of every label, ``(count, 1, 28, 28)``, and their labels."""
    pixels, labels = [], []
    for label in range(10):
        for path in sorted((folder / str(label)).glob("*.png"))[: -(-count // 10)]:
            pixels.append(read_picture(path).pixels)
            labels.append(label)
    return torch.stack(pixels)[:count], torch.tensor(labels)[:count]


def restored(
    recipe: Recipe,
    operator: str,
    arrays: Arrays,
    x: Tensor,
    told: Tensor | None,
    guidance: float = 1.0,
) -> tuple[Tensor, str]:
    """One sample for each digit, and the method that drew them."""
    H = operator_for_signal(operator, (1, 28, 28), arrays)
    found, method = [], recipe.method
    for item, y in enumerate(H(x)):
        own = recipe
        if told is not None:
            own = replace(recipe, label=int(told[item]), guidance=guidance)
        drawn = restore(own, Measurement(y, operator, 0.0, arrays, (1, 28, 28)), item=item)
        found.append(drawn.draws)
        method = drawn.provenance["method"]
    return torch.cat(found).double(), method


@torch.no_grad()
def read_as(x: Tensor) -> Tensor:
    """What the classifier reads, ``(batch,)``."""
    classifier = zoo.load_classifier("digits-classifier")
    return classifier(x.float(), torch.tensor(0.05)).argmax(dim=1)


def share(right: Tensor) -> str:
    p = float(right.double().mean())
    return f"{100 * p:.1f} +- {196 * (p * (1 - p) / len(right)) ** 0.5:.1f} %"


def draw(count: int, steps: int, guidance: float, sheet: Path) -> None:
    """New digits, as many of every label, and a sheet of the first 200."""
    labels = torch.arange(count) % 10
    nothing = torch.zeros(count, 1, 28, 28, dtype=torch.float64)
    recipe = Recipe("ddim", steps=steps, samples=1, prior="digits")
    x, _ = restored(recipe, "none", {}, nothing, labels, guidance)
    rows = x[:200].unflatten(0, (-1, 20)).permute(2, 0, 3, 1, 4).reshape(1, -1, 20 * 28)
    to_image(rows).save(sheet)
    print(f"{share(read_as(x) == labels)} of {count} samples read as their label; {sheet}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("digits", type=Path, help="data/digits/test")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=1.0, help="towards the label")
    parser.add_argument("--methods", default="auto,ddrm,pigdm")
    parser.add_argument("--samples", type=Path, help="draw new digits, onto this sheet")
    arguments = parser.parse_args()
    if arguments.samples:
        draw(arguments.count, arguments.steps, arguments.guidance, arguments.samples)
        return
    guidance = arguments.guidance
    digits, labels = held_out(arguments.digits, arguments.count)
    print(f"the {len(digits)} digits themselves: {share(read_as(digits) == labels)}\n")
    print("| measured | method | not told | told (cc) |\n|---|---|---|---|")
    for title, (operator, arrays) in CASES.items():
        for named in arguments.methods.split(","):
            recipe = Recipe(named, steps=arguments.steps, samples=1, prior="digits")
            method, started, read = named, time.perf_counter(), []
            try:
                for told in (None, labels):
                    x, method = restored(recipe, operator, arrays, digits, told, guidance)
                    read.append(share(read_as(x) == labels))
            except OperatorAbilityError:
                continue
            seconds = time.perf_counter() - started
            print(f"| {title} | {method}-{arguments.steps} | {' | '.join(read)} |", flush=True)
            print(f"{seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
