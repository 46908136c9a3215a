"""The settings of a method as plain words and numbers, and back.

A setting is a field of the method's dataclass. Where a field is a method itself, its name is
the setting, and its own fields follow a dot: ``twist = "tmpd"``, ``twist.eta = 1.0``.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_origin

from .errors import SettingError
from .samplers import METHODS, Plain
from .samplers.base import Sampler, settings_in
from .samplers.declared import unknown, valued


def settings_of(method: Sampler[Any]) -> dict[str, Plain]:
    """Every setting of a method that is not open, by name, in the order of its fields."""
    table: dict[str, Plain] = {}
    for field in fields(method):
        value = getattr(method, field.name)
        if isinstance(value, Sampler):
            table[field.name] = METHODS.name_of(value)
            table |= {f"{field.name}.{name}": plain for name, plain in settings_of(value).items()}
        elif isinstance(value, Plain):
            table[field.name] = value
    return table


def settings_text(method: Sampler[Any]) -> str:
    """The settings of a method as one line, such as a benchmark keeps beside its name.

    Example:
        >>> settings_text(METHODS["ddrm"])
        'eta_b=1.0'
    """
    return " ".join(f"{name}={value}" for name, value in settings_of(method).items())


def with_settings(method: Sampler[Any], settings: Mapping[str, Plain]) -> Sampler[Any]:
    """The method with other settings, given as they are or as text.

    Raises:
        SettingError: There is no such setting, or its value is of the wrong kind or out of range.

    Example:
        >>> with_settings(METHODS["pigdm"], {"eta": "0.5", "solver": "heun"}).eta
        0.5
    """
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, Plain]] = {}
    hints = settings_in(type(method))
    for name, value in settings.items():
        first, dot, rest = name.partition(".")
        if first not in hints or (dot and not isinstance(getattr(method, first), Sampler)):
            known = [*hints, *(n for n in settings_of(method) if "." in n)]
            raise unknown(METHODS.name_of(method), known, name)
        if dot:
            inner.setdefault(first, {})[rest] = value
        elif isinstance(getattr(method, first), Sampler):
            changes[first] = _named(first, hints[first], str(value))
        else:
            changes[first] = valued(first, hints[first], value)
    for name, own in inner.items():
        changes[name] = with_settings(changes.get(name, getattr(method, name)), own)
    return replace(method, **changes)


def _named(name: str, kind: Any, value: str) -> Sampler[Any]:
    """A method that a setting names, of the kind that it wants."""
    METHODS.check(value)
    kind = get_origin(kind) or kind
    if not isinstance(METHODS[value], kind):
        able = ", ".join(other for other in METHODS if isinstance(METHODS[other], kind))
        raise SettingError(
            f"Wanted a method for {name} that is a {kind.__name__}, one of {able}, but got "
            f"{value!r}. Choose one of these."
        )
    return METHODS[value]
