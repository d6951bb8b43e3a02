"""The control of a controlled equation: a path made of one polynomial between every two knots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from integrand.errors import SpecError


@dataclass(frozen=True)
class ControlPath:
    """X: [t_0, t_{n-1}] → R^c, one for each sample, as polynomials in the place s ∈ [0, 1] of an interval.

    On interval i, X = starts[i] + s b + s² c + s³ d and dX/ds = slopes[0] + s (slopes[1] + s slopes[2]) with
    slopes = (b, 2c, 3d), or (b,) where the path is linear. In s nothing depends on how long an interval
    lasts: samples with times of their own stand side by side, and intervals of no length are harmless.

    Args:
        knots: Times of the knots, never decreasing, float64: shape (n,), or (batch, n) where every sample has
            its own.
        starts: X at the left end of each interval, shape (n - 1, batch, c).
        slopes: One or three coefficients of dX/ds, each (n - 1, batch, c).
    """

    knots: Tensor
    starts: Tensor
    slopes: tuple[Tensor, ...]

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.starts.shape[1]

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return self.starts.shape[2]

    @property
    def intervals(self) -> int:
        """Number of intervals n - 1."""
        return self.starts.shape[0]

    @property
    def own_times(self) -> bool:
        """Whether every sample has its own knots."""
        return self.knots.ndim == 2

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What a gradient with respect to the path goes to."""
        return self.slopes

    def __getitem__(self, samples: Tensor | slice) -> ControlPath:
        """The paths of some samples, such as a minibatch."""
        knots = self.knots[samples] if self.own_times else self.knots
        return ControlPath(knots, self.starts[:, samples], tuple(x[:, samples] for x in self.slopes))

    def map(self, function: Callable[[Tensor], Tensor]) -> ControlPath:
        """The path with every tensor moved, such as `path.map(Tensor.cuda)`; knots stay float64."""
        moved = function(self.knots).to(torch.float64)
        return ControlPath(moved, function(self.starts), tuple(map(function, self.slopes)))

    def evaluate(self, t: Tensor) -> Tensor:
        """X at times (m,), or (batch, m) of each sample's own; shape (m, batch, c).

        Raises:
            SpecError: A time outside the path.
        """
        s, start, slopes = self._at(t)
        value = start + s * slopes[0]
        if len(slopes) == 3:
            value = value + s**2 * (slopes[1] / 2 + s * slopes[2] / 3)
        return value

    def derivative(self, t: Tensor) -> Tensor:
        """dX/dt at times (m,), or (batch, m); shape (m, batch, c); from the right at a knot, 0 where h = 0.

        Solvers do not call this: they are handed the interval, which a time on a knot does not tell.

        Raises:
            SpecError: A time outside the path.
        """
        s, _, slopes = self._at(t)
        per_s = slopes[0] if len(slopes) == 1 else slopes[0] + s * (slopes[1] + s * slopes[2])
        h = self._lengths(t)
        return torch.where(h > 0, per_s / h.clamp_min(1e-300).to(per_s.dtype), 0)

    def _index(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        times = torch.as_tensor(t, dtype=torch.float64, device=self.knots.device)
        knots = self.knots if self.own_times else self.knots.unsqueeze(0)
        times = times if times.ndim == 2 else times.expand(len(knots), -1)
        if len(knots) == 1:
            knots = knots.expand(len(times), -1)
        if bool(((times < knots[:, :1]) | (times > knots[:, -1:])).any()):
            raise SpecError("the control is asked for outside its knots", "keep t within knots[0]…knots[-1]")
        index = torch.searchsorted(knots.contiguous(), times.contiguous(), right=True) - 1
        return times, knots, index.clamp_(0, self.intervals - 1)

    def _at(self, t: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        times, knots, index = self._index(t)
        left = knots.gather(1, index)
        h = knots.gather(1, index + 1) - left
        s = torch.where(h > 0, (times - left) / h.clamp_min(1e-300), 0.0)

        def pick(x: Tensor) -> Tensor:
            at = index.expand(self.batch, -1).T.unsqueeze(-1).expand(-1, -1, self.channels)
            return x.gather(0, at)

        place = s.T.unsqueeze(-1).to(self.starts.dtype)
        return place, pick(self.starts), tuple(map(pick, self.slopes))

    def _lengths(self, t: Tensor) -> Tensor:
        _, knots, index = self._index(t)
        return (knots.gather(1, index + 1) - knots.gather(1, index)).T.unsqueeze(-1)
