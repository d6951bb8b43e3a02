"""Neural linear noise SDE (Oh, Lim and Kim 2024)."""

from __future__ import annotations

from ..stochastic import stable_equations
from .stable_sde import DrivenSDE, StableSDEFamily


class LinearNoise(DrivenSDE, stable_equations.LinearNoise):
    """dz = γ(t, z̄) dt + σ(t) z dW."""


class LinearNoiseSDE(StableSDEFamily):
    """Noise in proportion to the state: none where the state is 0.

    Args:
        spec: What the data set publishes; the command line fills it in.
        **kwargs: See `StableSDEFamily`.
    """

    family = "linear-noise-sde"
    title = "Neural LNSDE"
    equation = "dz = γ(t, z̄; θ) dt + σ(t; θ) z dW, z̄ = ζ(z, X(t); θ)"
    reference = "Oh, Lim and Kim 2024, Stable Neural Stochastic Differential Equations"
    makes = LinearNoise
