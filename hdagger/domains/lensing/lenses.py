"""Lens models: how far each of them bends light, beta = theta - alpha(theta).

=========  ===============================================================================
``sie``    singular isothermal ellipsoid, kappa = theta_E / (2 R)
``epl``    elliptical power law, kappa = (3 - slope) / 2 (theta_E / R)^(slope - 1)
``shear``  external shear about the middle of the image
=========  ===============================================================================

R^2 = q X^2 + Y^2 / q with X along the major axis, q the ratio of the axes, so that theta_E is the
Einstein radius of the intermediate axis, and the mass within it is that of the round lens. The
slope is that of the density in three dimensions; the isothermal one is 2.

References:
    Kormann, Schneider and Bartelmann, Isothermal elliptical gravitational lens models, 1994.
    Tessore and Metcalf, The elliptical power law profile lens, 2015.
    https://arxiv.org/abs/1507.01819
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SettingError

Coordinate: TypeAlias = Float[Tensor, "*rays"]
"""Of rays, in arcsec."""

Number: TypeAlias = float | Tensor
"""Of a model; a tensor where its derivative is wanted."""

TERMS = 200
"""Of the series of ``epl``, at most."""

LIMITS: dict[str, tuple[float, float]] = {
    "einstein_radius": (1e-3, 1e3),
    "axis_ratio": (0.1, 1.0),
    "angle": (-360.0, 360.0),
    "slope": (1.2, 2.8),
    "x": (-1e3, 1e3),
    "y": (-1e3, 1e3),
    "gamma1": (-0.5, 0.5),
    "gamma2": (-0.5, 0.5),
}
"""What a parameter may be."""


@runtime_checkable
class Model(Protocol):
    """A part of a lens."""

    def deflection(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """alpha at these places."""
        ...


@dataclass(frozen=True)
class EPL:
    """An elliptical power law.

    Attributes:
        einstein_radius: theta_E, arcsec.
        axis_ratio: Minor over major axis of the mass.
        angle: Of the major axis, degrees anticlockwise from +x.
        slope: Of the density in three dimensions.
        x: Of the centre, arcsec.
        y: Of the centre.
    """

    name: ClassVar[str] = "epl"

    einstein_radius: Number
    axis_ratio: Number = 1.0
    angle: Number = 0.0
    slope: Number = 2.0
    x: Number = 0.0
    y: Number = 0.0

    def deflection(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """Tessore and Metcalf, section 2, their hypergeometric function as a sum (section 3)."""
        q, t = _number(self.axis_ratio), self.slope - 1
        X, Y, cos, sin = _along(self, x, y)
        scale = self.einstein_radius * q.sqrt()
        R = torch.hypot(q * X, Y).clamp(min=1e-9)
        turn = torch.complex(q * X, Y) / R
        f = (1 - q) / (1 + q)
        term = total = turn
        for n in range(1, TERMS):
            term = -f * (2 * n - (2 - t)) / (2 * n + (2 - t)) * turn**2 * term
            total = total + term
            if float(f) ** n < 1e-17:
                break
        alpha = 2 * scale / (1 + q) * (scale / R) ** (t - 1) * total
        return cos * alpha.real - sin * alpha.imag, sin * alpha.real + cos * alpha.imag


@dataclass(frozen=True)
class SIE:
    """A singular isothermal ellipsoid; the attributes are those of :class:`EPL`."""

    name: ClassVar[str] = "sie"

    einstein_radius: Number
    axis_ratio: Number = 1.0
    angle: Number = 0.0
    x: Number = 0.0
    y: Number = 0.0

    def deflection(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """theta_E sqrt(q) / f (atan(f X / psi), atanh(f Y / psi)), with psi^2 = q^2 X^2 + Y^2 and
        f^2 = 1 - q^2 (Kormann et al., section 3)."""
        q = _number(self.axis_ratio)
        X, Y, cos, sin = _along(self, x, y)
        f = (1 - q**2).clamp(min=1e-12).sqrt()
        psi = torch.hypot(q * X, Y).clamp(min=1e-12)
        scale = self.einstein_radius * q.sqrt() / f
        a, b = scale * torch.atan(f * X / psi), scale * torch.atanh(f * Y / psi)
        return cos * a - sin * b, sin * a + cos * b


@dataclass(frozen=True)
class Shear:
    """alpha = (gamma1 x + gamma2 y, gamma2 x - gamma1 y)."""

    name: ClassVar[str] = "shear"

    gamma1: Number = 0.0
    gamma2: Number = 0.0

    def deflection(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        g1, g2 = self.gamma1, self.gamma2
        return g1 * x + g2 * y, g2 * x - g1 * y


MODELS: dict[str, type[Any]] = {model.name: model for model in (SIE, EPL, Shear)}


@dataclass(frozen=True)
class Lens:
    """A lens of several parts, whose deflections add up.

    Attributes:
        parts: The models.

    Example:
        >>> lens = Lens.read("sie:1.2,0.75,20 | shear:0.03,-0.01")
        >>> lens.parts[0].axis_ratio, str(lens)
        (0.75, 'sie:1.2,0.75,20,0,0 | shear:0.03,-0.01')
    """

    parts: tuple[Any, ...]

    @classmethod
    def read(cls, text: str) -> "Lens":
        """A lens from words such as ``sie:1.2,0.75,20``, joined by ``|``.

        Raises:
            SettingError: A word is no model, or its numbers are out of range.
        """
        parts = []
        for word in text.split("|"):
            name, _, said = (part.strip() for part in word.partition(":"))
            try:
                numbers = [float(number) for number in said.split(",")]
                parts.append(made(name, dict(zip(_names(name), numbers, strict=False))))
                if len(numbers) > len(_names(name)):
                    raise ValueError("too many numbers")
            except ValueError as error:
                if isinstance(error, SettingError):
                    raise
                raise SettingError(
                    f"Wanted numbers for {', '.join(_names(name))}, but got {said!r}. "
                    "Write sie:1.2,0.75,20 for a radius of 1.2 arcsec."
                ) from error
        return cls(tuple(parts))

    def __str__(self) -> str:
        return " | ".join(
            f"{part.name}:{','.join(f'{value:.12g}' for value in vars(part).values())}"
            for part in self.parts
        )

    def traced(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """Where in the plane of the source rays come from: beta."""
        bent = [part.deflection(x, y) for part in self.parts]
        return x - sum(a for a, _ in bent), y - sum(b for _, b in bent)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers, such as ``sie.axis_ratio``."""
        return tuple(f"{part.name}.{name}" for part in self.parts for name in vars(part))

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of them, in the order of ``names``."""
        return tuple(value for part in self.parts for value in vars(part).values())

    def moved(self, numbers: Any) -> "Lens":
        """The same models with other numbers, which may be those of a tensor with a graph."""
        left = iter(numbers)
        return Lens(
            tuple(
                replace(part, **{name: next(left) for name in vars(part)}) for part in self.parts
            )
        )


def made(name: str, numbers: dict[str, Any]) -> Any:
    """A model, from the names of its numbers.

    Raises:
        SettingError: There is no such model or number, or one is missing or out of range.
    """
    known = _names(name)
    for key, value in numbers.items():
        if key not in known:
            raise SettingError(
                f"Wanted {', '.join(known)} of the lens model {name}, but got {key!r}. Remove it."
            )
        low, high = LIMITS[key]
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not low <= value <= high:
            raise SettingError(
                f"Wanted {key} of the lens model {name}, a number from {low:g} to {high:g}, "
                f"but got {value!r}. Mend it."
            )
    if "einstein_radius" in known and "einstein_radius" not in numbers:
        raise SettingError(
            f"Wanted einstein_radius of the lens model {name}, but got none. "
            "Say it in arcsec, as in einstein_radius = 1.2."
        )
    return MODELS[name](**{key: float(value) for key, value in numbers.items()})


def _names(name: str) -> tuple[str, ...]:
    if name not in MODELS:
        raise SettingError(
            f"Wanted a lens model, one of {', '.join(MODELS)}, but got {name!r}. Choose one."
        )
    return tuple(entry.name for entry in fields(MODELS[name]))


def _number(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _along(
    model: EPL | SIE, x: Coordinate, y: Coordinate
) -> tuple[Coordinate, Coordinate, Tensor, Tensor]:
    """The coordinates along the axes of a model, and the cosine and sine of its angle."""
    angle = _number(model.angle) * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    dx, dy = x - model.x, y - model.y
    return cos * dx + sin * dy, cos * dy - sin * dx, cos, sin
