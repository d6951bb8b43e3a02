"""Implicit methods for stiff fields."""

from .sdirk3 import SDIRK3

__all__ = ["SDIRK3"]
