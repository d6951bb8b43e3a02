"""The benches: what lifts an input into a hidden state, makes fields on it, and reads it out."""

from .base import Bench, DynamicsMaker, FieldMaker, Stage
from .dynamics import Dynamics
from .family import BenchFamily
from .noise_contract import Noise

__all__ = ["Bench", "BenchFamily", "Dynamics", "DynamicsMaker", "FieldMaker", "Noise", "Stage"]
