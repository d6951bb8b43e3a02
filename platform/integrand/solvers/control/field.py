"""Fields of controlled equations: a matrix, or what it does to an increment of the control."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..clock import clock_dtype
from .path import ControlPath


class ControlledField(nn.Module):
    """dz = f(t, z) dX for fields that know a better way to f(t, z) dX than the matrix f(t, z).

    Such a field overrides `increment`; a field that returns its matrix may be any `nn.Module`.
    """

    def increment(self, t: Tensor, z: Tensor, dx: Tensor) -> Tensor:
        """f(t, z) dx.

        Args:
            t: Time, 0-d, or (batch, 1) where every sample has its own.
            z: State, shape (batch, h).
            dx: Increment of the control, shape (batch, c).

        Returns:
            Shape of z.
        """
        return multiply(self(t, z), z, dx)


def multiply(matrix: Tensor, z: Tensor, dx: Tensor) -> Tensor:
    """The product f(t, z) dx of a matrix (batch, h, c).

    Raises:
        SpecError: The matrix has another shape.
    """
    if matrix.shape != (*z.shape, dx.shape[-1]):
        raise SpecError(
            f"the field returned shape {tuple(matrix.shape)} for a state {tuple(z.shape)} and a control of "
            f"{dx.shape[-1]} channels",
            f"return a matrix of shape {(*z.shape, dx.shape[-1])}",
        )
    return torch.bmm(matrix, dx.unsqueeze(-1)).squeeze(-1)


class DrivenField(nn.Module):
    """dz/ds = f(t, z) dX/ds on one interval of the control at a time, as the ODE solvers see it.

    The interval is set from outside: at a knot the time belongs to two of them, and a stage that took the
    slope of the wrong one would leave an error of first order.

    Args:
        field: A `ControlledField`, or a module that returns f(t, z) of shape (batch, h, c).
        control: The path.
        dtype: Dtype of the state.
    """

    def __init__(self, field: nn.Module, control: ControlPath, dtype: torch.dtype) -> None:
        super().__init__()
        self.field = field
        # seen by solvers, so that a learned path gets its gradient; as aliases: one coefficient may be
        # made from another, and each must have a gradient of its own
        self.coefficients = [x.to(dtype).view_as(x) for x in control.slopes]
        self._learned = any(x.requires_grad for x in self.coefficients)
        self._matrix = not isinstance(field, ControlledField)
        self._rows = list(zip(*(x.detach().unbind(0) for x in self.coefficients), strict=True))
        lefts, lengths = control.knots[..., :-1], control.knots.diff(dim=-1)
        self._clock = _clock(control, dtype)
        if control.own_times:
            # (intervals, batch, 1), to stand beside the state
            lefts, lengths = lefts.T.unsqueeze(-1), lengths.T.unsqueeze(-1)
        self._lefts = lefts.to(self._clock).unbind(0)
        self._lengths = lengths.to(self._clock).unbind(0)
        self._tables: dict[int, tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]] = {}
        self.enter(0)

    def enter(self, interval: int) -> None:
        """Integrate over this interval from now on."""
        self._interval = interval
        follow = self._learned and torch.is_grad_enabled()
        rows = tuple(x[interval] for x in self.coefficients) if follow else self._rows[interval]
        self._slopes: tuple[Tensor, ...] = rows

    def tabulate(self, places: Iterable[Tensor]) -> None:
        """Work out dX/ds and t at these places of all intervals at once.

        A stage at a place of the same object then costs no kernel. The tables hold on to the objects, so that
        no other one can be taken for them.

        Args:
            places: 0-d tensors that the solver will call the field with.
        """
        for s in places:
            if not self._learned and id(s) not in self._tables:
                equal = next((known for known in self._tables.values() if torch.equal(known[0], s)), None)
                dx, t = self._work_out(s) if equal is None else equal[1:]
                self._tables[id(s)] = (s, dx, t)

    def _work_out(self, s: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        with torch.no_grad():
            dx = _slope(tuple(x.detach() for x in self.coefficients), s)
            t = [
                torch.addcmul(a, s.to(self._clock), h)
                for a, h in zip(self._lefts, self._lengths, strict=True)
            ]
            return dx.unbind(0), tuple(t)

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        """dz/ds at the place s of the interval."""
        i = self._interval
        table = self._tables.get(id(s))
        if table is not None:
            dx, t = table[1][i], table[2][i]
        else:
            dx = _slope(self._slopes, s)
            t = torch.addcmul(self._lefts[i], s.to(self._clock), self._lengths[i])
        if self._matrix:
            return multiply(self.field(t, z), z, dx)
        value: Tensor = self.field.increment(t, z, dx)  # type: ignore[operator]  # a ControlledField
        return value


def _slope(coefficients: tuple[Tensor, ...], s: Tensor) -> Tensor:
    """dX/ds = b + s (2c + 3d s)."""
    if len(coefficients) == 1:
        return coefficients[0]
    return torch.addcmul(coefficients[0], s, torch.addcmul(coefficients[1], s, coefficients[2]))


def _clock(control: ControlPath, dtype: torch.dtype) -> torch.dtype:
    """Dtype of the times that the field is called with."""
    low, high, longest = (
        float(x) for x in (control.knots.min(), control.knots.max(), control.knots.diff(dim=-1).amax())
    )
    return clock_dtype(max(abs(low), abs(high)), high - low, dtype, control.starts.device, longest)
