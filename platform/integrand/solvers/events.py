"""Solves that watch for events: end there, jump there, or go on; each sample at its own times."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from .accounts import CountedField
from .base import ODESolver
from .dense import Piece
from .errors import SolverError, SolverOptionError
from .event_search import Event, Search
from .implicit.differentiation import differentiating, normal
from .own_times import OwnTimes, Rescaled, over_shares, own_times
from .problem import prepare
from .runge_kutta import RungeKutta
from .runge_kutta.per_sample import PerSampleSteps
from .solution import SolveStats
from .union_times import in_shares, solve_union


@dataclass(frozen=True)
class Happened:
    """All occurrences of one event.

    Args:
        sample: Which samples, shape (k,), in the order in which rounds found them.
        time: When, shape (k,), float64; carries the gradient by the implicit function theorem.
        state: The state there, before a jump, shape (k, ...); likewise.
    """

    sample: Tensor
    time: Tensor
    state: Tensor


@dataclass(frozen=True)
class EventSolution:
    """A trajectory with events.

    Args:
        ts: Output times, shape (n_t,).
        ys: States at `ts`, shape (n_t, batch, ...); behind a terminal event the state that it ended in.
        reached: Which outputs a sample reached, shape (n_t, batch), bool.
        events: For each event its occurrences.
        end: Last time of each sample, shape (batch,).
        accounts: Those of the solves made.
    """

    ts: Tensor
    ys: Tensor
    reached: Tensor
    events: list[Happened]
    end: Tensor
    accounts: Sequence[SolveStats]

    @property
    def stats(self) -> SolveStats:
        """The account of the whole."""
        return self.accounts[0] if len(self.accounts) == 1 else SolveStats.total(self.accounts)


def solve_with_events(
    solver: ODESolver,
    field: nn.Module,
    y0: Tensor,
    t: Tensor | Sequence[float],
    events: Sequence[Event],
    max_rounds: int = 1000,
) -> EventSolution:
    """Integrate and watch for events, each sample on its own.

    A solve without a graph finds the roots on the polynomials of its steps, by bisection; a second one, with
    the gradient mode of the solver, ends on them. What its state is off the root is taken off by a step of
    Newton's, so that times are as accurate as states. A sample that jumps starts anew, in another round.

    Adaptive explicit methods look for events with steps of each sample's own, which end at its event. All
    others share their steps: the field must be defined beyond a sample's event, up to the last one's.

    The gradient of an event's time is that of the implicit function g(t, y(t)) = 0, −dg / (∂g/∂t + ∂g/∂y f),
    Chen, Amos, Nickel (2021), eq. 8; it reaches the states at events, what jumps make of them, and all that
    follows.

    Args:
        solver: Any method of this package. Steps of a fixed number are those of the whole span.
        field: Module called as `field(t, y)` with t of shape (batch, 1, ...).
        y0: State at the first time, shape (batch, ...).
        t: Output times, shape (n_t,), monotone, two or more.
        events: What to watch for.
        max_rounds: Jumps of one sample after which the solve is given up.

    Raises:
        SolverOptionError: The solver is of another library.
        SpecError: Times that do not fit, or an event function that does not return one number per sample.
        SolverError: The solve failed, jumped too often, or met an event without crossing it.
    """
    if not solver.own_times:
        raise SolverOptionError(
            f"{type(solver).__name__} takes no times of each sample's own, which events need",
            "use Dopri5, RK4, Kvaerno5 or another method of this package",
        )
    times = torch.as_tensor(t, dtype=torch.float64, device=y0.device)
    if times.ndim != 1 or len(times) < 2 or not events:
        raise SpecError(
            f"events need common times, two or more, and a function, not {tuple(times.shape)}, {len(events)}",
            "pass [t0, …, t1] and at least one Event",
        )
    own = own_times(times.expand(len(y0), -1), y0)
    return _Rounds(solver, field, y0, own, events).run(max_rounds)


class _Rounds:
    """From jump to jump of all samples together."""

    def __init__(
        self, solver: ODESolver, field: nn.Module, y0: Tensor, own: OwnTimes, events: Sequence[Event]
    ) -> None:
        self.solver, self.field, self.own, self.events = _of_even_steps(solver, own), field, own, events
        self.clock = own.clock(y0)
        gradient = getattr(solver, "gradient", "backprop")
        self.stats = SolveStats(solver=solver.describe(), gradient=gradient, accepted=0, rejected=0)
        self.accounts = [self.stats]
        self.y, self.start = y0, own.times[:, 0]
        self.passed = self.start.detach()
        self.last = own.times.detach()[:, -1]
        self.going = self.start.detach() != self.last
        self.fresh = torch.zeros(len(y0), len(events), dtype=torch.bool, device=y0.device)
        self.ended = torch.full_like(self.last, torch.inf)
        self.found: list[list[Happened]] = [[] for _ in events]

    def run(self, max_rounds: int) -> EventSolution:
        """All rounds."""
        n = self.own.times.shape[1]
        ys = self.y.unsqueeze(0).expand(n, *self.y.shape)
        reached = torch.zeros(n, len(self.y), dtype=torch.bool, device=self.y.device)
        reached[0] = True
        rounds = 0
        while bool(self.going.any()):
            if rounds > max_rounds:
                sample = int(self.going.nonzero()[0])
                raise SolverError(
                    f"{self.stats.solver}: sample {sample} jumped more than {max_rounds} times by"
                    f" t={self.start[sample].item():.6g}",
                    "its jumps may pile up in finite time: end the solve by a terminal event, or raise"
                    " max_rounds",
                )
            ys, reached = self._round(ys, reached)
            rounds += 1
        finished = [self._joined(parts) for parts in self.found]
        end = torch.where(torch.isinf(self.ended), self.last, self.ended)
        return EventSolution(self.own.times[0].detach(), ys, reached, finished, end, self.accounts)

    def _round(self, ys: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
        search, end = self._search()
        going, halted_by = self.going, search.halted_by
        assert halted_by is not None
        here = [(k, sample, self._time(s)[sample]) for k, sample, s in self._full(search)]
        states, marks = self._solve(here, end)
        outputs = self.own.times.detach()
        sign = torch.sign(self.last - outputs[:, 0])[:, None]
        # up to an end before the step of Newton's, so that no output falls between two rounds
        passed = ((outputs - self.passed[:, None]) * sign > 0) & going[:, None]
        within = passed & ((end[:, None] - outputs) * sign >= 0)
        wide = within.t().view(*within.t().shape, *[1] * (self.y.ndim - 1))
        ys = torch.where(wide, states[1 : 1 + outputs.shape[1]], ys)
        y, start = states[-1], end
        fresh = torch.zeros_like(self.fresh)
        for (k, sample, time), place in zip(here, marks, strict=True):
            state = states[place, sample]
            moment, state = self._polished(k, sample, time, state)
            self.found[k].append(Happened(sample, moment, state))
            fresh[sample, k] = time == end[sample]
            if self.events[k].halts:
                y, start = y.index_copy(0, sample, state), start.index_copy(0, sample, moment)
        beyond = ((outputs - end[:, None]) * sign > 0) & going[:, None]
        later = beyond.t().view(*beyond.t().shape, *[1] * (self.y.ndim - 1))
        ys = torch.where(later, y.unsqueeze(0), ys)
        self.passed = end
        self._go_on(y, start, end, going, halted_by, fresh)
        return ys, reached | within.t()

    def _go_on(
        self, y: Tensor, start: Tensor, end: Tensor, going: Tensor, halted_by: Tensor, fresh: Tensor
    ) -> None:
        """Jump, or end."""
        column = start.to(self.clock).view(-1, *[1] * (y.ndim - 1))
        for k, event in enumerate(self.events):
            by = (halted_by == k) & going
            if event.jump is not None and not event.terminal and bool(by.any()):
                jumped = event.jump(column, y)
                y = torch.where(by.view(-1, *[1] * (y.ndim - 1)), jumped.to(y.dtype), y)
        terminal = torch.tensor([e.terminal for e in self.events], device=y.device)
        ends = going & (halted_by >= 0) & terminal[halted_by.clamp_min(0)]
        self.ended = torch.where(ends, start.detach(), self.ended)
        self.going = going & (halted_by >= 0) & ~ends & (end != self.last)
        self.y, self.start, self.fresh = y, start, fresh

    @torch.no_grad()
    def _search(self) -> tuple[Search, Tensor]:
        """The events up to each sample's first halting one, and where that is."""
        start = self.start.detach()
        stop = torch.where(self.going, self.last, start)
        search = Search(self.events, lambda s: torch.lerp(start, stop, s), self.fresh)
        if isinstance(self.solver, RungeKutta) and self.solver.is_adaptive:
            self._search_by_sample(self.solver, start, stop, search)
        else:
            self._search_together(start, stop, search)
        assert search.halt is not None
        s = torch.where(torch.isfinite(search.halt), search.halt, 1.0)
        return search, torch.lerp(start, stop, s)

    def _search_together(self, start: Tensor, stop: Tensor, search: Search) -> None:
        """In steps that all samples share."""
        halted = ~self.going

        def look(piece: Piece) -> bool:
            begins, size = (torch.full_like(start, float(x)) for x in (piece.t, piece.h))
            halted.logical_or_(search(begins, piece, size, ~halted))
            return bool(halted.all())

        solver = in_shares(self.solver, float((stop - start).abs().max()))
        field = over_shares(self.field, start, stop, self.clock)
        self.accounts.append(solver.watch(field, self.y.detach(), (0.0, 1.0), look))

    def _search_by_sample(self, solver: RungeKutta, start: Tensor, stop: Tensor, search: Search) -> None:
        """In steps of each sample's own."""
        problem = prepare(self.field, self.y.detach(), [0.0, 1.0], solver.autocast)
        shares = torch.stack((torch.zeros_like(start), self.going.to(start)), 1)
        problem = replace(problem, exact_clock=True, own=OwnTimes(shares))
        counted = solver.counted(Rescaled(self.field, start, stop, self.clock), problem, self.stats)
        control = solver.step_control(problem, unit=float((stop - start).abs().max()))
        steps = PerSampleSteps(solver.tableau, counted, problem, control, shares, watch=search)
        with problem.context():
            steps.run(problem.y0, None)

    def _time(self, s: Tensor) -> Tensor:
        start = self.start.detach()
        return torch.lerp(start, torch.where(self.going, self.last, start), s)

    def _full(self, search: Search) -> list[tuple[int, Tensor, Tensor]]:
        """Occurrences with their s spread over the batch."""
        spread = []
        for k, sample, s in search.found:
            whole = torch.zeros_like(self.last)
            whole[sample] = s
            spread.append((k, sample, whole))
        return spread

    def _solve(self, here: Sequence[tuple[int, Tensor, Tensor]], end: Tensor) -> tuple[Tensor, list[int]]:
        """States at the start, at all outputs, at occurrences and at the end, and where occurrences are."""
        outputs = self.own.times
        low = torch.minimum(self.start.detach(), end)[:, None]
        high = torch.maximum(self.start.detach(), end)[:, None]
        inner = torch.where((outputs >= low) & (outputs <= high), outputs, outputs.detach().clamp(low, high))
        columns = [self.start[:, None], inner]
        for _, sample, time in here:
            column = end.clone()
            column[sample] = time
            columns.append(column[:, None])
        times = torch.cat([*columns, end[:, None]], 1)
        sign = torch.sign(self.last - self.start.detach())[:, None]
        order = torch.sort(times.detach() * sign, dim=1, stable=True).indices
        # the start first and the end last, whatever ties
        own = OwnTimes(times.gather(1, order), None, self.clock)
        ys = self._through(own)
        back = torch.argsort(order, 1).t()
        place = back.view(*back.shape, *[1] * (self.y.ndim - 1)).expand(len(back), *self.y.shape)
        return ys.gather(0, place), [1 + outputs.shape[1] + i for i in range(len(here))]

    def _through(self, own: OwnTimes) -> Tensor:
        """States at the times of a round, with the gradient mode of the solver."""
        if isinstance(self.solver, RungeKutta):
            return self.solver.solve_own(self.field, self.y, own, self.stats).ys
        solution = solve_union(self.solver, self.field, self.y, own)
        self.accounts.append(solution.stats)
        return solution.ys

    def _polished(self, k: int, sample: Tensor, time: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Time and state of an event after a step of Newton's, with the gradient of the implicit function."""
        shape = (-1, *[1] * (self.y.ndim - 1))
        event = self.events[k]
        # the field and the event are functions of the whole batch, conditioned perhaps on its samples
        whole_t = self.last.index_copy(0, sample, time).to(self.clock).view(shape)
        whole_y = self.y.detach().index_copy(0, sample, state.detach())
        with torch.no_grad():
            counted = CountedField(self.field, self.stats, device_type=whole_y.device.type)
            slope = counted(whole_t, whole_y)
        rate = self._rate(event, whole_t, whole_y, slope)
        if rate is None:
            return time, state
        rate = rate[sample]
        if torch.is_grad_enabled() and bool((rate == 0).any()):
            raise SolverError(
                f"{self.stats.solver}: event {k} is met without being crossed at"
                f" t={time[rate == 0][0].item():.6g}: its time has no gradient",
                "choose a function that changes sign, or solve without gradients",
            )
        residual = event.value(whole_t, self.y.detach().index_copy(0, sample, state))[sample]
        shift = -(residual / torch.where(rate == 0, torch.inf, rate)).to(time.dtype)
        moved = state + slope[sample] * shift.to(state.dtype).view(shape)
        better = self._nearer(event, sample, time, shift.detach(), moved.detach(), residual.detach())
        # where the step is refused its gradient still holds
        shift = torch.where(better, shift, shift - shift.detach())
        return time + shift, state + slope[sample] * shift.to(state.dtype).view(shape)

    def _rate(self, event: Event, t: Tensor, y: Tensor, slope: Tensor) -> Tensor | None:
        """dg/dt along the trajectory, shape (batch,); None where g is constant."""
        with differentiating():
            t, y = (normal(x.detach()).requires_grad_() for x in (t, y))
            value = event.value(t, y)
            if not value.requires_grad:
                return None
            by_t, by_y = torch.autograd.grad(value.sum(), (t, y), allow_unused=True, materialize_grads=True)
        return by_t.flatten() + (by_y * slope).flatten(1).sum(1)

    @torch.no_grad()
    def _nearer(
        self, event: Event, sample: Tensor, time: Tensor, shift: Tensor, state: Tensor, residual: Tensor
    ) -> Tensor:
        """Which samples a step of Newton's takes nearer to the root, inside the round."""
        moved = time + shift
        t = self.last.index_copy(0, sample, moved).to(self.clock).view(-1, *[1] * (self.y.ndim - 1))
        value = event.value(t, self.y.detach().index_copy(0, sample, state))[sample]
        begun, last = self.start.detach()[sample], self.last[sample]
        inside = ((moved - begun) * (last - begun) > 0) & ((last - moved) * (last - begun) >= 0)
        return inside & (value.abs() < residual.abs())

    def _joined(self, parts: list[Happened]) -> Happened:
        if not parts:
            none = torch.zeros(0, dtype=torch.long, device=self.y.device)
            return Happened(none, self.last[:0], self.y[:0])
        return Happened(
            torch.cat([p.sample for p in parts]),
            torch.cat([p.time for p in parts]),
            torch.cat([p.state for p in parts]),
        )


def _of_even_steps(solver: ODESolver, own: OwnTimes) -> ODESolver:
    """A solver of a number of steps as one of their length, which rounds keep."""
    number = getattr(solver, "num_steps", None)
    if number is None or not own.longest:
        return solver
    even = copy.copy(solver)
    for name, value in {"num_steps": None, "step_size": own.longest / number}.items():
        setattr(even, name, value)
    return even
