"""Measurements on trained models, each one file; see `base.Evaluation`."""

from __future__ import annotations

from ..registry import import_entry_points, import_package, subclasses
from .base import Evaluation, Finding, Summary

__all__ = ["Evaluation", "Finding", "Summary", "evaluations"]


def evaluations() -> dict[str, type[Evaluation]]:
    """Every evaluation by name: our own, and those that other packages register."""
    import_package(__name__)
    import_entry_points(__name__)
    return {found.name: found for found in subclasses(Evaluation) if found.name}  # type: ignore[type-abstract]
