"""What does a model lose or gain under another solver than it trained with?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from integrand.modules.family import FamilyModule
from integrand.solvers import ODESolver
from integrand.solvers.errors import SolverError

from .base import Evaluation, Finding
from .named import Named
from .passes import tested
from .solved_by import held, solved_by


class OtherSolvers(Evaluation):
    """Discretisation sensitivity: the test of a trained model under other solvers.

    A model whose quality holds under finer steps has learned its differential equation; one that needs the
    steps that it trained with has learned a discrete network. `integrand compare` sets every finding beside
    the run's own test.

    Args:
        solvers: Solvers, each a name or a mapping with `class_path` and `init_args`; null for the own one.
        refine: How much finer the solver is then made: k stands for 2ᵏ times the steps, or tolerances divided
            by 10ᵏ; negative for coarser; by default 0 for given solvers, else −1, 1 and 2.

    Raises:
        UsageError: There is no such solver, or it does not take its options.
    """

    name: ClassVar[str] = "solver"
    title: ClassVar[str] = "the test under other solvers, steps and tolerances"
    quantities: ClassVar[tuple[str, ...]] = ("loss", "acc", "rmse", "mse", "nll", "nfe_forward")

    def __init__(
        self, solvers: list[str | dict[str, Any]] | str | None = None, refine: list[int] | int | None = None
    ) -> None:
        given = [solvers] if isinstance(solvers, str) else solvers or []
        # YAML reads JSON
        self.solvers: list[ODESolver] = [
            Named(ODESolver, s if isinstance(s, str) else json.dumps(s), "solver").make()  # type: ignore[type-abstract]
            for s in given
        ]
        chosen = [0] if given else [-1, 1, 2]
        self.refine = chosen if refine is None else [refine] if isinstance(refine, int) else refine
        self._headline = ""

    @classmethod
    def fits(cls, model: Any, data: Any) -> str:
        """A solver has to integrate it, and a test of single inputs to score it."""
        if not isinstance(model, FamilyModule):
            return "it is no family, so its solver is not known"
        if model.models != "outputs":
            return "it is a model of a distribution: the samplers of `samples` are its solvers"
        return "" if held(model) else "no configurable ODE solver integrates it"

    @property
    def headline(self) -> str:
        """What chooses the best epoch, of the test."""
        return self._headline

    def measure(self, model: FamilyModule, data: Any) -> Iterator[Finding]:
        """The test under every solver."""
        self._headline = f"final/test_{model.monitor.partition('/')[2]}"
        wanted: list[ODESolver | None] = [*self.solvers] or [None]
        for given in wanted:
            for k in self.refine:
                with solved_by(model, given, k) as solver:
                    yield self._finding(model, data, solver)

    def _finding(self, model: FamilyModule, data: Any, solver: str) -> Finding:
        found = Finding(solver, {"solver": solver})
        began = time.perf_counter()
        try:
            found.quantities = tested(model, data).recorded()
        except SolverError as error:
            # a solve that gave up: the other solvers are still worth trying
            found.error = error.message
        found.cost = {"evaluation_seconds": time.perf_counter() - began}
        return found
