"""Implicit methods for stiff fields."""

from .base import ImplicitSolver
from .kencarp4 import KenCarp4
from .kvaerno5 import Kvaerno5
from .rodas5p import Rodas5P
from .sdirk3 import SDIRK3
from .split import SplitField

__all__ = ["SDIRK3", "ImplicitSolver", "KenCarp4", "Kvaerno5", "Rodas5P", "SplitField"]
