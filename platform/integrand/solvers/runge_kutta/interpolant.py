"""The polynomial between the ends of a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

Row = tuple[tuple[int, float], ...]
"""A weighted sum of stages without its zeros: (stage, weight) pairs."""


def row(weights: tuple[float, ...]) -> Row:
    """The non-zero weights with their stages."""
    return tuple((i, w) for i, w in enumerate(weights) if w)


@dataclass(frozen=True)
class Interpolant:
    """y(t + θh) = y + h Σ_i b_i(θ) k_i over the stages of a method and, where it needs them, further ones.

    Args:
        dense: Row i holds the coefficients of θ, θ², … of the weight b_i(θ).
        c: Nodes of the further stages.
        a: Their weights on all stages before them.
    """

    dense: tuple[tuple[float, ...], ...]
    c: tuple[float, ...] = ()
    a: tuple[tuple[float, ...], ...] = ()

    @cached_property
    def columns(self) -> tuple[Row, ...]:
        """For each power of θ, from θ¹ on, the (stage, coefficient) pairs."""
        return tuple(row(column) for column in zip(*self.dense, strict=True))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows of a without zeros."""
        return tuple(row(weights) for weights in self.a)

    def weights(self, theta: float) -> Row:
        """The weights b_i(θ), 0 < θ < 1."""
        weights = []
        for coefficients in self.dense:
            value = 0.0
            for coefficient in reversed(coefficients):
                value = (value + coefficient) * theta
            weights.append(value)
        return row(tuple(weights))


def cubic_hermite(b: tuple[float, ...]) -> Interpolant:
    """The cubic that meets both states and both slopes; order 3, one evaluation at the end of the step.

    With θ: the end's state weighs 3θ² − 2θ³, the first slope θ − 2θ² + θ³, the last −θ² + θ³.

    Args:
        b: Weights of the step.
    """
    rows = [[0.0, 3 * weight, -2 * weight] for weight in b]
    rows[0] = [rows[0][0] + 1, rows[0][1] - 2, rows[0][2] + 1]
    return Interpolant((*map(tuple, rows), (0.0, -1.0, 1.0)), (1.0,), (b,))
