"""Events drawn from a neural jump SDE."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.series import Series

from .jump_equation import JumpNets
from .lockstep_sde import PathNormals, solve_lockstep

MOST_STEPS = 100_000
"""An intensity that its own events raise may have no end of them."""


@torch.no_grad()
def simulate(
    nets: JumpNets, n: int, duration: float, seed: int, step: float, unit: float, at_start: bool
) -> Series:
    """Series of events; the first row is at time 0, the last one, without an event, at the end.

    Args:
        nets: The model.
        n: How many series.
        duration: How long each is watched, in units of the equation.
        seed: Seed of all of them.
        step: Longest step, likewise.
        unit: That unit.
        at_start: Whether there is an event at time 0.

    Raises:
        UsageError: The model has no intensity, a number is not positive, or events do not come to an end.
    """
    if nets.intensity is None or nets.static:
        raise UsageError(
            "a simulation needs an intensity, and no static numbers", "build the model with model.events true"
        )
    if n < 1 or not min(duration, step) > 0:
        raise UsageError(f"n={n}, duration={duration * unit}, step={step * unit}", "give positive numbers")
    running = _Simulation(nets, n, seed)
    everyone = torch.ones(n, dtype=torch.bool, device=nets.begin.device)
    running.note(everyone, everyone if at_start else ~everyone)
    for _ in range(MOST_STEPS):
        if bool((running.t >= duration).all()):
            break
        happens = running.advance(step, duration)
        if bool(happens.any()):
            running.note(happens, happens)
    else:
        raise UsageError(
            f"after {MOST_STEPS} steps the events have not come to an end", "give a shorter duration"
        )
    running.note(everyone, ~everyone)
    return running.series(unit)


class _Simulation:
    """All series side by side, each at a time of its own.

    The next event comes where ∫ λ dt reaches a number drawn from Exp(1) (Daley and Vere-Jones 2003, theorem
    7.4.I), λ being constant over a step. An event ends its step, so that no jump is met late.
    """

    def __init__(self, nets: JumpNets, n: int, seed: int) -> None:
        self.nets, self.generator, self.number = nets, torch.Generator().manual_seed(seed), seed + 1
        self.z = nets.begin.detach().expand(n, -1)
        self.t = torch.zeros(n, dtype=torch.float64, device=self.z.device)
        self.left = self._exponential()
        self.rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def rate(self) -> Tensor:
        """λ of each kind, shape (n, kinds)."""
        assert self.nets.intensity is not None
        value: Tensor = self.nets.intensity(self.z)
        return value

    def advance(self, step: float, end: float) -> Tensor:
        """Go on by a step, to the next event or to the end; which series have an event then."""
        rate = self.rate().sum(-1).double()
        until = self.left / rate
        width = (end - self.t).clamp(max=step)
        happens = until < width
        width = torch.minimum(width, until)
        knots = torch.stack((self.t, torch.where(width < end - self.t, self.t + width, end)), 1)
        noise = PathNormals(len(self.z), 1, self.z, self.number)
        self.z = solve_lockstep(self.nets.between, knots, self.z, noise=noise).ys[-1]
        self.t, self.number = knots[:, 1], self.number + 1
        self.left = torch.where(happens, self._exponential(), self.left - rate * width)
        return happens

    def note(self, rows: Tensor, happens: Tensor) -> None:
        """Write a row of some series, with an event and its jump in some of them."""
        mean, log_var = self.nets.marks(self.z)
        drawn = torch.randn(mean.shape, generator=self.generator).to(mean)
        mask = happens[:, None].expand_as(mean)
        if self.nets.kinds > 1:
            kind = self._chosen(self.rate())
            mask = mask & (torch.arange(mean.shape[1], device=mean.device) == kind[:, None])
        x = torch.where(mask, mean + torch.exp(0.5 * log_var) * drawn, 0.0)
        self.z = self.nets.jump(self.z, x, mask, mean, x[:, :0])
        self.rows.append((rows, self.t, x, mask))

    def series(self, unit: float) -> Series:
        """What was noted, times in units of a batch."""
        there, times, values, mask = (torch.stack(part, 1) for part in zip(*self.rows, strict=True))
        lengths = there.sum(1)
        order = (~there).to(torch.int8).argsort(dim=1, stable=True)[:, : int(lengths.max())]
        inside = torch.arange(order.shape[1], device=order.device) < lengths[:, None]
        wide = order[..., None].expand(-1, -1, values.shape[-1])
        times = torch.where(inside, times.gather(1, order), times[:, -1:]) * unit
        mask = mask.gather(1, wide) & inside[..., None]
        return Series(times, values.gather(1, wide) * mask, mask, lengths, values[:, 0, :0])

    def _exponential(self) -> Tensor:
        drawn = torch.empty(len(self.z), dtype=torch.float64).exponential_(generator=self.generator)
        return drawn.to(self.z.device)

    def _chosen(self, weights: Tensor) -> Tensor:
        """One of the columns for each row, in proportion to the weights."""
        drawn = torch.rand(len(weights), 1, generator=self.generator, dtype=torch.float64).to(weights.device)
        share = weights.double().cumsum(1)
        return (drawn * share[:, -1:] > share).sum(1)
