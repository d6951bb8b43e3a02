"""Algebraically reversible methods: exact gradients at a memory that does not grow with the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .accounts import CountedField, refuse_dropout
from .base import ODESolver
from .checkpoint import accumulate, pull_back
from .dense import Piece
from .errors import SolverError, SolverOptionError
from .hidden_inputs import KnownInputs, differentiable_inputs
from .options import require_choice, require_positive, require_steps, spell_steps
from .own_times import own_times_asked_for
from .problem import Problem, grid, prepare, require_finite
from .randomness import Generators
from .reversible_schemes import SCHEMES, Scheme, State
from .solution import Solution, SolveStats
from .transforms import refuse_transforms
from .union_times import solve_through_union
from .watching import watch_nodes

PARTED = 0.1
"""Relative distance of the scheme's two copies of the state from which it is called unstable."""
MISSED = 1e-2
"""Relative miss of the initial state from which the reconstruction is called unstable."""


class Reversible(ODESolver):
    """Fixed-step methods whose steps can be undone, so that the backward pass rebuilds the states.

    Worth it for very many steps only: at the same number of evaluations `gradient: checkpoint` is more
    accurate, and these methods are stable on fields that neither grow nor contract much. They carry a second
    copy of the state; where the copies part, or the states cannot be rebuilt, the solve is refused.

    Args:
        method: `mccallum-foster` (2024) couples two copies by a base step of order 4, 8 evaluations per step,
            order 4; `reversible-heun` (Kidger 2021) and `alf` (Zhuang 2021) make one evaluation per step and
            are of order 2.
        step_size: Longest step, in units of t.
        num_steps: Number of steps over the whole time span, instead of step_size.
        coupling: How strongly McCallum and Foster's copies are drawn together, in (0, 1]; less is more stable
            and shrinks what rounding the backward pass survives.
        max_nfe: Evaluations after which the forward or the backward solve is given up.

    Raises:
        SolverOptionError: Unknown method, or neither or both of step_size and num_steps.
    """

    gradients: ClassVar[tuple[str, ...]] = ("reversible",)
    adaptive: ClassVar[bool | None] = False
    own_times: ClassVar[bool] = True

    def __init__(
        self,
        method: Literal["mccallum-foster", "reversible-heun", "alf"] = "mccallum-foster",
        step_size: float | None = None,
        num_steps: int | None = None,
        coupling: float = 0.99,
        max_nfe: int | None = None,
    ) -> None:
        require_choice("method", method, SCHEMES)
        require_positive(step_size=step_size, num_steps=num_steps, max_nfe=max_nfe, coupling=coupling)
        require_steps(method, step_size, num_steps)
        if coupling > 1:
            raise SolverOptionError(f"coupling={coupling} drives the copies apart", "set it to 0.99")
        self.method, self.coupling = method, coupling
        self.step_size, self.num_steps = step_size, num_steps
        self.max_nfe = max_nfe
        self.gradient = "reversible"

    def describe(self) -> str:
        """Method and steps, such as `mccallum-foster num_steps=100`."""
        return f"{self.method} {spell_steps(self.step_size, self.num_steps)}"

    def solve(
        self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float], mask: Tensor | None = None
    ) -> Solution:
        """Integrate; see `ODESolver.solve`.

        Args:
            field: Module called as `field(t, y)`; with times of each sample's own, t is (batch, 1, ...).
            y0: State at the first time, shape (batch, ...).
            t: Output times, shape (n_t,), or times of each sample's own, shape (batch, n_t); see
                `solve_through_union`. May require a gradient.
            mask: With times of each sample's own, which of them count, shape (batch, n_t), bool.

        Raises:
            SolverError: The scheme is unstable on this field with these steps.
        """
        if own_times_asked_for(t, mask):
            return solve_through_union(self, field, y0, t, mask)
        problem = prepare(field, y0, t, times_gradient=True)
        stats = SolveStats(solver=self.describe(), gradient="reversible", accepted=0, rejected=0)
        counted = CountedField(field, stats, max_nfe=self.max_nfe, device_type=problem.y0.device.type)
        problem = problem.departed(counted)
        if problem.trivial:
            counted.start_backward()
            return problem.still(stats)
        scheme = SCHEMES[self.method](counted, self.coupling)
        return solve_by_scheme(scheme, field, problem, self.step_size, self.num_steps, "reversible")

    def watch(
        self, field: nn.Module, y0: Tensor, t: tuple[float, float], look: Callable[[Piece], bool]
    ) -> SolveStats:
        """See `ODESolver.watch`."""
        return watch_nodes(self, field, y0, t, self.step_size, self.num_steps, look)


def solve_by_scheme(
    scheme: Scheme,
    field: nn.Module,
    problem: Problem,
    step_size: float | None,
    num_steps: int | None,
    gradient: str,
) -> Solution:
    """Take the fixed steps of a scheme.

    Args:
        scheme: The scheme, on the field as it is counted.
        field: The field itself.
        problem: State and times.
        step_size: Longest step, or None.
        num_steps: Number of steps over the whole span, where step_size is None.
        gradient: `reversible` undoes the steps in the backward pass; `backprop` keeps their graph.
    """
    counted, stats = scheme.counted, scheme.counted.stats
    run = _Run(scheme, problem, step_size, num_steps)
    with problem.context():
        if gradient == "backprop":
            outputs, last = run.forward(problem.y0)
            run.check_copies(last)
            ys = torch.stack(outputs)
            if ys.requires_grad:
                vjps = scheme.differentiated(len(run.sizes))
                ys.register_hook(lambda _: counted.add_vjps(vjps))  # type: ignore[no-untyped-call]  # torch
        else:
            inputs: tuple[Tensor, ...] = ()
            refuse_transforms("reversible")
            if torch.is_grad_enabled():
                refuse_dropout(field, "reversible")
                inputs = differentiable_inputs(field, scheme.first(run.times[0], problem.y0.detach()))
            ys = _Solve.apply(run, problem.y0, *inputs)  # type: ignore[no-untyped-call]  # torch
        require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
    counted.start_backward()
    sizes = [abs(h) for h in run.sizes]
    stats.accepted, stats.min_step, stats.max_step = len(sizes), min(sizes), max(sizes)
    return problem.finish(ys, stats)


class _Run:
    """One solve: its grid, its scheme and the checks of stability."""

    def __init__(
        self, scheme: Scheme, problem: Problem, step_size: float | None, num_steps: int | None
    ) -> None:
        self.scheme = scheme
        self.generators = Generators(problem.y0.device)
        intervals = grid(problem.times, step_size, num_steps)
        nodes = [node for interval in intervals for node in interval[:-1]] + [problem.times[-1]]
        self.sizes = [b - a for a, b in pairwise(nodes)]
        self.ends, n = [], 0
        for interval in intervals:
            n += len(interval) - 1
            self.ends.append(n)
        y0 = problem.y0
        self.nodes = nodes
        clock = problem.clock_of(min(map(abs, self.sizes)))
        self.times = torch.tensor(nodes, dtype=clock).to(y0.device, non_blocking=True).unbind()

    def forward(self, y0: Tensor) -> tuple[list[Tensor], State]:
        """Outputs and the last state."""
        state = self.scheme.start(self.times[0], y0)
        outputs, ends = [y0], set(self.ends)
        for n, h in enumerate(self.sizes):
            state = self.scheme.step(self.times[n], self.times[n + 1], h, state)
            if n + 1 in ends:
                outputs.append(state[0])
        return outputs, state

    def check_copies(self, state: State) -> None:
        """Refuse a solve whose two copies of the state did not stay together."""
        apart = self.scheme.distance(state, self.sizes[-1])
        if not apart <= PARTED:
            raise SolverError(
                f"{self.scheme.counted.stats.solver} is unstable on this field: its two copies of the state "
                f"are {100 * apart:.3g} % apart at t={self.nodes[-1]:.6g}",
                "take smaller steps, or an explicit method with gradient: checkpoint",
            )

    def check_rebuilt(self, rebuilt: Tensor, y0: Tensor) -> None:
        """Refuse gradients that belong to a trajectory other than the one that was solved."""
        miss = float(torch.linalg.vector_norm(rebuilt - y0) / torch.linalg.vector_norm(y0).clamp_min(1e-30))
        if not miss <= MISSED:
            raise SolverError(
                f"{self.scheme.counted.stats.solver} could not rebuild its states: the initial one is "
                f"missed by {100 * miss:.3g} %",
                "take fewer steps or float64, or an explicit method with gradient: checkpoint",
            )


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _Run, y0: Tensor, *inputs: Tensor) -> Tensor:
        outputs, last = run.forward(y0)
        if any(ctx.needs_input_grad):
            run.generators.refuse_draws(run.scheme.counted.stats.solver, "reversible")
        run.check_copies(last)
        ctx.run, ctx.n = run, len(last)
        ctx.save_for_backward(y0, *last, *inputs)
        return torch.stack(outputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError("reversible methods have no second derivative", "set gradient: backprop")
        run: _Run = ctx.run
        y0, *rest = ctx.saved_tensors
        state, inputs = tuple(rest[: ctx.n]), tuple(rest[ctx.n :])
        scheme = run.scheme
        totals: list[Tensor | None] = [None] * len(inputs)
        pull = PullBack(inputs, totals, scheme.counted.stats.solver)
        adjoint = [torch.zeros_like(x) for x in state]
        arriving = dict(zip(run.ends, grad.unbind(0)[1:], strict=True))
        with scheme.counted.recomputing(), pull.known.border():
            for n in reversed(range(len(run.sizes))):
                if n + 1 in arriving:
                    adjoint[0] = adjoint[0] + arriving[n + 1]
                times = (run.times[n], run.times[n + 1], run.sizes[n])
                vjps = scheme.counted.stats.vjps
                state = scheme.undo(*times, state)
                scheme.counted.stats.vjps = vjps  # rebuilding differentiates nothing
                adjoint = pull.through(partial(scheme.step, *times), state, adjoint, run.times[n])
            run.check_rebuilt(state[0], y0)
            (first,) = pull.through(lambda s: scheme.start(run.times[0], s[0]), (y0,), adjoint, run.times[0])
        pull.known.refuse_others()
        return (None, first + grad[0], *totals)


class PullBack:
    """Pulls cotangents back through functions of the state; adds those of the inputs to `totals`."""

    def __init__(self, inputs: Sequence[Tensor], totals: list[Tensor | None], solver: str) -> None:
        self.known = KnownInputs(inputs, solver)
        self._inputs, self._totals, self._solver = inputs, totals, solver

    def through(
        self, function: Callable[[State], State], state: State, adjoint: Sequence[Tensor], t: Tensor
    ) -> list[Tensor]:
        """The cotangents of the state that `function` is evaluated at."""
        with torch.enable_grad():
            leaves = tuple(x.detach().requires_grad_() for x in state)
            values = function(leaves)
        pairs = [(v, a) for v, a in zip(values, adjoint, strict=True) if v.requires_grad]
        outputs, cotangents = [v for v, _ in pairs], [a for _, a in pairs]
        self.known.look_for_others(outputs, (t, *leaves), t)
        inputs = (*leaves, *self._inputs)
        found = pull_back(outputs, inputs, cotangents, self._solver, self.known.made)
        accumulate(self._totals, found[len(leaves) :])
        return [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=False)]
