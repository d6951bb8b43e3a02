"""Where the cells of a suite stand, and what is left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from integrand.tracking.store import names

from .cells import Cell
from .engines import Held
from .estimate import expected_seconds
from .journal import Journal
from .spec import BudgetSpec
from .store import StoredCell

BASICS = (names.QUALITY, names.NFE, names.COST, names.TOTAL_NFE, names.TOTAL_EPOCHS)
DONE = ("finished", "over budget")
"""States in which nothing is left to do."""


@dataclass(frozen=True)
class CellState:
    """Where a cell stands.

    Args:
        cell: The cell.
        state: `finished`, `over budget`, `running`, `failed`, `stopped` before its end,
            `queued` in an engine, or `waiting`.
        seconds: What its run took; None where it has not ended.
        error: What went wrong, or which budget was used up; empty where neither.
        run_id: Its MLflow run, empty without one.
        metrics: The newest values of its run.
    """

    cell: Cell
    state: str
    seconds: float | None = None
    error: str = ""
    run_id: str = ""
    metrics: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The state for programs."""
        metrics = self.metrics or {}
        return {
            "key": self.cell.key,
            "experiment": self.cell.experiment,
            "seed": self.cell.seed,
            "state": self.state,
            "seconds": self.seconds,
            "error": self.error,
            "run_id": self.run_id,
            **{name.removeprefix("basics/"): metrics.get(name) for name in BASICS},
        }


def cell_states(
    cells: Sequence[Cell],
    stored: Mapping[str, StoredCell],
    journal: Journal,
    budget: BudgetSpec | None = None,
    held: Mapping[str, Held] | None = None,
) -> list[CellState]:
    """Where every cell stands: the store says what is finished, the journal why something is not.

    A run that an earlier, smaller budget ended counts as stopped: there is more to do.

    Args:
        cells: The cells.
        stored: Their runs.
        journal: How their processes ended.
        budget: What a run may use.
        held: What engines have of them; a cell that waits there is queued.
    """
    ends, budget = journal.last_ends(), budget or BudgetSpec()
    states = []
    for cell in cells:
        state = _cell_state(cell, stored.get(cell.key), ends.get(cell.key), budget)
        if held and cell.key in held and state.state not in (*DONE, "running"):
            here = held[cell.key]
            reason = f"{here.job} {here.reason}".strip()
            state = replace(state, state="running" if here.running else "queued", error=reason, seconds=None)
        states.append(state)
    return states


def is_done(run: StoredCell | None, budget: BudgetSpec) -> bool:
    """Whether nothing is left to do for a cell with this run."""
    if run is None:
        return False
    if run.state == "over budget" and run.stopped is not None:
        return not budget.allows_more_than(*run.stopped)
    return run.state in DONE


def _cell_state(
    cell: Cell, run: StoredCell | None, end: Mapping[str, Any] | None, budget: BudgetSpec
) -> CellState:
    if run is None:
        return _state_without_run(cell, end)
    found = CellState(cell, run.state, run.seconds, run.error, run.run_id, run.metrics)
    if is_done(run, budget) or run.state == "running":
        return found
    if end and end.get("state") == "failed" and end.get("error"):
        return replace(found, state="failed", seconds=None, error=str(end["error"]))
    state = "failed" if run.state == "failed" and not _was_interrupted(end) else "stopped"
    return replace(found, state=state, seconds=None)


def _state_without_run(cell: Cell, end: Mapping[str, Any] | None) -> CellState:
    if _was_interrupted(end):
        return CellState(cell, "stopped")
    error = str(end.get("error", "")) if end else ""
    return CellState(cell, "failed" if error else "waiting", error=error)


def _was_interrupted(end: Mapping[str, Any] | None) -> bool:
    return end is not None and end.get("state") == "interrupted"


def stale_note(cells: Sequence[Cell], stored: Mapping[str, StoredCell]) -> str:
    """Says how many finished runs of the suite are of no cell any more; empty where there is none."""
    keys = {cell.key for cell in cells}
    stale = sum(1 for key, run in stored.items() if run.state == "finished" and key not in keys)
    return f"{stale} more finished runs in the store are of other code or configurations" if stale else ""


def expected_times(
    cells: Sequence[Cell], journal: Journal, stored: Mapping[str, StoredCell]
) -> dict[str, float | None]:
    """Seconds that a run of each experiment will take, None where no run has ended yet.

    Known are the journal's runs and, where there is no journal here, the store's runs, also of older code.
    """
    durations = journal.durations()
    if not durations:
        for run in stored.values():
            if run.state in DONE and run.seconds is not None:
                durations.setdefault(run.cell, []).append(run.seconds)
    return {cell.experiment: expected_seconds(cell.experiment, durations) for cell in cells}


def estimated_seconds(
    cells: Sequence[Cell], journal: Journal, stored: Mapping[str, StoredCell]
) -> float | None:
    """Seconds of computing that the cells will take one after another, None where no run has ended yet."""
    times = expected_times(cells, journal, stored)
    known = [times[cell.experiment] for cell in cells]
    return None if None in known else sum(seconds or 0.0 for seconds in known)
