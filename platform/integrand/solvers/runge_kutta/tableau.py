"""A Runge–Kutta method as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .interpolant import Interpolant, Row, cubic_hermite, row


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit method: k_i = f(t + c_i h, y + h Σ_j a_ij k_j), y₁ = y + h Σ_i b_i k_i.

    Args:
        c: Nodes, one for each stage; the first is 0.
        a: Strictly lower triangle, row i holds i weights.
        b: Weights of the step.
        b_low: Weights of the embedded step of another order that b is compared with for the error estimate;
            None for methods of fixed step only.
        error_order: Order of the less accurate of the two.
        dense: Row i holds the coefficients of θ, θ², … of the weight b_i(θ) of the dense output
            y(t + θh) = y + h Σ_i b_i(θ) k_i; None where the stages of the step do not suffice.
        extension: Dense output by further stages, evaluated only in steps that hold an output.
        stability: Length of the real stability interval, |λh| below which the method damps; for the
            stiffness indicator.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    b_low: tuple[float, ...] | None = None
    error_order: int | None = None
    dense: tuple[tuple[float, ...], ...] | None = None
    extension: Interpolant | None = None
    stability: float | None = None

    @property
    def stages(self) -> int:
        """Number of stages, an FSAL stage included."""
        return len(self.c)

    @cached_property
    def fsal(self) -> bool:
        """First same as last: the last stage, at y₁, serves as first stage of the next step."""
        return self.c[-1] == 1 and self.stages > 1 and self.b[-1] == 0 and self.a[-1] == self.b[:-1]

    @cached_property
    def needed(self) -> int:
        """Stages that y₁ depends on; what follows them serves the error estimate or the next step only."""
        return max(i for i, w in enumerate(self.b) if w) + 1

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows of a without zeros."""
        return tuple(row(r) for r in self.a)

    @cached_property
    def step_row(self) -> Row:
        """The weights b without zeros."""
        return row(self.b)

    @cached_property
    def error_row(self) -> Row:
        """The difference b - b_low without zeros, the largest first; its sum is 0, so it has two at least."""
        assert self.b_low is not None
        differences = row(tuple(x - y for x, y in zip(self.b, self.b_low, strict=True)))
        return tuple(sorted(differences, key=lambda pair: -abs(pair[1])))

    @cached_property
    def interpolant(self) -> Interpolant:
        """The polynomial between the ends of a step: the method's own, or the cubic of Hermite."""
        if self.dense is not None:
            return Interpolant(self.dense)
        return self.extension or cubic_hermite(self.b)
