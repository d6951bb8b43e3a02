"""A step of ρ = σ/α split into a deterministic part and fresh noise, which ancestral samplers share."""

from __future__ import annotations

import math

from integrand.errors import UsageError

from ..processes import Node


def split(a: Node, b: Node, eta: float) -> tuple[float, float]:
    """The level ρ_down that the flow is followed to, and the deviation ρ_up of the noise that is then added.

    ρ_up² = η² ρ_b² (1 − ρ_b²/ρ_a²), ρ_down² = ρ_b² − ρ_up²; at η = 1 ρ_up is the posterior's deviation.

    Args:
        a: Node with more noise.
        b: Node with less, σ > 0.
        eta: η, from 0 to 1.
    """
    up = eta * b.rho * math.sqrt(-math.expm1(2 * (a.log_snr - b.log_snr)))
    return math.sqrt(b.rho**2 - up**2), up


def require_eta(eta: float) -> None:
    """Refuse η outside [0, 1].

    Raises:
        UsageError: It is outside.
    """
    if not 0 <= eta <= 1:
        raise UsageError(f"eta must lie in [0, 1], not {eta:g}", "0 is deterministic, 1 ancestral")


def marked(name: str, eta: float) -> str:
    """A sampler's name with η where it is neither 0 nor 1, and `ancestral` where it is not 0."""
    if not eta:
        return name
    return f"{name} ancestral" + (f" eta={eta:g}" if eta != 1 else "")
