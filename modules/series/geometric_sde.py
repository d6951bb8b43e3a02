"""Neural geometric SDE (Oh, Lim and Kim 2024)."""

from __future__ import annotations

from ..stochastic import stable_equations
from .stable_sde import DrivenSDE, StableSDEFamily


class Geometric(DrivenSDE, stable_equations.Geometric):
    """dz = z γ(t, z̄) dt + σ(t) z dW, integrated as the logarithm of z/z₀."""


class GeometricSDE(StableSDEFamily):
    """Drift and noise in proportion to the state, as in geometric Brownian motion: signs never change.

    Args:
        spec: What the data set publishes; the command line fills it in.
        **kwargs: See `StableSDEFamily`.
    """

    family = "geometric-sde"
    title = "Neural GSDE"
    equation = "dz/z = γ(t, z̄; θ) dt + σ(t; θ) dW, z̄ = ζ(z, X(t); θ)"
    reference = "Oh, Lim and Kim 2024, Stable Neural Stochastic Differential Equations"
    makes = Geometric
