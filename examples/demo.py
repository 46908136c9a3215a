"""Restores a photograph from three damages by two methods: python examples/demo.py [DIR]

Leaves DIR/report.html, DIR/summary.json (a row for each damage and method) and
DIR/overview.png. About three minutes on two cores.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from hdagger import Measurement, PosteriorSamples, Recipe, measure, operator_for_data, restore
from hdagger.domains.pictures.figures import spread_panel
from hdagger.domains.pictures.files import read_picture
from hdagger.domains.pictures.metrics import psnr, ssim
from hdagger.domains.pictures.words import frame_of
from hdagger.domains.pictures.writing import to_image
from hdagger.files import whole_folder
from hdagger.operators.base import PinvOperator
from hdagger.progress import progress
from hdagger.report import Page, Panel, Section, residual_words, write_page

PHOTO = Path(__file__).with_name("bee.png")
RECIPES = [
    Recipe(method="drawn", samples=6),
    Recipe(method="ddrm", steps=20, samples=3),
]
PATIENCE = "Bees do not ask what a flower was before the wind came. They find it again. "


@dataclass(frozen=True)
class Case:
    """A damage to undo: its name, its operator in text form, its noise, its arrays."""

    name: str
    operator: str
    sigma_y: float
    arrays: dict[str, Tensor] = field(default_factory=dict)


def text_mask(height: int, width: int) -> Tensor:
    """True under lines of text that run across the picture."""
    image = Image.new("1", (width, height))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=21)
    for line, top in enumerate(range(6, height, 31)):
        draw.text((4 - 60 * (line % 3), top), PATIENCE, fill=1, font=font)
    return torch.from_numpy(np.array(image))


def looked_at(measurement: Measurement) -> Tensor:
    """The plain answer: the pseudoinverse, with holes left grey; blurred data as they are."""
    if "gauss" in measurement.operator:
        return measurement.y
    H = operator_for_data(measurement.operator, tuple(measurement.y.shape), measurement.arrays)
    assert isinstance(H, PinvOperator)
    return H.pinv(measurement.y[None])[0]


def row(case: Case, recipe: Recipe, truth: Tensor, given: Tensor, drawn: PosteriorSamples) -> Any:
    made = drawn.provenance
    return {
        "damage": case.name,
        "method": recipe.method,
        "psnr_input": round(psnr(given, truth), 2),
        "psnr_mean": round(psnr(drawn.mean, truth), 2),
        "psnr_sample": round(sum(psnr(x, truth) for x in drawn.draws) / len(drawn.draws), 2),
        "ssim": round(ssim(drawn.mean, truth), 4),
        "nfe": made["nfe"],
        "seconds": made["seconds"],
        "chi2_dof": made["chi2_dof"],
    }


def beside_each_other(strips: list[list[Image.Image]]) -> Image.Image:
    side, gap = strips[0][0].width, 6
    sheet = Image.new(
        "RGB", ((side + gap) * len(strips[0]) - gap, (side + gap) * len(strips) - gap), "white"
    )
    for down, strip in enumerate(strips):
        for right, image in enumerate(strip):
            sheet.paste(image.convert("RGB"), (right * (side + gap), down * (side + gap)))
    return sheet


def main(out: Path) -> None:
    photo = read_picture(PHOTO).pixels
    cases = [
        Case("text", "mask", 0.02, {"mask": text_mask(*photo.shape[1:])}),
        Case("x4 average", "average:4", 0.05),
        Case("blur", "gauss:2,mirror", 0.05),
    ]
    rows, sections, strips = [], [], []
    with whole_folder(out) as folder:
        for case in cases:
            measurement = measure(photo, case.operator, case.arrays, case.sigma_y)
            rows_seen, columns_seen = frame_of(case.operator, tuple(measurement.y.shape))
            truth = photo[:, rows_seen, columns_seen]
            given = looked_at(measurement)
            panels, strip, words = [], [to_image(given)], []
            beside = [Panel("given", to_image(given)), Panel("truth", to_image(truth))]
            for recipe, first in zip(RECIPES, beside, strict=True):
                with progress(f"{case.name}, {recipe.method}") as watch:
                    drawn = restore(recipe, measurement, watch)
                rows.append(row(case, recipe, truth, given, drawn))
                name, one, mean = recipe.method, to_image(drawn.draws[0]), to_image(drawn.mean)
                panels += [first, Panel(f"{name} sample", one), Panel(f"{name} mean", mean)]
                panels.append(spread_panel(drawn))
                strip += [one, mean]
                words.append(f"{name}: {residual_words(drawn.provenance)}")
            title = f"{case.name} ({case.operator})"
            sections.append(Section(title, panels, " ".join(words), flips=True))
            strips.append([*strip, to_image(truth)])
        beside_each_other(strips).save(folder / "overview.png")
        (folder / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
        sections.append(Section("In numbers", text="PSNR in dB.", rows=rows))
        title = "One photograph, three damages, two methods"
        credit = "Photograph: John Severns, public domain."
        write_page(folder / "report.html", Page(title, sections, remarks=[credit]))
    print(f"{out / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo"))
