"""The errors that hdagger raises on purpose.

Every message says, in this order: what was wanted, what was given, how to mend it.
"""


class HDaggerError(Exception):
    """Something the caller can mend. Faces print it in one line, without a traceback."""


class ShapeError(HDaggerError, ValueError):
    """A tensor does not have the shape that an operator or a prior works on."""


class OperatorAbilityError(HDaggerError, TypeError):
    """A sampler asks for more than the operator can do."""


class SettingError(HDaggerError, ValueError):
    """A setting is out of its range, or names something that does not exist."""


class FileError(HDaggerError, OSError):
    """A file is missing, broken, unsafe to open, or holds what hdagger does not read."""
