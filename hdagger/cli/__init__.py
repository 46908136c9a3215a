"""The command line: one module a command; each parses, calls one function and prints."""

from .main import main

__all__ = ["main"]
