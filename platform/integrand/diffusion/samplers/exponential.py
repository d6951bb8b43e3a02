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
    derivatives = [d for d in (d0, d1, d2) if d is not None]
    scale, factors = weights(a, b, form, len(derivatives), second)
    return combine(scale, x, *zip(factors, derivatives, strict=True), *_drawn(a, b, noise))


def advance_by_past(
    x: Tensor,
    a: Node,
    b: Node,
    form: Form,
    past: list[tuple[Node, Tensor]],
    second: Second = "midpoint",
    halved: bool = False,
    noise: Tensor | None = None,
) -> Tensor:
    """From node a to node b, with derivatives from earlier predictions and no tensor of their own.

    Args:
        x: State at a.
        a: Node with more noise.
        b: Node with less, σ > 0.
        form: What the predictions are.
        past: Up to three predictions with their nodes, newest last; the newest is D0.
        second: See `advance`.
        halved: Take the divided difference, half the second derivative, for D2 as published code does.
        noise: Normals, for `data-sde`.
    """
    scale, factors = weights(a, b, form, len(past), second)
    newest_first = past[::-1]
    rows = differences([node for node, _ in newest_first], b, halved)
    terms = [
        (sum(factor * row[j] for factor, row in zip(factors, rows, strict=True)), value)
        for j, (_, value) in enumerate(newest_first)
    ]
    return combine(scale, x, *terms, *_drawn(a, b, noise))


def weights(a: Node, b: Node, form: Form, count: int, second: Second) -> tuple[float, list[float]]:
    """What x, and D0, D1 and D2 as far as there are `count` of them, are multiplied by; see `advance`."""
    h = b.log_snr - a.log_snr
    if form == "noise":
        z, c, scale = h, -b.sigma, b.alpha / a.alpha
    else:
        z, c, scale = -h, -b.alpha, b.sigma / a.sigma
        if form == "data-sde":
            z, scale = -2 * h, scale * math.exp(-h)
    if count == 2 and second == "midpoint":
        return scale, [c * tail(z, 0), 0.5 * c * tail(z, 0)]
    return scale, [c * tail(z, k) for k in range(count)]


def differences(nodes: list[Node], b: Node, halved: bool = False) -> list[list[float]]:
    """D0, D1 and D2 as sums of the predictions at up to three nodes, newest first: the rows of their factors.

    Args:
        nodes: Where the predictions are, newest first.
        b: The node to go to.
        halved: See `advance_by_past`.
    """
    if len(nodes) == 1:
        return [[1.0]]
    h = b.log_snr - nodes[0].log_snr
    r0 = (nodes[0].log_snr - nodes[1].log_snr) / h
    if len(nodes) == 2:
        return [[1.0, 0.0], [1 / r0, -1 / r0]]
    r1 = (nodes[1].log_snr - nodes[2].log_snr) / h
    recent, older = [1 / r0, -1 / r0, 0.0], [0.0, 1 / r1, -1 / r1]
    change = [(new - old) / (r0 + r1) for new, old in zip(recent, older, strict=True)]
    first = [new + r0 * part for new, part in zip(recent, change, strict=True)]
    return [[1.0, 0.0, 0.0], first, change if halved else [2 * part for part in change]]


def _drawn(a: Node, b: Node, noise: Tensor | None) -> list[tuple[float, Tensor]]:
    """The noise of a step, with its deviation; none where there is none."""
    if noise is None:
        return []
    return [(b.sigma * math.sqrt(-math.expm1(2 * (a.log_snr - b.log_snr))), noise)]
