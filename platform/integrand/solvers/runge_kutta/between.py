"""States between the ends of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor

from integrand.solvers.dense import Piece, at_rows

from .interpolant import Interpolant
from .step import Field, add_stages, sum_stages


def extend(
    interpolant: Interpolant,
    field: Field,
    times: Sequence[Tensor],
    h: float | Tensor,
    y: Tensor,
    stages: Sequence[Tensor],
) -> list[Tensor]:
    """All stages, the further ones evaluated at `times`.

    Args:
        interpolant: The polynomial.
        field: Called as `field(t, y)`.
        times: Time of each further stage.
        h: Step, signed.
        y: State at the start, shape (batch, ...).
        stages: Stages of the method.
    """
    complete = list(stages)
    for time, weights in zip(times, interpolant.rows, strict=True):
        complete.append(field(time, add_stages(y, complete, weights, h)))
    return complete


def coefficients(interpolant: Interpolant, stages: Sequence[Tensor], h: float | Tensor) -> list[Tensor]:
    """What multiplies θ, θ², …, each of the shape of a stage.

    Args:
        interpolant: The polynomial.
        stages: All stages, the further ones included.
        h: Step, signed: a number, or one for each sample.
    """
    return [sum_stages(stages, column, h) for column in interpolant.columns]


class Between:
    """A step that was taken, asked for states between its ends.

    Args:
        interpolant: The polynomial.
        field: Called as `field(t, y)`, where the polynomial needs further stages.
        y: State at the start, shape (batch, ...).
        y1: State at the end.
        stages: Stages of the method.
        h: Step, signed: a number, or one for each sample that broadcasts against y.
        times: Makes the times of the further stages.
    """

    def __init__(
        self,
        interpolant: Interpolant,
        field: Field,
        y: Tensor,
        y1: Tensor,
        stages: list[Tensor],
        h: float | Tensor,
        times: Callable[[], Sequence[Tensor]],
    ) -> None:
        self.interpolant, self.field = interpolant, field
        self.y, self.y1, self.h = y, y1, h
        self._stages, self._times = stages, times

    @cached_property
    def stages(self) -> list[Tensor]:
        """All stages, the further ones evaluated at the first call."""
        if not self.interpolant.c:
            return self._stages
        return extend(self.interpolant, self.field, self._times(), self.h, self.y, self._stages)

    @cached_property
    def coefficients(self) -> list[Tensor]:
        """What multiplies θ, θ², …."""
        return coefficients(self.interpolant, self.stages, self.h)

    @property
    def slope(self) -> Tensor | None:
        """The field at the end of the step, where the first further stage has evaluated it."""
        return self.stages[len(self._stages)] if "stages" in vars(self) and self.interpolant.c else None

    def complete(self, t: float | Tensor, h: float | Tensor) -> Piece:
        """The polynomial, to be kept."""
        return Piece(t, h, self.y, self.coefficients)

    def at(self, theta: float) -> Tensor:
        """The state of the whole batch at one 0 < θ < 1."""
        return add_stages(self.y, self.stages, self.interpolant.weights(theta), self.h)

    def at_rows(self, rows: Tensor, theta: Tensor) -> Tensor:
        """States of chosen samples; see `at_rows`."""
        return at_rows(self.y, self.coefficients, rows, theta)
