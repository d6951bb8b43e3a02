"""Dynamics integrated by a solver: lift the hidden state, solve, read the part that the head sees."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Dopri5, ODESolver, Solution, SolveStats

from ..bench import Dynamics
from ..bench.dynamics import Reach
from ..defaults import default

DEFAULT_SOLVER: ODESolver = default(Dopri5, gradient="backprop")
"""The papers' method at the engine's own tolerance: their 1e-3 does not resolve trained image fields.
Backprop, because its gradient is that of the discrete solve: the adjoint's can be wrong by orders of
magnitude on contracting fields."""


class ODEDynamics(Dynamics):
    """ẏ = field(t, y) on [0, t1] from y(0) = lift(h); the head reads the first channels of y(t1).

    Args:
        field: Module called as `field(t, y)`.
        solver: What integrates it.
        t1: End of the interval, in units of t, positive.
        out_channels: Channels of y that the head reads, counted from the first.
        lift: Hidden state to initial state; the identity where omitted.

    Raises:
        UsageError: t1 is not positive.
    """

    composition = "field"
    repeats = True
    reaches: ClassVar[Reach] = "own"

    def __init__(
        self,
        field: nn.Module,
        solver: ODESolver,
        t1: float,
        out_channels: int,
        lift: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not t1 > 0:
            raise UsageError(
                f"t1 must be positive, got {t1}", "set model.t1, the end of the interval [0, t1]"
            )
        self.field = field
        self.solver: ODESolver = solver
        self.t1 = t1
        self.out_channels = out_channels
        self.lift = nn.Identity() if lift is None else lift

    def residuals(self) -> list[nn.Module]:
        """The field."""
        return [self.field]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output; see `Dynamics.forward`."""
        times = [self.t1 * i / (num_times - 1) for i in range(num_times)]
        solution = self.solver.solve(self.field, self.lift(h), times)
        solution.ys = solution.ys[:, :, : self.out_channels]
        return solution

    def along(self, h: Tensor, times: Tensor) -> Solution:
        """Solve through all times; see `Dynamics.along`."""
        solution = self.solver.solve(self.field, self.lift(h), times)
        solution.ys = solution.ys[:, :, : self.out_channels]
        return solution

    @property
    def gives_rate(self) -> bool:
        """Where nothing is added to the state."""
        return isinstance(self.lift, nn.Identity)

    def rate(self, t: Tensor, h: Tensor) -> tuple[Tensor, SolveStats]:
        """The field; see `Dynamics.rate`."""
        if not self.gives_rate:
            return super().rate(t, h)
        stats = SolveStats(solver="the field itself", accepted=0, rejected=0)
        stats.nfe_forward = 1
        value: Tensor = self.field(t, h)

        def differentiated(_: Tensor) -> None:
            stats.vjps += 1

        if value.requires_grad:
            value.register_hook(differentiated)  # type: ignore[no-untyped-call]  # torch
        return value, stats


class Augment(nn.Module):
    """Append p zero channels: [h; 0] (Dupont et al. 2019).

    Args:
        extra: Number p of appended channels, 0 or more.

    Raises:
        UsageError: p is negative.
    """

    def __init__(self, extra: int) -> None:
        super().__init__()
        if extra < 0:
            raise UsageError(f"augment must be 0 or more, got {extra}", "set model.augment")
        self.extra = extra

    def forward(self, h: Tensor) -> Tensor:
        """From (batch, channels, …) to (batch, channels + p, …)."""
        return torch.cat([h, h.new_zeros(h.shape[0], self.extra, *h.shape[2:])], dim=1)
