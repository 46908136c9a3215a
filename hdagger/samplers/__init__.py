"""Samplers: one paper, one file, and their one table of names.

``METHODS[name]`` is the method with the settings that it has by default; every setting is a
field of it. Other packages add methods by entry points of the group ``hdagger.methods``, each a
class, or a function without arguments, that gives a :class:`~hdagger.samplers.base.Sampler`.
"""

from typing import TYPE_CHECKING, Any

from ..registry import Registry

if TYPE_CHECKING:
    from .base import Sampler


Plain = str | int | float | bool
"""A setting in a file or on a command line: a word or a number."""


class Methods(Registry["Sampler[Any]"]):
    """Name -> the sampler with its default settings."""

    def _made(self, found: Any) -> "Sampler[Any]":
        return found()

    def name_of(self, method: "Sampler[Any]") -> str:
        """What a method is called; its class, if it has no name."""
        for name in self:
            if type(self[name]) is type(method):
                return name
        return type(method).__name__


def twisted() -> "Sampler[Any]":
    """SMC around TMPD, whose likelihood is exact for Gaussians."""
    from .smc import SMC
    from .tmpd import TMPD

    return SMC(twist=TMPD(eta=1.0, solver="euler", covariance="matrix"))


def projected() -> "Sampler[Any]":
    """PhysDiff: DDIM whose last prediction is projected onto what the kind of signal obeys."""
    from .ddim import DDIM
    from .projection import Projected

    return Projected(inner=DDIM(eta=0.0), schedule="last:1")


METHODS = Methods(
    "a method",
    "hdagger.methods",
    {
        "drawn": "hdagger.samplers.drawn:Drawn",
        "ddrm": "hdagger.samplers.ddrm:DDRM",
        "pigdm": "hdagger.samplers.pigdm:PiGDM",
        "cells": "hdagger.samplers.cells:Cells",
        "tmpd": "hdagger.samplers.tmpd:TMPD",
        "projection": "hdagger.samplers.projection:Projection",
        "projected": "hdagger.samplers:projected",
        "reconstruction": "hdagger.samplers.guidance:ReconstructionGuidance",
        "dps": "hdagger.samplers.guidance:DPS",
        "ddim": "hdagger.samplers.ddim:DDIM",
        "smc": "hdagger.samplers:twisted",
        "snips": "hdagger.samplers.snips:SNIPS",
        "diffpir": "hdagger.samplers.diffpir:DiffPIR",
        "daps": "hdagger.samplers.daps:DAPS",
        "red": "hdagger.samplers.red:RED",
        "red-diff": "hdagger.samplers.reddiff:REDDiff",
    },
)
