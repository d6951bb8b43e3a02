"""Fixed-step solvers whose steps can be undone exactly, behind the solver contract."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import CountedField
from ..base import ODESolver
from ..dense import Piece
from ..errors import SolverOptionError
from ..options import require_choice, require_positive, require_steps, spell_steps
from ..own_times import own_times_asked_for
from ..problem import Problem, prepare
from ..reversible import solve_by_scheme
from ..reversible_schemes import Scheme
from ..solution import Solution, SolveStats
from ..union_times import solve_through_union
from ..watching import watch_nodes
from .fields import SecondOrderField, SeparableField
from .splitting import Force, KicksAndDrifts, Splitting


class SymplecticSolver(ODESolver):
    """Base of the symplectic methods: equal steps, since a step size that varies would lose the structure.

    The energy error of a Hamiltonian field stays bounded over exponentially many steps instead of growing
    (Hairer, Lubich, Wanner 2006, Geometric Numerical Integration, IX.8).

    Args:
        step_size: Longest step, in units of t.
        num_steps: Number of steps over the whole time span, instead of step_size.
        gradient: `backprop` keeps the graph of every step; `reversible` undoes the steps in the backward pass
            and needs no more memory for more of them.
        max_nfe: Evaluations after which the forward or the backward solve is given up.

    Raises:
        SolverOptionError: Neither or both of step_size and num_steps, or an unknown gradient.
    """

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "reversible")
    adaptive: ClassVar[bool | None] = False
    own_times: ClassVar[bool] = True

    def __init__(
        self,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "reversible"] = "backprop",
        max_nfe: int | None = None,
    ) -> None:
        require_choice("gradient", gradient, self.gradients)
        require_positive(step_size=step_size, num_steps=num_steps, max_nfe=max_nfe)
        require_steps(type(self).__name__, step_size, num_steps)
        self.step_size, self.num_steps = step_size, num_steps
        self.gradient, self.max_nfe = gradient, max_nfe

    def describe(self) -> str:
        """Method and steps, such as `leapfrog num_steps=100`."""
        return f"{type(self).__name__.lower()} {spell_steps(self.step_size, self.num_steps)}"

    def solve(
        self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float], mask: Tensor | None = None
    ) -> Solution:
        """Integrate; see `ODESolver.solve`.

        Args:
            field: The field; with times of each sample's own, t is (batch, 1, ...).
            y0: State at the first time, shape (batch, ...).
            t: Output times, shape (n_t,), or times of each sample's own, shape (batch, n_t); see
                `solve_through_union`. May require a gradient.
            mask: With times of each sample's own, which of them count, shape (batch, n_t), bool.

        Raises:
            SpecError: The field is not of the kind that the method needs.
        """
        self._check(field, y0)
        if own_times_asked_for(t, mask):
            return solve_through_union(self, field, y0, t, mask)
        problem = prepare(field, y0, t, times_gradient=True)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        if problem.clocked is not None:
            # kicks and drifts count forces alone; the slope at a time is that of the whole field
            whole = self._counted(field, problem, stats)
            whole.start_backward()
            problem = problem.departed(whole)
        if problem.trivial:
            return problem.still(stats)
        scheme = self._scheme(field, problem, stats)
        return solve_by_scheme(scheme, field, problem, self.step_size, self.num_steps, self.gradient)

    def watch(
        self, field: nn.Module, y0: Tensor, t: tuple[float, float], look: Callable[[Piece], bool]
    ) -> SolveStats:
        """See `ODESolver.watch`."""
        return watch_nodes(self, field, y0, t, self.step_size, self.num_steps, look)

    def _counted(self, field: nn.Module, problem: Problem, stats: SolveStats) -> CountedField:
        return CountedField(field, stats, max_nfe=self.max_nfe, device_type=problem.y0.device.type)

    @abstractmethod
    def _check(self, field: nn.Module, y0: Tensor) -> None:
        """Refuse a field that the method is not for."""

    @abstractmethod
    def _scheme(self, field: nn.Module, problem: Problem, stats: SolveStats) -> Scheme:
        """The steps on one field."""


class SplittingSolver(SymplecticSolver):
    """Base of the methods of kicks and drifts, for a `SeparableField`; subclasses are their coefficients."""

    splitting: ClassVar[Splitting]
    second_order_only: ClassVar[bool] = False
    """Whether the order is reached only where the velocity is p."""

    def __init__(
        self,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "reversible"] = "backprop",
        max_nfe: int | None = None,
    ) -> None:
        if not hasattr(self, "splitting"):
            raise SolverOptionError(f"{type(self).__name__} is the base of the methods", "choose Leapfrog")
        super().__init__(step_size, num_steps, gradient, max_nfe)

    def _check(self, field: nn.Module, y0: Tensor) -> None:
        name = type(self).__name__
        kind = SecondOrderField if self.second_order_only else SeparableField
        if not isinstance(field, kind):
            raise SpecError(
                f"{name} takes a {kind.__name__}, not {type(field).__name__}",
                "implement force (and velocity), or use ImplicitMidpoint, which takes any field",
            )
        if not isinstance(y0, Tensor) or y0.ndim < 2 or y0.shape[1] % 2:
            shape = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
            raise SpecError(f"the state {shape} does not hold q and p", "concatenate them along dim 1")

    def _scheme(self, field: nn.Module, problem: Problem, stats: SolveStats) -> Scheme:
        assert isinstance(field, SeparableField)
        return KicksAndDrifts(field, self._counted(Force(field), problem, stats), self.splitting)
