"""Kinds of signals, a folder each."""
