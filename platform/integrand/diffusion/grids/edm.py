"""The grid of EDM's published sampler."""

from __future__ import annotations

from .karras import KarrasGrid


class EDMGrid(KarrasGrid):
    """`KarrasGrid` from σ = 80 to 0.002, ρ = 7, and a last step to the data (Karras et al. 2022, Table 1).

    18 steps of Heun's method on it are 35 evaluations.

    Args:
        rho: ρ.
        sigma_min: Noise level before the last step.
        sigma_max: First noise level.
    """

    def __init__(self, rho: float = 7.0, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        super().__init__(rho, sigma_min, sigma_max, to_zero=True)
