"""Integrand: the experiment platform for neural networks that are differential equations.

Importing this package imports neither torch nor Lightning; its parts do when they need them.
"""

from .version import __version__

__all__ = ["__version__"]
