"""Adaptive solves in which every sample keeps its own time and step size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.dense import Piece
from integrand.solvers.errors import MaxNFEError, NonFiniteStateError, StepUnderflowError
from integrand.solvers.problem import Problem
from integrand.solvers.solution import SolveStats
from integrand.solvers.step_size import REACH
from integrand.solvers.tape import StepRecord, Tape

from .between import Between
from .control import StepControl
from .outputs import Rows, pieces
from .sample_control import Move, SampleControl
from .step import step
from .tableau import Tableau

Watch = Callable[[Tensor, Between, Tensor, Tensor], Tensor]
"""Called after every step with the start times, the step, its signed sizes and which samples took it; returns
which samples go no further."""


class PerSampleSteps:
    """An embedded pair advanced in lockstep with one step size per sample.

    All samples are evaluated together, each on its own way to its own end; those that have arrived take steps
    of length zero until the last one has. A rejected sample repeats its step while the others go on. Reads
    a few flags back from the device per attempted step, and the places of outputs where steps hold some.

    Args:
        tableau: The method.
        counted: The field; it gets t of shape (batch, 1, ...).
        problem: Initial state and times.
        control: What the steps are chosen by.
        times: Output times of each sample, shape (batch, n), float64, monotone; the first is its start. Those
            of `problem` where None.
        go_on: Freeze a failing sample instead of raising.
        dense: Keep every step, to be asked for states between their ends.
        watch: Told of every step.
    """

    notes_first = False
    slack = 0.0

    def __init__(
        self,
        tableau: Tableau,
        counted: CountedField,
        problem: Problem,
        control: StepControl,
        times: Tensor | None = None,
        go_on: bool = False,
        dense: bool = False,
        watch: Watch | None = None,
    ) -> None:
        assert tableau.error_order is not None
        self.tableau = tableau
        self.counted = counted
        self.control, self.go_on, self.dense = control, go_on, dense
        self._watch = watch
        start, end = problem.times[0], problem.times[-1]
        self.sign = 1.0 if end > start else -1.0
        y0 = problem.y0
        self._shape = (len(y0), *[1] * (y0.ndim - 1))
        self._dtype, self._clock = y0.dtype, problem.clock
        self.steps = SampleControl(tableau, control)
        device, exact = y0.device, problem.time_dtype
        if times is None:
            times = torch.tensor(problem.times, dtype=exact, device=device).expand(len(y0), -1)
        self.times = times.to(device, exact)
        self.t = self.times[:, 0].clone()
        self.accepted = torch.zeros(len(y0), dtype=torch.long, device=device)
        self.rejected = torch.zeros_like(self.accepted)
        self.nfe = torch.zeros_like(self.accepted)
        self.failed = torch.zeros(len(y0), dtype=torch.bool, device=device)
        self.halted = torch.zeros_like(self.failed)
        self.shortest = torch.full_like(self.t, math.inf)
        self.longest = torch.zeros_like(self.t)
        self.attempts = 0
        self.kept: list[Piece] = []
        self.next_step = torch.zeros_like(self.t)
        self._before = self._further = 0
        self._span = abs(end - start)
        # a step below this resolves no time, at t = 0 too, where the spacing of numbers says nothing
        self._finest = 1e-30 * self._span
        self._stops = self._stops_of(tableau, control.jumps, start, end)
        inside = [j for j in control.jumps if min(start, end) <= j <= max(start, end)]
        self._jumps = torch.tensor(inside, dtype=exact, device=device)
        # with nothing but a start and an end no step holds an output inside
        self._plain = self.times.shape[1] == 2 and self._stops is None
        self._places: list[Tensor] = []

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`. Outputs are pieces: the states of some samples."""
        y, found = y0, [y0]
        f0 = self.counted(self._time(self._after(self.t)), y)
        h = self._first(y, f0)
        k1: Tensor | None = f0
        self._places = [self._initial()]
        going = bool((self._ahead() > 0).any())
        while going:
            move = self._move(h)
            attempt = self._attempt(move, y, k1)
            if attempt is None:
                break
            y1, stages = attempt
            error = self.steps.error(stages, move.size, y, y1)
            taken = move.active & ((error <= 1) | self.steps.forced(move.used, error))
            step_taken = self._between(move, move.size, y, y1, stages)
            h = self.steps.next(h, move, error, taken)
            start = self.t
            recorded = y.requires_grad and torch.is_grad_enabled()
            going, inside, landed, jumped = self._bookkeeping(move, taken, h, error, recorded)
            rows = self._rows(start, move, taken, inside, landed)
            if tape is not None:
                self._note(tape, y, move, taken, rows, len(found))
            found += pieces(rows, step_taken)
            self._keep(start, step_taken, move, taken)
            if self._watch is not None:
                self.halted |= self._watch(start, step_taken, move.size.flatten(), taken)
                going = bool((self._ahead() > 0).any())
            k1 = self._last_stage(stages, taken, jumped)
            y = torch.where(self._wide(taken), y1, y)
        self.next_step = h
        return self._fill_up(found, y, tape)

    def join(self, found: Sequence[Tensor]) -> Tensor:
        """All outputs, shape (n, batch, ...)."""
        batch, n = self.times.shape
        joined = torch.cat(list(found))
        # the initial states come first, one for each sample, whether they are outputs or not
        place = torch.empty(batch * n, dtype=torch.long, device=joined.device)
        start = batch
        for i, flat in enumerate(self._places):
            if i == 0:
                place[flat] = flat // n
                continue
            place[flat] = torch.arange(start, start + len(flat), device=joined.device)
            start += len(flat)
        return joined.index_select(0, place.view(batch, n).t().flatten()).view(n, batch, *joined.shape[1:])

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""
        return self.tableau.needed * self.attempts + self._further

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step with length zero for the samples that did not take it; see `Integrator.replay`."""
        move, rows = record.data
        assert isinstance(record.h, Tensor)
        inside = any(theta is not None for _, theta in rows)
        end, stages, _ = step(self.tableau, self.counted, record.times, record.h, y, None, all_stages=inside)
        end = torch.where(record.h != 0, end, y)
        taken = self._between(move, record.h, y, end, stages)
        return [end, *pieces(rows, taken)]

    def account(self, stats: SolveStats) -> Tensor | None:
        """Write the account; returns which samples failed, None where none did."""
        most, shortest, longest = torch.stack(
            (self.accepted.max().to(self.t), self.shortest.min(), self.longest.max())
        ).tolist()
        stats.accepted = int(most)
        stats.rejected = self.attempts - stats.accepted
        if stats.accepted:
            stats.min_step, stats.max_step = shortest, longest
        stats.nfe_per_sample = self.nfe
        stats.accepted_per_sample, stats.rejected_per_sample = self.accepted, self.rejected
        return self.failed if bool(self.failed.any()) else None

    def _stops_of(self, tableau: Tableau, jumps: Sequence[float], start: float, end: float) -> Tensor | None:
        """Times that each sample must step on besides its last, shape (batch, m)."""
        accurate = tableau.dense is not None or tableau.extension is not None
        low, high = min(start, end), max(start, end)
        inner = [j for j in jumps if low < j < high]
        stops = [] if accurate else [self.times]
        if inner:
            stops.append(torch.tensor(inner).to(self.times).expand(len(self.times), -1))
        return torch.cat(stops, 1) if stops else None

    def _ahead(self) -> Tensor:
        """How far each sample has still to go; 0 for those that failed or were halted."""
        distance = (self.times[:, -1] - self.t) * self.sign
        return torch.where(self.failed | self.halted, 0.0, distance)

    def _next_stop(self) -> Tensor:
        last = self.times[:, -1]
        if self._stops is None:
            return last
        beyond = (self._stops - self.t[:, None]) * self.sign > 0
        nearest = torch.where(beyond, self._stops * self.sign, math.inf).amin(1)
        return torch.minimum(nearest, last * self.sign) * self.sign

    def _move(self, h: Tensor) -> Move:
        stop = self._next_stop()
        distance = (stop - self.t) * self.sign
        active = (distance > 0) & ~self.failed & ~self.halted
        # `approach`, sample by sample
        lands = distance <= REACH * h
        length = torch.where(lands, distance, torch.where(distance < 2 * h, distance / 2, h))
        used = torch.where(active, length, 0.0)
        end = torch.where(lands, stop, self.t + self.sign * used)
        times = [self._time(self.t + c * self.sign * used) for c in self.tableau.c]
        if len(self._jumps):
            times = [self._time(self._after(self.t)), *times[1:]]
            last = self._time(self._before_jump(end))
            times = [last if c == 1 else time for c, time in zip(self.tableau.c, times, strict=True)]
        return Move(active, lands, used, end, self._column(self.sign * used), times)

    def _attempt(self, move: Move, y: Tensor, k1: Tensor | None) -> tuple[Tensor, list[Tensor]] | None:
        """One step of all samples; None where evaluations ran out and those on their way were given up."""
        try:
            y1, stages, _ = step(self.tableau, self.counted, move.times, move.size, y, k1, all_stages=True)
        except MaxNFEError:
            if not self.go_on or not self.attempts:
                raise
            self.failed |= move.active
            return None
        return y1, stages

    def _between(self, move: Move, size: Tensor, y: Tensor, y1: Tensor, stages: list[Tensor]) -> Between:
        start = move.end - self.sign * move.used

        def times() -> Sequence[Tensor]:
            end = self._time(self._before_jump(move.end))
            c = self.tableau.interpolant.c
            return [end if node == 1 else self._time(start + node * self.sign * move.used) for node in c]

        return Between(self.tableau.interpolant, self.counted, y, y1, stages, size, times)

    def _last_stage(self, stages: list[Tensor], taken: Tensor, jumped: bool) -> Tensor | None:
        if not self.tableau.fsal or jumped:
            return None
        return torch.where(self._wide(taken), stages[-1], stages[0])

    def _note(self, tape: Tape, y: Tensor, move: Move, taken: Tensor, rows: list[Rows], count: int) -> None:
        size = torch.where(self._wide(taken), move.size, 0.0)
        interior = [(count + i, 0.0) for i in range(len(rows))]
        tape.note(y, StepRecord(move.times, size, interior, data=(move, rows)))

    def _keep(self, start: Tensor, step_taken: Between, move: Move, taken: Tensor) -> None:
        if self.dense:
            h = torch.where(taken, self.sign * move.used, 0.0)
            self.kept.append(step_taken.complete(start, h))
        if self.tableau.fsal:
            # only the last one of a solve starts no step
            self._further = int("coefficients" in vars(step_taken))
        elif "coefficients" in vars(step_taken):
            self._further += len(self.tableau.interpolant.c)

    def _initial(self) -> Tensor:
        """Places, in (batch, n) flattened, of the outputs that are initial states."""
        return (self.times == self.times[:, :1]).flatten().nonzero().flatten()

    def _rows(self, start: Tensor, move: Move, taken: Tensor, inside: bool, landed: bool) -> list[Rows]:
        """The outputs that this step holds, and their places."""
        rows: list[Rows] = []
        n = self.times.shape[1]
        if self._plain and landed:
            sample = (taken & move.lands).nonzero().flatten()
            self._places.append(sample * n + 1)
            return [(sample, None)]
        after = (self.times - start[:, None]) * self.sign > 0
        if inside:
            before = (move.end[:, None] - self.times) * self.sign > 0
            sample, which = (after & before & taken[:, None]).nonzero(as_tuple=True)
            theta = (self.times[sample, which] - start[sample]) / (self.sign * move.used[sample])
            rows.append((sample, theta))
            self._places.append(sample * n + which)
        if landed:
            sample, which = (after & (self.times == move.end[:, None]) & taken[:, None]).nonzero(
                as_tuple=True
            )
            rows.append((sample, None))
            self._places.append(sample * n + which)
        return rows

    def _fill_up(self, found: list[Tensor], y: Tensor, tape: Tape | None) -> list[Tensor]:
        """What a failed or halted sample never reached holds the state that it stayed in."""
        batch, n = self.times.shape
        unseen = torch.ones(batch * n, dtype=torch.bool, device=y.device)
        for flat in self._places:
            unseen[flat] = False
        flat = unseen.nonzero().flatten()
        if not len(flat):
            return found
        sample = flat // n
        self._places.append(flat)
        if tape is not None and tape.steps:
            record = tape.steps[-1]
            record.interior = [*record.interior, (len(found), 0.0)]
            record.data[1].append((sample, None))
        return [*found, y.index_select(0, sample)]

    def _bookkeeping(
        self, move: Move, taken: Tensor, h: Tensor, error: Tensor, differentiated: bool
    ) -> tuple[bool, bool, bool, bool]:
        """Update times and accounts.

        Returns:
            Whether any sample is still on its way, any output lies inside a step, any is its end, and any
            sample landed on a jump.
        """
        self.attempts += 1
        self.nfe += move.active * (self.counted.stats.nfe_forward - self._before)
        self._before = self.counted.stats.nfe_forward
        self.accepted += taken
        refused = move.active & ~taken
        self.rejected += refused
        self.shortest = torch.where(taken, torch.minimum(self.shortest, move.used), self.shortest)
        self.longest = torch.maximum(self.longest, move.used * taken)
        resolution = 16 * torch.finfo(self.t.dtype).eps * self.t.abs().clamp_min(self._finest)
        if not self.control.force:
            resolution = resolution.clamp_min(self.control.min_step)
        fails = refused & (h < resolution)
        self.failed |= fails
        start, self.t = self.t, torch.where(taken, move.end, self.t)
        no = torch.zeros_like(fails[0])
        wild = (refused & ~torch.isfinite(error)).any() if differentiated else no
        inside, landed = self._passed(start, move, taken)
        jumped = (taken[:, None] & (move.end[:, None] == self._jumps)).any() if len(self._jumps) else no
        flags = torch.stack(((self._ahead() > 0).any(), fails.any(), wild, inside, landed, jumped)).tolist()
        going, failed, poisoned, *rest = flags
        if failed and not self.go_on:
            raise self._failure(fails, error)
        if poisoned:
            raise NonFiniteStateError(
                f"{self.counted.stats.solver}: a rejected step was not finite; backprop makes NaN of it",
                "set gradient: checkpoint",
            )
        return going, *rest

    def _passed(self, start: Tensor, move: Move, taken: Tensor) -> tuple[Tensor, Tensor]:
        """Whether any output lies inside a step, and whether any is its end."""
        landed = (taken & move.lands).any()
        if self._plain:
            return torch.zeros_like(landed), landed
        passed = (self.times - start[:, None]) * self.sign > 0
        ahead = (self.t[:, None] - self.times) * self.sign
        return (passed & (ahead > 0)).any(), landed

    def _first(self, y: Tensor, k1: Tensor) -> Tensor:
        """First step of each sample."""
        if self.control.first_step is not None:
            self._before, self.nfe = 1, self.nfe + 1
            return torch.full_like(self.t, min(self.control.first_step, self.control.max_step))

        def trial(h: Tensor) -> Tensor:
            """The field after an Euler step."""
            moved = y + self._column(self.sign * h) * k1
            return self.counted(self._time(self.t + self.sign * h), moved)

        with torch.no_grad():
            h = self.steps.first(y, k1, trial, self._span)
        self._before, self.nfe = 2, self.nfe + 2
        return h

    def _failure(self, fails: Tensor, error: Tensor) -> Exception:
        sample = int(fails.nonzero()[0])
        stats = self.counted.stats
        ratio, t = error[sample].item(), self.t[sample].item()
        kind = StepUnderflowError if math.isfinite(ratio) else NonFiniteStateError
        return kind(
            f"{stats.solver}: sample {sample} failed at t={t:.6g} with error ratio {ratio:.3g} "
            f"(NFE {stats.nfe_forward})",
            "set on_failure: continue with gradient: checkpoint to go on without it, loosen rtol and atol, "
            "or regularise the field",
        )

    def _after(self, t: Tensor) -> Tensor:
        return self._beside(t, self.sign)

    def _before_jump(self, t: Tensor) -> Tensor:
        return self._beside(t, -self.sign)

    def _beside(self, t: Tensor, sign: float) -> Tensor:
        """Times on a jump moved to the next one that the field's clock knows, the others unchanged."""
        if not len(self._jumps):
            return t
        on = (t[:, None] == self._jumps).any(1)
        near = t.to(self._clock)
        return torch.where(on, torch.nextafter(near, torch.full_like(near, sign * math.inf)).to(t), t)

    def _column(self, x: Tensor) -> Tensor:
        return x.to(self._dtype).view(self._shape)

    def _time(self, t: Tensor) -> Tensor:
        return t.to(self._clock).view(self._shape)

    def _wide(self, x: Tensor) -> Tensor:
        return x.view(self._shape)
