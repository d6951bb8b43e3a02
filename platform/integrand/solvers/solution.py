"""What a solve returns: the trajectory and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from torch import Tensor

from .dense import DenseOutput
from .errors import SolverOptionError


class Status(StrEnum):
    """How a solve ended."""

    SUCCESS = "success"
    MAX_NFE = "max_nfe"
    STEP_UNDERFLOW = "step_underflow"
    NON_FINITE = "non_finite"
    PARTIAL = "partial"  # some samples failed and the solver was told to go on without them


def _kept(merge: str, published: str = "always", default: Any = 0) -> Any:
    """A field of the account that is added up over solves and published.

    Args:
        merge: `sum`, `min` or `max` over solves.
        published: `always`, `told` where some solve told it, or `known` where it is not zero either.
        default: Value before anything was counted.
    """
    return field(default=default, metadata={"merge": merge, "published": published})


@dataclass
class SolveStats:
    """The account of one solve on one batch, or of several of them.

    One evaluation of the field (or of one residual function of a discrete net) on one batch counts one;
    evaluations of rejected steps count. The backward figures are zero until the backward pass has run. What
    is declared here as kept is summed and recorded everywhere by itself.

    Args:
        nfe_forward: Field evaluations made by the forward solve.
        nfe_backward: Field evaluations made by the backward pass; 0 for direct backprop.
        vjps: Vector-Jacobian products made by the backward pass, one per evaluation differentiated.
        failures: Samples whose solve failed, where the solver was told to go on without them.
        accepted: Accepted steps, None where the back end does not tell.
        rejected: Rejected steps, None where the back end does not tell.
        min_step: Smallest step taken, in units of t, None where unknown.
        max_step: Largest step taken, in units of t, None where unknown.
        solver: Short description such as `torchdiffeq dopri5 rtol=1e-3 atol=1e-3`.
        gradient: Gradient mode: `backprop`, `adjoint`, `checkpoint`, `reversible`.
        nfe_per_sample: Evaluations that each sample needed, shape (batch,), where the method keeps one step
            size per sample.
        accepted_per_sample: Accepted steps of each sample, shape (batch,), likewise; `accepted` is then the
            largest of them.
        rejected_per_sample: Rejected steps of each sample, shape (batch,), likewise.
        step_sizes: Every accepted step in order, in units of t, where the back end tells: the step profile.
        stiffness: Step size times the estimated dominant eigenvalue of the field over the length of the
            method's stability interval; from about 0.8 on stability, not accuracy, bounds the steps, and a
            method for stiff fields would be cheaper. None where it cannot be told.
        nfe_diffusion: Evaluations of the diffusion made by the forward solve of an SDE.
        nfe_diffusion_backward: Evaluations of the diffusion made by the backward pass of an SDE.
    """

    nfe_forward: int = _kept("sum")
    nfe_backward: int = _kept("sum")
    vjps: int = _kept("sum")
    failures: int = _kept("sum")
    accepted: int | None = _kept("sum", "told", None)
    rejected: int | None = _kept("sum", "told", None)
    min_step: float | None = _kept("min", "known", None)
    max_step: float | None = _kept("max", "known", None)
    solver: str = ""
    gradient: str = "backprop"
    nfe_per_sample: Tensor | None = None
    accepted_per_sample: Tensor | None = None
    rejected_per_sample: Tensor | None = None
    step_sizes: list[float] | None = None
    stiffness: float | None = _kept("max", "known", None)
    nfe_diffusion: int = _kept("sum", "known")
    nfe_diffusion_backward: int = _kept("sum", "known")

    def add_steps(self, sizes: list[float]) -> None:
        """Take up the accepted steps of one solve, in units of t; of one account there may be thousands."""
        known = [h for h in (self.min_step, self.max_step) if h is not None]
        self.accepted = (self.accepted or 0) + len(sizes)
        self.min_step, self.max_step = min([*sizes, *known]), max([*sizes, *known])
        self.step_sizes = self.step_sizes or []
        self.step_sizes += sizes

    @classmethod
    def kept(cls) -> dict[str, str]:
        """How each kept field is added up, `sum`, `min` or `max`, by name."""
        return {f.name: f.metadata["merge"] for f in fields(cls) if f.metadata}

    @classmethod
    def total(cls, accounts: Iterable[SolveStats]) -> SolveStats:
        """The account of several solves; what one of them does not tell, the others do."""
        accounts = list(accounts)
        total = SolveStats(
            solver=accounts[-1].solver if accounts else "",
            gradient=accounts[-1].gradient if accounts else "backprop",
        )
        for name, merge in cls.kept().items():
            told = [v for v in (getattr(a, name) for a in accounts) if v is not None]
            if told:
                setattr(total, name, _MERGES[merge](told))
        return total

    def published(self, batches: int) -> dict[str, float]:
        """What is recorded of the account of `batches` batches: means of sums, and extremes, by name."""
        found: dict[str, float] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.metadata or value is None or (f.metadata["published"] == "known" and not value):
                continue
            found[f.name] = value / max(batches, 1) if f.metadata["merge"] == "sum" else float(value)
        return found


_MERGES: dict[str, Callable[[Iterable[Any]], Any]] = {"sum": sum, "min": min, "max": max}


@dataclass(frozen=True)
class Resume:
    """Where step control stood at the end of a solve.

    Args:
        step: The step it would have taken next, one for each sample where each has its own.
        past: The error ratios that it remembers.
    """

    step: float | Tensor
    past: tuple[float, float] | None


@dataclass
class Solution:
    """A trajectory with its account.

    Args:
        ts: Output times, shape (n_t,), float64 where the device has it.
        ys: States at `ts`, shape (n_t, *y0.shape), dtype of y0.
        stats: The account; its backward part is filled when the backward pass runs.
        status: How the solve ended.
        failed: Which samples failed, shape (batch,), bool; None when none did.
        dense: The polynomials between the steps, where they were kept.
        resume: What a solve that continues this one needs to know, where the solver tells.
    """

    ts: Tensor
    ys: Tensor
    stats: SolveStats
    status: Status = Status.SUCCESS
    failed: Tensor | None = None
    dense: DenseOutput | None = None
    resume: Resume | None = None

    def at(self, t: Tensor | Sequence[float] | float) -> Tensor:
        """The state at any time inside the solve; see `DenseOutput.at`.

        Raises:
            SolverOptionError: The solver was not told to keep its steps.
            SpecError: A time outside the solve.
        """
        if self.dense is None:
            raise SolverOptionError(
                f"the solve by {self.stats.solver} kept no steps to ask for states between outputs",
                "set dense: true on an explicit Runge–Kutta method, or name the times beforehand",
            )
        return self.dense.at(t).to(self.ys.dtype)
