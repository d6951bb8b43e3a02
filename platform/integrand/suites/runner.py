"""Runs a suite: what is left of it, through a launcher, with everything noted down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from .cells import Cell, by_key
from .estimate import expected_seconds
from .journal import Journal
from .launcher import Launcher, Outcome, Task
from .progress import Progress
from .store import StoredCell

Lookup = Callable[[], Mapping[str, StoredCell]]
"""Asks the tracking store for the recorded cells by run key."""


@dataclass(frozen=True)
class CellState:
    """Where a cell stands.

    Args:
        cell: The cell.
        state: `finished`, `running`, `failed`, `stopped` by the user, or `waiting`.
        seconds: What its run took; None where it has not ended.
        error: What went wrong, empty where nothing did.
        run_id: Its MLflow run, empty without one.
    """

    cell: Cell
    state: str
    seconds: float | None = None
    error: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class SuiteResult:
    """What a `suite run` left.

    Args:
        states: Where every cell stands.
        skipped: How many had been finished before.
        interrupted: Whether the user stopped it.
    """

    states: tuple[CellState, ...]
    skipped: int
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether every cell is finished."""
        return all(s.state == "finished" for s in self.states)


def stale_note(cells: Sequence[Cell], stored: Mapping[str, StoredCell]) -> str:
    """Says how many finished runs of the suite are of no cell any more; empty where there is none."""
    keys = {cell.key for cell in cells}
    stale = sum(1 for key, run in stored.items() if run.state == "finished" and key not in keys)
    return f"{stale} more finished runs in the store are of other code or configurations" if stale else ""


def cell_states(cells: Sequence[Cell], stored: Mapping[str, StoredCell], journal: Journal) -> list[CellState]:
    """Where every cell stands: the store says what is finished, the journal why something is not."""
    ends = journal.last_ends()
    return [_cell_state(cell, stored.get(cell.key), ends.get(cell.key)) for cell in cells]


def _cell_state(cell: Cell, run: StoredCell | None, end: Mapping[str, Any] | None) -> CellState:
    run_id = run.run_id if run else ""
    if run and run.state in ("finished", "running"):
        return CellState(cell, run.state, run.seconds, run_id=run_id)
    if end and end.get("state") == "interrupted":
        return CellState(cell, "stopped", run_id=run_id)
    error = str(end.get("error", "")) if end else ""
    if run or error:
        return CellState(cell, "failed", error=error or (run.error if run else ""), run_id=run_id)
    return CellState(cell, "waiting")


def run_suite(
    name: str,
    cells: Sequence[Cell],
    launcher: Launcher,
    jobs: int,
    lookup: Lookup,
    journal: Journal,
    console: Console,
    command: Callable[[Cell], tuple[str, ...]] | None = None,
) -> SuiteResult:
    """Run the cells that have no finished run yet.

    A cell is finished where the store says so, not where its process ends well: a run that left nothing
    behind cannot be compared.

    Args:
        name: Name of the suite.
        cells: All its cells, in the order in which to run them.
        launcher: Runs the processes.
        jobs: Runs at a time, for the estimate of the time left.
        lookup: Asks the tracking store.
        journal: Where plan, logs and attempts go.
        console: Where progress is shown.
        command: The process of a cell; by default `integrand fit`.

    Raises:
        UsageError: Another process is running the suite, or two cells are the same.
        TrackingError: The store cannot be read.
    """
    known = by_key(cells)
    with journal.lock():
        journal.write_plan(name, cells)
        before = lookup()
        todo = {k: c for k, c in known.items() if k not in before or before[k].state == "failed"}
        skipped = sum(1 for k in known if k in before and before[k].state == "finished")
        console.print(_opening(name, cells, todo, skipped, journal, jobs), soft_wrap=True)
        if note := stale_note(cells, before):
            console.print(f"[dim]{note}[/dim]", soft_wrap=True)
        make = command or (lambda cell: cell.command(name))
        tasks = [Task(c.key, c.label, make(c), journal.log(c)) for c in todo.values()]
        with Progress(console, todo, len(known), jobs, journal.durations()) as progress:
            outcomes = launcher.launch(tasks, _Journalled(progress, todo, journal))
        after = lookup()
        for outcome in outcomes:
            recorded = after.get(outcome.task.key)
            if outcome.state == "finished" and (recorded is None or recorded.state != "finished"):
                error = (
                    "ended well, but the store has no finished run of it; integrand sync sends what was left"
                )
                journal.append(
                    todo[outcome.task.key], Outcome(outcome.task, "failed", outcome.seconds, 1, 0, error)
                )
        interrupted = len(outcomes) < len(tasks) or any(o.state == "interrupted" for o in outcomes)
        return SuiteResult(tuple(cell_states(cells, after, journal)), skipped, interrupted)


def _opening(
    name: str, cells: Sequence[Cell], todo: Mapping[str, Cell], skipped: int, journal: Journal, jobs: int
) -> str:
    elsewhere = len(cells) - len(todo) - skipped
    text = f"suite {name}: {len(cells)} cells, {skipped} finished, {len(todo)} to run"
    text += f", {elsewhere} running in another process" if elsewhere else ""
    return text + (f"; {jobs} at a time, output in {journal.folder}/" if todo else "")


class _Journalled:
    """Notes outcomes down before it shows them."""

    def __init__(self, progress: Progress, cells: Mapping[str, Cell], journal: Journal) -> None:
        self.progress = progress
        self.cells = cells
        self.journal = journal
        self.started = progress.started
        self.retried = progress.retried
        self.tick = progress.tick
        self.stopping = progress.stopping

    def ended(self, outcome: Outcome) -> None:
        """See `Observer`."""
        self.journal.append(self.cells[outcome.task.key], outcome)
        self.progress.ended(outcome)


def estimated_seconds(
    cells: Sequence[Cell], journal: Journal, stored: Mapping[str, StoredCell]
) -> float | None:
    """Seconds of computing that the cells will take one after another, None where no run has ended yet.

    Known are the journal's runs and, where there is no journal here, the store's runs of the same cells.
    """
    durations = journal.durations()
    if not durations:
        for cell in stored.values():
            if cell.state == "finished" and cell.seconds is not None:
                durations.setdefault("", []).append(cell.seconds)
    expected = [expected_seconds(cell.experiment, durations) for cell in cells]
    known = [seconds for seconds in expected if seconds is not None]
    return sum(known) if len(known) == len(expected) else None
