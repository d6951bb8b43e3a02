"""Time grids: where a sampler's steps lie."""

from .align_your_steps import AlignYourSteps
from .base import TimeGrid
from .discrete import DiscreteGrid
from .edm import EDMGrid
from .explicit import ExplicitGrid
from .karras import KarrasGrid
from .log_snr import LogSNRGrid
from .quadratic import QuadraticGrid
from .shifted import ShiftedGrid
from .uniform import UniformGrid

__all__ = [
    "AlignYourSteps",
    "DiscreteGrid",
    "EDMGrid",
    "ExplicitGrid",
    "KarrasGrid",
    "LogSNRGrid",
    "QuadraticGrid",
    "ShiftedGrid",
    "TimeGrid",
    "UniformGrid",
]
