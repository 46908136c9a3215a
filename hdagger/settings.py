"""The settings of a method as plain words and numbers, and back.

A setting is a field of the method's dataclass. Where a field is a method itself, its name is
the setting, and its own fields follow a dot: ``twist = "tmpd"``, ``twist.eta = 1.0``.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import SettingError
from .samplers import METHODS, Plain
from .samplers.base import Sampler


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
    hints = _kinds(method)
    for name, value in settings.items():
        first, dot, rest = name.partition(".")
        if first not in hints or (dot and not isinstance(getattr(method, first), Sampler)):
            known = ", ".join([*hints, *(n for n in settings_of(method) if "." in n)])
            raise SettingError(
                f"Wanted a setting of {METHODS.name_of(method)}, one of {known}, but got {name!r}."
            )
        if dot:
            inner.setdefault(first, {})[rest] = value
        elif isinstance(getattr(method, first), Sampler):
            changes[first] = _named(first, hints[first], str(value))
        else:
            changes[first] = _valued(first, hints[first], value)
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


def _kinds(method: Sampler[Any]) -> dict[str, Any]:
    """Name -> type of each setting."""
    hints = get_type_hints(type(method))
    return {field.name: hints[field.name] for field in fields(method) if field.init}


def _valued(name: str, kind: Any, value: Plain) -> Any:
    """A value of the kind that a setting has."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        try:
            return _as(option, value)
        except (ValueError, TypeError):
            continue
    wanted = " or ".join(_words(option) for option in options)
    raise SettingError(f"Wanted {wanted} for {name}, but got {value!r}.")


def _as(kind: Any, value: Plain) -> Any:
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
    elif kind is bool:
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
    elif kind in (int, float) and not isinstance(value, bool):
        number = kind(value)
        if number == float(value):
            return number
    elif kind is types.NoneType and value == "open":
        return None
    elif kind is str and isinstance(value, str):
        return value
    raise ValueError


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return names.get(kind, "open" if kind is types.NoneType else "an array, in Python")
