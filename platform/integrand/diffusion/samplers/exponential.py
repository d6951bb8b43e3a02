"""Exponential integrators in λ, by the noise, by the data, or by the data with noise: one formula.

With z = h, −h or −2h and c = σ_b, α_b or α_b the step is
x_b = scale x − c [(e^z − 1) D0 + ((e^z − 1)/z − 1) D1 + ((e^z − 1 − z)/z² − ½) D2]
(Lu et al. 2022, DPM-Solver, App. B; Lu et al. 2022, DPM-Solver++, App. B).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from ..processes import Node
from .transfer import combine

Form = Literal["noise", "data", "data-sde"]
Second = Literal["midpoint", "heun"]


def tail(z: float, k: int) -> float:
    """Σ_{j≥1} z^j/(j + k)!: for k = 0 e^z − 1, k = 1 (e^z − 1)/z − 1, k = 2 (e^z − 1 − z)/z² − ½."""
    if k == 0:
        return math.expm1(z)
    if abs(z) > 0.5:
        previous = tail(z, k - 1)
        return (previous - z / math.factorial(k)) / z
    # the recursion loses digits for small z
    return sum(z**j / math.factorial(j + k) for j in range(1, 14))


def moments(z: float, n: int) -> list[float]:
    """∫₀¹ z e^{−zv} v^k dv for k = 0 … n − 1, z > 0."""
    found = [-math.expm1(-z)]
    for k in range(1, n):
        if z > 1:
            found.append(k / z * found[-1] - math.exp(-z))
        else:  # the recursion loses digits for small z
            found.append(sum((-1) ** j * z ** (j + 1) / (math.factorial(j) * (j + k + 1)) for j in range(20)))
    return found


def advance(
    x: Tensor,
    a: Node,
    b: Node,
    form: Form,
    d0: Tensor,
    d1: Tensor | None = None,
    d2: Tensor | None = None,
    second: Second = "midpoint",
    noise: Tensor | None = None,
) -> Tensor:
    """From node a to node b.

    Args:
        x: State at a.
        a: Node with more noise.
        b: Node with less, σ > 0.
        form: What D0, D1 and D2 are derivatives of.
        d0: Prediction at a.
        d1: First derivative times the step, where there is one.
        d2: Second derivative times the step squared, likewise.
        second: Without d2, whether D1 is weighted by ½(e^z − 1) (`midpoint`) or exactly (`heun`).
        noise: Normals, for `data-sde`.
    """
    h = b.log_snr - a.log_snr
    if form == "noise":
        z, c, scale = h, -b.sigma, b.alpha / a.alpha
    else:
        z, c, scale = -h, -b.alpha, b.sigma / a.sigma
        if form == "data-sde":
            z, scale = -2 * h, scale * math.exp(-h)
    terms = [(c * tail(z, 0), d0)]
    if d1 is not None:
        half = d2 is None and second == "midpoint"
        terms.append((0.5 * c * tail(z, 0) if half else c * tail(z, 1), d1))
    if d2 is not None:
        terms.append((c * tail(z, 2), d2))
    if noise is not None:
        terms.append((b.sigma * math.sqrt(-math.expm1(-2 * h)), noise))
    return combine(scale, x, *terms)


def differences(
    values: list[tuple[Node, Tensor]], b: Node, halved: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    """D1 and D2 from earlier predictions.

    Args:
        values: Up to three predictions with their nodes, newest last; the newest is D0.
        b: The node to go to.
        halved: Take the divided difference, half the second derivative, for D2 as published code does.
    """
    if len(values) == 1:
        return None, None
    (node1, m1), (node0, m0) = values[-2:]
    h = b.log_snr - node0.log_snr
    r0 = (node0.log_snr - node1.log_snr) / h
    recent = (m0 - m1) / r0
    if len(values) == 2:
        return recent, None
    node2, m2 = values[-3]
    r1 = (node1.log_snr - node2.log_snr) / h
    older = (m1 - m2) / r1
    change = (recent - older) / (r0 + r1)
    return recent + r0 * change, change if halved else 2 * change
