"""Butcher tableaux of diagonally implicit methods, with an explicit companion where the field is split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class DIRKTableau:
    """A diagonally implicit method whose implicit stages share one diagonal entry.

    Args:
        gamma: The diagonal entry γ of implicit stages.
        c: Nodes.
        a: Row i holds the weights of stages 0 … i-1 in stage i.
        b: Weights of the step.
        b_low: Weights of the embedded step.
        error_order: Order of the less accurate of the two.
        explicit: Rows of the explicit companion, for a field split in two; it shares c, b and b_low.
        guesses: For each implicit stage, the stages before it whose polynomial in c is its first guess; the
            last one where None.
    """

    gamma: float
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    b_low: tuple[float, ...]
    error_order: int
    explicit: tuple[tuple[float, ...], ...] | None = None
    guesses: tuple[tuple[int, ...], ...] | None = None

    @cached_property
    def guess_rows(self) -> tuple[tuple[float, ...], ...]:
        """Row i holds the weights of stages 0 … i-1 in the first guess of stage i."""
        rows: list[tuple[float, ...]] = []
        for i, at in enumerate(self.c):
            j = i - self.explicit_first
            nodes = self.guesses[j] if self.guesses is not None and j >= 0 else (i - 1,)
            rows.append(tuple(_lagrange(self.c, nodes, k, at) if k in nodes else 0.0 for k in range(i)))
        return tuple(rows)

    @property
    def explicit_first(self) -> bool:
        """Whether the first stage is f at the start of the step (ESDIRK)."""
        return self.c[0] == 0

    @property
    def stiffly_accurate(self) -> bool:
        """Whether the step ends on its last stage."""
        return self.explicit is None and self.b == (*self.a[-1], self.gamma)

    @property
    def implicit_stages(self) -> int:
        """Stages that are solved for."""
        return len(self.c) - self.explicit_first

    @property
    def error_row(self) -> tuple[float, ...]:
        """The difference b - b_low."""
        return tuple(x - y for x, y in zip(self.b, self.b_low, strict=True))


def _lagrange(c: Sequence[float], nodes: Sequence[int], k: int, at: float) -> float:
    """The polynomial that is 1 at node k and 0 at the others, where c is `at`."""
    return math.prod((at - c[j]) / (c[k] - c[j]) for j in nodes if j != k)


@dataclass(frozen=True)
class RosenbrockTableau:
    """A Rosenbrock method in the variables of Hairer, Wanner (1996), IV.7, eq. 7.25.

    (1/(hγ) I - J) u_i = f(t + c_i h, y + Σ a_ij u_j) + Σ (m_ij / h) u_j + h d_i ∂f/∂t, y₁ = y + Σ b_i u_i.

    Args:
        gamma: γ.
        c: Nodes α_i.
        a: Rows a_ij.
        m: Rows C_ij of the paper.
        d: Σ_j γ_ij.
        b: Weights of the step.
        e: Weights of the error estimate.
        error_order: Order of the embedded step.
        dense: Rows of the dense output: y(t + θh) = (1-θ) y + θ (y₁ + (1-θ) (p₁ + θ (p₂ + θ p₃))),
            p_j = Σ_i dense[j][i] u_i.
    """

    gamma: float
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    m: tuple[tuple[float, ...], ...]
    d: tuple[float, ...]
    b: tuple[float, ...]
    e: tuple[float, ...]
    error_order: int
    dense: tuple[tuple[float, ...], ...]
