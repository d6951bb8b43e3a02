"""Samplers: one method each, all behind one contract."""

from .base import Run, Sampler, draw_prior
from .ddim import DDIM

__all__ = ["DDIM", "Run", "Sampler", "draw_prior"]
