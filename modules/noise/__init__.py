"""Noise as a regulariser of any family whose mathematics allows it: `--model.noise StochasticDepth`."""

from .continuum_dropout import ContinuumDropout
from .dropout import Dropout
from .feynman_kac import FeynmanKac
from .injection import GaussianInjection, UniformInjection
from .shake_shake import ShakeShake
from .stochastic_depth import StochasticDepth

__all__ = [
    "ContinuumDropout",
    "Dropout",
    "FeynmanKac",
    "GaussianInjection",
    "ShakeShake",
    "StochasticDepth",
    "UniformInjection",
]
