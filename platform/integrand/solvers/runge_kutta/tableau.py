"""A Runge–Kutta method as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from .interpolant import Interpolant, Row, cubic_hermite, row


@dataclass(frozen=True, eq=False)
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

    Attributes:
        fsal: First same as last: the last stage, at y₁, serves as first stage of the next step.
        needed: Stages that y₁ depends on; what follows them serves the error estimate or the next step only.
        rows: The rows of a without zeros.
        step_row: The weights b without zeros.
        error_row: The difference b - b_low without zeros, the largest first; its sum is 0, so it has two at
            least. Empty without b_low.
        interpolant: The polynomial between the ends of a step: the method's own, or the cubic of Hermite.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    b_low: tuple[float, ...] | None = None
    error_order: int | None = None
    dense: tuple[tuple[float, ...], ...] | None = None
    extension: Interpolant | None = None
    stability: float | None = None

    fsal: bool = field(init=False)
    needed: int = field(init=False)
    rows: tuple[Row, ...] = field(init=False)
    step_row: Row = field(init=False)
    error_row: Row = field(init=False)
    interpolant: Interpolant = field(init=False)

    def __post_init__(self) -> None:
        # at once: torch.compile breaks its graph at a cached property, which has a lock before Python 3.12
        c, a, b = self.c, self.a, self.b
        differences = row(tuple(x - y for x, y in zip(b, self.b_low or b, strict=True)))
        derived = {
            "fsal": c[-1] == 1 and len(c) > 1 and b[-1] == 0 and a[-1] == b[:-1],
            "needed": max(i for i, w in enumerate(b) if w) + 1,
            "rows": tuple(row(r) for r in a),
            "step_row": row(b),
            "error_row": tuple(sorted(differences, key=lambda pair: -abs(pair[1]))),
            "interpolant": Interpolant(self.dense) if self.dense else self.extension or cubic_hermite(b),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def stages(self) -> int:
        """Number of stages, an FSAL stage included."""
        return len(self.c)
