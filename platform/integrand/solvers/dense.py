"""A trajectory that can be asked for its state at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from integrand.errors import SpecError


@dataclass(frozen=True)
class Piece:
    """The polynomial of one step.

    Args:
        t: Start.
        h: Step, signed: a number, or one for each sample, shape (batch,).
        y: State at the start, shape (batch, ...).
        coefficients: What multiplies θ, θ², …, each of the shape of y.
    """

    t: float | Tensor
    h: float | Tensor
    y: Tensor
    coefficients: list[Tensor]

    def at_rows(self, rows: Tensor, theta: Tensor) -> Tensor:
        """States of chosen samples, each at its own θ; see `at_rows`."""
        return at_rows(self.y, self.coefficients, rows, theta)


def hermite(t: float, h: float, y: Tensor, end: Tensor, slope: Tensor, last: Tensor) -> Piece:
    """The cubic through both states with both slopes, of order 3.

    Args:
        t: Start.
        h: Step, signed.
        y: State at the start, shape (batch, ...).
        end: State at the end.
        slope: dy/dt at the start.
        last: dy/dt at the end.
    """
    change, begins, ends = end - y, h * slope, h * last
    return Piece(t, h, y, [begins, 3 * change - 2 * begins - ends, begins + ends - 2 * change])


def at_rows(y: Tensor, coefficients: Sequence[Tensor], rows: Tensor, theta: Tensor) -> Tensor:
    """States y + Σ_m θ^m c_m for chosen samples, each with its own θ.

    Args:
        y: State at the start of the step, shape (batch, ...).
        coefficients: The c_m, shape of y; see `Piece`.
        rows: Samples, shape (n,), which may repeat.
        theta: Their θ, shape (n,).

    Returns:
        Shape (n, ...).
    """
    wide = theta.to(y.dtype).view(-1, *[1] * (y.ndim - 1))
    value = coefficients[-1].index_select(0, rows)
    for c in reversed(coefficients[:-1]):
        value = torch.addcmul(c.index_select(0, rows), value, wide)
    return torch.addcmul(y.index_select(0, rows), value, wide)


class DenseOutput:
    """The polynomials of a solve, one for each step.

    Args:
        pieces: The steps, in order.
        start: First time.
        end: Last time.
    """

    def __init__(self, pieces: Sequence[Piece], start: float, end: float) -> None:
        self.pieces, self.start, self.end = pieces, start, end
        self._sign = 1.0 if end > start else -1.0

    def at(self, t: Tensor | Sequence[float] | float) -> Tensor:
        """The states at `t`, which keep the graph of the solve.

        Args:
            t: One time; times for all samples, shape (m,); or times of each sample's own, shape (batch, m).
                Any order. May require a gradient.

        Returns:
            Shape (batch, ...) for one time, (m, batch, ...) for several.

        Raises:
            SpecError: A time outside the solve.
        """
        y0 = self.pieces[0].y
        exact = torch.float32 if y0.device.type == "mps" else torch.float64
        times = torch.as_tensor(t, dtype=exact, device=y0.device)
        own = times.reshape(1, -1) if times.ndim < 2 else times
        own = own.expand(len(y0), -1)
        self._check(own.detach())
        found, places = self._found(own)
        order = torch.argsort(torch.cat(places))
        states = torch.cat(found).index_select(0, order)
        states = states.view(*own.shape, *y0.shape[1:]).transpose(0, 1)
        return states[0] if times.ndim == 0 else states

    def _found(self, own: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """States step by step, with their places among (batch, m) flattened."""
        open_ = torch.ones_like(own, dtype=torch.bool)
        last = len(self.pieces) - 1
        found, places = [], []
        for i, piece in enumerate(self.pieces):
            t, h = (
                torch.as_tensor(x, dtype=own.dtype, device=own.device).expand(len(own))
                for x in (piece.t, piece.h)
            )
            if i < last:
                within = open_ & (((t + h)[:, None] - own) * self._sign >= 0) & (h != 0)[:, None]
            else:
                within = open_
            open_ = open_ & ~within
            sample, which = within.nonzero(as_tuple=True)
            if not len(sample):
                continue
            length = torch.where(h == 0, 1.0, h)[sample]
            theta = (own[sample, which] - t[sample]) / length
            found.append(at_rows(piece.y, piece.coefficients, sample, theta))
            places.append(sample * own.shape[1] + which)
        return found, places

    def _check(self, times: Tensor) -> None:
        low, high = min(self.start, self.end), max(self.start, self.end)
        slack = 1e-12 * max(abs(low), abs(high))
        if not times.numel():
            raise SpecError("no times to ask for", "pass at least one")
        first, last = torch.stack((times.min(), times.max())).tolist()
        if not low - slack <= first <= last <= high + slack:
            raise SpecError(
                f"the solve went from {self.start:.6g} to {self.end:.6g}, but is asked for"
                f" {first if first < low else last:.6g}",
                "ask inside it, or solve further",
            )
