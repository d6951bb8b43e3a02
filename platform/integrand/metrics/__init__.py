"""How far samples are from data. Imports torch and NumPy, nothing else of Integrand but its errors."""

from .mmd import mmd2
from .wasserstein import exact_w2, sliced_w2

__all__ = ["exact_w2", "mmd2", "sliced_w2"]
