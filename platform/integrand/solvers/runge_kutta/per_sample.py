"""Adaptive solves in which every sample keeps its own time and step size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.errors import MaxNFEError, NonFiniteStateError, StepUnderflowError
from integrand.solvers.problem import Problem
from integrand.solvers.solution import SolveStats
from integrand.solvers.tape import StepRecord, Tape

from .control import GROW, SAFETY, SHRINK
from .step import step, sum_stages
from .tableau import Tableau


class PerSampleSteps:
    """An embedded pair advanced in lockstep with one step size per sample.

    All samples are evaluated together until the last one has reached the next output time; those that wait
    take steps of length zero. A rejected sample repeats its step while the others go on. Reads one pair of
    flags back from the device per attempted step.

    Args:
        tableau: The method.
        counted: The field; it gets t of shape (batch, 1, ...).
        problem: Initial state and times.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        first_step: First step of every sample, chosen from the field where None.
        max_step: Longest step, unbounded where None.
        go_on: Freeze a failing sample instead of raising.
    """

    def __init__(
        self,
        tableau: Tableau,
        counted: CountedField,
        problem: Problem,
        rtol: float,
        atol: float,
        first_step: float | None,
        max_step: float | None,
        go_on: bool,
    ) -> None:
        assert tableau.error_order is not None
        self.tableau = tableau
        self.counted = counted
        self.output_times = problem.times
        self.sign = 1.0 if problem.times[-1] > problem.times[0] else -1.0
        self.rtol, self.atol = rtol, atol
        self.first_step = first_step
        self.max_step = math.inf if max_step is None else max_step
        self.go_on = go_on
        y0 = problem.y0
        self._shape = (len(y0), *[1] * (y0.ndim - 1))
        self._dtype, self._exponent = y0.dtype, 1 / (tableau.error_order + 1)
        self._clock = problem.clock
        device = y0.device
        self.t = torch.full((len(y0),), problem.times[0], dtype=problem.time_dtype, device=device)
        self.accepted = torch.zeros(len(y0), dtype=torch.long, device=device)
        self.rejected = torch.zeros_like(self.accepted)
        self.nfe = torch.zeros_like(self.accepted)
        self.failed = torch.zeros(len(y0), dtype=torch.bool, device=device)
        self.shortest = torch.full_like(self.t, math.inf)
        self.longest = torch.zeros_like(self.t)
        self.attempts = 0
        self._before = 0
        # a step below this resolves no time, at t = 0 too, where the spacing of numbers says nothing
        self._finest = 1e-30 * abs(problem.times[-1] - problem.times[0])

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y = y0
        f0 = self.counted(self._time(self.t), y)
        h = self._first(y, f0)
        outputs = [y0]
        k1: Tensor | None = f0
        for index in range(1, len(self.output_times)):
            y, k1, h = self._advance(index, y, k1, h, tape)
            outputs.append(y)
        return outputs

    def _attempt(
        self, times: list[Tensor], size: Tensor, y: Tensor, k1: Tensor | None, active: Tensor
    ) -> tuple[Tensor, list[Tensor]] | None:
        """One step of all samples; None where evaluations ran out and those on their way were given up."""
        try:
            y1, stages, _ = step(self.tableau, self.counted, times, size, y, k1, all_stages=True)
        except MaxNFEError:
            if not self.go_on or not self.attempts:
                raise
            self.failed |= active
            return None
        return y1, stages

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""
        return self.tableau.needed * self.attempts

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step with length zero for the samples that did not take it; see `Integrator.replay`."""
        end, _, _ = step(self.tableau, self.counted, record.times, record.h, y, None, all_stages=False)
        return [torch.where(record.h != 0, end, y)] if isinstance(record.h, Tensor) else [end]

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

    def _advance(
        self, index: int, y: Tensor, k1: Tensor | None, h: Tensor, tape: Tape | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Bring every sample to the next output time."""
        stop, going = self.output_times[index], True
        while going:
            distance = (stop - self.t) * self.sign
            active = (distance > 0) & ~self.failed
            lands = distance <= 1.01 * h
            used = torch.where(active, torch.where(lands, distance, h), 0.0)
            end = torch.where(lands, stop, self.t + self.sign * used)
            times = [self._time(self.t + c * self.sign * used) for c in self.tableau.c]
            size = self._column(self.sign * used)
            attempt = self._attempt(times, size, y, k1, active)
            if attempt is None:
                break
            y1, stages = attempt
            error = self._error(stages, size, y, y1)
            taken = active & (error <= 1)
            self._note(tape, y, times, size, taken)
            y = torch.where(self._wide(taken), y1, y)
            k1 = torch.where(self._wide(taken), stages[-1], stages[0]) if self.tableau.fsal else None
            h = self._control(h, used, error, active, taken, lands)
            going = self._bookkeeping(used, active, taken, end, h, stop, error, y.requires_grad)
        if tape is not None:
            tape.steps[-1].lands = index
        return y, k1, h

    def _note(self, tape: Tape | None, y: Tensor, times: list[Tensor], size: Tensor, taken: Tensor) -> None:
        if tape is not None:
            tape.note(y, StepRecord(times, torch.where(self._wide(taken), size, 0.0)))

    @torch.no_grad()
    def _error(self, stages: list[Tensor], h: Tensor, y: Tensor, y1: Tensor) -> Tensor:
        """RMS of the error estimate over tolerance, shape (batch,)."""
        scale = torch.maximum(y.abs(), y1.abs()).mul_(self.rtol).add_(self.atol)
        ratio = sum_stages(stages, self.tableau.error_row, h).div_(scale)
        return self._rms(ratio)

    def _rms(self, x: Tensor) -> Tensor:
        flat = x.detach().flatten(1)
        norm: Tensor = torch.linalg.vector_norm(flat, dim=1)
        return (norm / math.sqrt(max(1, flat.shape[1]))).to(self.t.dtype)

    def _ratio(self, x: Tensor, scale: Tensor) -> Tensor:
        """RMS of x / scale, in float64 for the samples whose squares leave the range of float32."""
        rms = self._rms(x / scale)
        wide = self._rms(x.to(self.t.dtype) / scale)
        return torch.where(torch.isfinite(rms), rms, wide)

    def _control(
        self, h: Tensor, used: Tensor, error: Tensor, active: Tensor, taken: Tensor, lands: Tensor
    ) -> Tensor:
        """Next step sizes: integral control, each sample by its own error."""
        factor = error.clamp_min(1e-12).pow(-self._exponent).mul(SAFETY).clamp(SHRINK, GROW)
        factor = torch.where(torch.isfinite(error), factor, SHRINK)
        wanted = used * torch.where(taken, factor, factor.clamp_max(1.0))
        # the step that only met an output says nothing against the longer one before it
        wanted = torch.where(taken & lands, torch.maximum(wanted, h), wanted)
        return torch.where(active, wanted.clamp_max(self.max_step), h)

    def _bookkeeping(
        self,
        used: Tensor,
        active: Tensor,
        taken: Tensor,
        end: Tensor,
        h: Tensor,
        stop: float,
        error: Tensor,
        differentiated: bool,
    ) -> bool:
        """Update times and accounts; returns whether any sample is still on its way."""
        self.attempts += 1
        self.nfe += active * (self.counted.stats.nfe_forward - self._before)
        self._before = self.counted.stats.nfe_forward
        self.accepted += taken
        refused = active & ~taken
        self.rejected += refused
        self.shortest = torch.where(taken, torch.minimum(self.shortest, used), self.shortest)
        self.longest = torch.maximum(self.longest, used * taken)
        resolution = 16 * torch.finfo(self.t.dtype).eps * self.t.abs().clamp_min(self._finest)
        fails = refused & (h < resolution)
        self.failed |= fails
        self.t = torch.where(taken, end, self.t)
        going = (((stop - self.t) * self.sign > 0) & ~self.failed).any()
        wild = (refused & ~torch.isfinite(error)).any() if differentiated else torch.zeros_like(going)
        more, failed, poisoned = torch.stack((going, fails.any(), wild)).tolist()
        if failed and not self.go_on:
            raise self._failure(fails, error)
        if poisoned:
            raise NonFiniteStateError(
                f"{self.counted.stats.solver}: a rejected step was not finite; backprop makes NaN of it",
                "set gradient: checkpoint",
            )
        return bool(more)

    def _first(self, y: Tensor, k1: Tensor) -> Tensor:
        """First step of each sample, as `initial_step` finds it for a batch."""
        span = abs(self.output_times[-1] - self.output_times[0])
        if self.first_step is not None:
            self._before, self.nfe = 1, self.nfe + 1
            return torch.full_like(self.t, min(self.first_step, self.max_step))
        with torch.no_grad():
            scale = y.abs().mul(self.rtol).add_(self.atol)
            d0, d1 = self._ratio(y, scale), self._ratio(k1, scale)
            h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1).clamp_max(span)
            h0 = torch.where(torch.isfinite(h0) & (h0 > 0), h0, 1e-6)
            trial = y + self._column(self.sign * h0) * k1
            f1 = self.counted(self._time(self.t + self.sign * h0), trial)
            self._before, self.nfe = 2, self.nfe + 2
            d2 = self._ratio(f1 - k1, scale) / h0
            steepest = torch.maximum(d1, d2)
            h1 = torch.where(
                steepest <= 1e-15, (1e-3 * h0).clamp_min(1e-6), (0.01 / steepest) ** self._exponent
            )
            # no step of zero: it would be accepted for ever
            h = torch.minimum(100 * h0, torch.where(torch.isfinite(h1) & (h1 > 0), h1, h0))
        return h.clamp_max(min(span, self.max_step))

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

    def _column(self, x: Tensor) -> Tensor:
        return x.to(self._dtype).view(self._shape)

    def _time(self, t: Tensor) -> Tensor:
        return t.to(self._clock).view(self._shape)

    def _wide(self, x: Tensor) -> Tensor:
        return x.view(self._shape)
