"""Neural Langevin SDE (Oh, Lim and Kim 2024)."""

from __future__ import annotations

from .stable_sde import DrivenSDE, StableSDEFamily


class LangevinSDE(StableSDEFamily):
    """Drift along a learned force, noise of a strength that depends on the time alone.

    Where the force is −∇U and σ² = 2/β, the law tends to the density e^{−βU}.

    Args:
        spec: What the data set publishes; the command line fills it in.
        **kwargs: See `StableSDEFamily`.
    """

    family = "langevin-sde"
    title = "Neural LSDE"
    equation = "dz = γ(z̄; θ) dt + σ(t; θ) dW, z̄ = ζ(z, X(t); θ)"
    reference = "Oh, Lim and Kim 2024, Stable Neural Stochastic Differential Equations"
    makes = DrivenSDE
    tells_time = False
