"""Probability paths of flow matching: one file for each."""

from .base import Path
from .independent import IndependentCFM
from .interpolants import LinearInterpolant, TrigonometricInterpolant
from .lipman import Lipman
from .optimal_transport import OptimalTransportCFM
from .schroedinger_bridge import SchroedingerBridgeCFM
from .variance_preserving import VariancePreservingCFM

__all__ = [
    "IndependentCFM",
    "LinearInterpolant",
    "Lipman",
    "OptimalTransportCFM",
    "Path",
    "SchroedingerBridgeCFM",
    "TrigonometricInterpolant",
    "VariancePreservingCFM",
]
