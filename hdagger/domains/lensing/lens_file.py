"""The file of a lens, ``lens.toml``:

[[lens]]
model = "sie"            # sie, epl or shear, as many as there are
einstein_radius = 1.2    # arcsec, of the intermediate axis
axis_ratio = 0.75        # minor over major axis of the mass
angle = 20               # degrees anticlockwise from +x; or position_angle, from north
x = 0.0                  # of the centre, arcsec from the middle of the image
y = 0.0
unknown = { einstein_radius = 0.05, axis_ratio = 0.1, angle = 10 }  # how far off they may be

[[lens]]
model = "shear"
gamma1 = 0.03
gamma2 = -0.01

[source]                 # the frame of the source; what is left out is found
x = 0.05
y = 0.0
size = 1.92
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SettingError
from ...recipe import plain, read_toml
from .fits import Sky
from .lenses import MODELS, Lens, made

SOURCE = ("x", "y", "size")


@dataclass(frozen=True)
class LensFile:
    """What a lens.toml says.

    Attributes:
        lens: The lens.
        x: Of the middle of the source's frame, arcsec; None to have it found.
        y: Of the middle.
        size: Side of that frame, arcsec.
        deviations: How far off each of the lens's numbers may be, 0 for those that are known;
            empty if all are.
    """

    lens: Lens
    x: float | None = None
    y: float | None = None
    size: float | None = None
    deviations: tuple[float, ...] = ()

    @classmethod
    def read(cls, path: Path, sky: Sky) -> "LensFile":
        """Reads the file, for an image that lies so on the sky.

        Raises:
            FileError: It is missing, or no TOML.
            SettingError: It says something else than a lens.
        """
        table = read_toml(path, "a lens")
        models, source = table.pop("lens", None), table.pop("source", {})
        if not isinstance(models, list) or not models or not all(map(_is_table, models)):
            raise SettingError(
                f"Wanted a table [[lens]] for each model, but {path} has none. "
                'Write [[lens]], model = "sie", einstein_radius = 1.2.'
            )
        odd = [*table, *(name for name in source if name not in SOURCE)]
        if odd or not _is_table(source):
            raise SettingError(
                f"Wanted [[lens]] and [source] with {', '.join(SOURCE)}, but {path} has "
                f"{', '.join(odd) or source}. Remove it."
            )
        for name, value in source.items():
            right = isinstance(value, int | float) and math.isfinite(value)
            if not right or (name == "size" and not 0 < value < 1e3):
                raise SettingError(
                    f"Wanted {name} of the source in arcsec, but {path} has {value!r}. Mend it."
                )
        found = [_model(dict(model), path, sky) for model in models]
        lens = Lens(tuple(part for part, _ in found))
        deviations = tuple(value for _, values in found for value in values)
        frame = {name: float(value) for name, value in source.items()}
        return cls(lens, **frame, deviations=deviations if any(deviations) else ())

    def to_toml(self) -> str:
        """The file's text."""
        lines = []
        for part in self.lens.parts:
            numbers = (f"{name} = {plain(float(value))}" for name, value in vars(part).items())
            lines += ["[[lens]]", f"model = {plain(part.name)}", *numbers, ""]
        said = [(name, getattr(self, name)) for name in SOURCE]
        lines += ["[source]", *(f"{name} = {plain(value)}" for name, value in said if value)]
        return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _model(said: dict[str, Any], path: Path, sky: Sky) -> tuple[Any, tuple[float, ...]]:
    """A model, and how far off its numbers may be."""
    name, unknown = said.pop("model", None), said.pop("unknown", {})
    if not isinstance(name, str):
        raise SettingError(
            f"Wanted model = one of {', '.join(MODELS)} in each [[lens]], but {path} has "
            f"{name!r}. Say which it is."
        )
    if "position_angle" in said:
        position_angle = said.pop("position_angle")
        if "angle" in said or not isinstance(position_angle, int | float):
            raise SettingError(
                f"Wanted angle or position_angle, a number, but {path} has both or another. "
                "Leave one out."
            )
        said["angle"] = math.remainder(sky.angle(position_angle), 360)
    part = made(name, said)
    known = tuple(vars(part))
    for number, value in unknown.items() if _is_table(unknown) else [("unknown", unknown)]:
        right = isinstance(value, int | float) and 0 < value < 1e3
        if number not in known or not right:
            raise SettingError(
                f"Wanted unknown = {{ NUMBER = how far off it may be }} of {', '.join(known)}, "
                f"but {path} has {number} = {value!r}. Mend it."
            )
    return part, tuple(float(unknown.get(number, 0)) for number in known)
