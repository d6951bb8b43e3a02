"""Runs a suite: what is left of it, through a launcher, with everything noted down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from . import engines
from .cells import Cell, by_key
from .journal import Journal
from .launcher import Launcher, Outcome, Task
from .progress import Progress
from .spec import BudgetSpec
from .states import DONE, CellState, cell_states, is_done, stale_note
from .store import StoredCell
from .teachers import best_checkpoint, teaching, waves

HANG_FACTOR, HANG_SECONDS = 2.0, 300.0
"""A run with a time budget ends by itself; one that takes so much longer hangs."""

Lookup = Callable[[], Mapping[str, StoredCell]]
"""Asks the tracking store for the recorded cells by run key."""


class Parents(Protocol):
    """Runs that stand above the cells in MLflow's UI."""

    def of(self, cell: Cell) -> str:
        """The run id of a cell's parent, empty for none."""

    def update(self, cell: Cell) -> None:
        """A run of the cell has ended."""

    def close(self, states: Sequence[CellState]) -> None:
        """The suite has ended, its cells in these states."""


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
        """Whether nothing is left to do: every cell is finished, or has used up its budget."""
        return all(s.state in DONE for s in self.states)


def run_suite(
    name: str,
    cells: Sequence[Cell],
    launcher: Launcher,
    jobs: int,
    lookup: Lookup,
    journal: Journal,
    console: Console,
    command: Callable[[Cell], tuple[str, ...]] | None = None,
    budget: BudgetSpec | None = None,
    parents: Callable[[], Parents] | None = None,
    checkpoint: Callable[[str], Path] = best_checkpoint,
) -> SuiteResult:
    """Run the cells that have no finished run yet; taught ones after all that need no teacher.

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
        budget: What one run may use; None sets no limit.
        parents: Makes the runs that stand above the cells; called where something is to run.
        checkpoint: The best checkpoint of a run by its id, for the cells that it teaches.

    Raises:
        UsageError: Another process is running the suite, or two cells are the same.
        TrackingError: The store cannot be read.
    """
    known = by_key(cells)
    budget = budget or BudgetSpec()
    with journal.lock():
        journal.write_plan(name, cells)
        before = lookup()
        skipped = sum(is_done(before.get(k), budget) for k in known)
        todo = _left(known, before, budget, launcher, journal)
        console.print(_opening(name, cells, todo, skipped, before, journal, jobs), soft_wrap=True)
        if note := stale_note(cells, before):
            console.print(f"[dim]{note}[/dim]", soft_wrap=True)
        above = parents() if parents is not None and todo else None

        def default(cell: Cell) -> tuple[str, ...]:
            return cell.command(name, above.of(cell) if above else "", budget)

        make, limit = command or default, _time_limit(budget)
        whole = _from_the_start(todo, before)

        def task(cell: Cell, words: tuple[str, ...]) -> Task:
            return Task(cell.key, cell.label, (*make(cell), *words), journal.log(cell), limit)

        def taught(cell: Cell) -> tuple[tuple[str, ...], str]:
            return teaching(cell, known, lookup() if cell.teacher else {}, budget, checkpoint)

        with Progress(console, todo, len(known), jobs, journal.durations()) as progress:
            observer = _Journalled(progress, todo, journal, whole, above)
            outcomes, stopped = _launch(waves(todo.values(), known), task, taught, launcher, observer)
        after = lookup()
        _note_unrecorded(outcomes, todo, after, journal)
        states = cell_states(cells, after, journal, budget, engines.held(journal.folder))
        if above is not None:
            above.close(states)
        return SuiteResult(tuple(states), skipped, stopped)


def _launch(
    in_order: Sequence[Sequence[Cell]],
    task: Callable[[Cell, tuple[str, ...]], Task],
    taught: Callable[[Cell], tuple[tuple[str, ...], str]],
    launcher: Launcher,
    observer: _Journalled,
) -> tuple[list[Outcome], bool]:
    """Launch one wave after another; the outcomes, and whether the user stopped it.

    A cell whose teacher has failed fails with it; one whose teacher is at work elsewhere is left for later.
    """
    outcomes: list[Outcome] = []
    for wave in in_order:
        tasks = []
        for cell in wave:
            words, why = taught(cell)
            if not why:
                tasks.append(task(cell, words))
            elif cell.teacher in observer.cells:
                observer.ended(Outcome(task(cell, ()), "failed", 0.0, 0, None, why))
            else:
                observer.left(cell, why)
        ended = launcher.launch(tasks, observer) if tasks else []
        outcomes += ended
        if _was_stopped(ended, len(tasks)):
            return outcomes, True
    return outcomes, False


def _left(
    known: Mapping[str, Cell],
    before: Mapping[str, StoredCell],
    budget: BudgetSpec,
    launcher: Launcher,
    journal: Journal,
) -> dict[str, Cell]:
    """The cells to run now: those that are neither done nor at work elsewhere."""
    busy = {k for k in known if k in before and before[k].state == "running"}
    queued = set(engines.held(journal.folder))
    # a launcher that finds its own jobs again goes on watching them
    busy = busy - queued if launcher.adopts else busy | queued
    return {k: c for k, c in known.items() if k not in busy and not is_done(before.get(k), budget)}


def _from_the_start(todo: Collection[str], before: Mapping[str, StoredCell]) -> set[str]:
    """The keys of the cells that have no run to go on with."""
    return {k for k in todo if k not in before or before[k].state == "failed"}


def _was_stopped(outcomes: Sequence[Outcome], count: int) -> bool:
    """Whether the user stopped the launcher before its `count` tasks had ended; see `Launcher.launch`."""
    return len(outcomes) < count or any(o.state == "interrupted" for o in outcomes)


def _time_limit(budget: BudgetSpec) -> float | None:
    """Seconds after which a run hangs; None where nothing limits its time."""
    return None if budget.seconds is None else HANG_FACTOR * budget.seconds + HANG_SECONDS


def _note_unrecorded(
    outcomes: Sequence[Outcome], cells: Mapping[str, Cell], stored: Mapping[str, StoredCell], journal: Journal
) -> None:
    """Note as failed what ended well and left no run that counts."""
    error = "ended well, but the store has no finished run of it; integrand sync sends what was left"
    for outcome in outcomes:
        recorded = stored.get(outcome.task.key)
        if outcome.state == "finished" and (recorded is None or recorded.state not in DONE):
            journal.append(
                cells[outcome.task.key], Outcome(outcome.task, "failed", outcome.seconds, 1, 0, error)
            )


def _opening(
    name: str,
    cells: Sequence[Cell],
    todo: Mapping[str, Cell],
    skipped: int,
    before: Mapping[str, StoredCell],
    journal: Journal,
    jobs: int,
) -> str:
    gone_on = sum(1 for k in todo if k in before and before[k].state in ("interrupted", "over budget"))
    elsewhere = len(cells) - len(todo) - skipped
    text = f"suite {name}: {len(cells)} cells, {skipped} finished, {len(todo)} to run"
    text += f" ({gone_on} of them from their last checkpoint)" if gone_on else ""
    text += f", {elsewhere} running elsewhere" if elsewhere else ""
    return text + (f"; {jobs} at a time, output in {journal.folder}/" if todo else "")


class _Journalled:
    """Notes outcomes down before it shows them."""

    def __init__(
        self,
        progress: Progress,
        cells: Mapping[str, Cell],
        journal: Journal,
        whole: Collection[str],
        parents: Parents | None,
    ) -> None:
        self.progress = progress
        self.whole = whole
        self.parents = parents
        self.cells = cells
        self.journal = journal
        self.started = progress.started
        self.retried = progress.retried
        self.tick = progress.tick
        self.stopping = progress.stopping
        self.leaving = progress.leaving

    def left(self, cell: Cell, why: str) -> None:
        """A cell is left for another time."""
        self.progress.left(cell.key, f"{cell.label}: {why}")

    def ended(self, outcome: Outcome) -> None:
        """See `Observer`."""
        cell = self.cells[outcome.task.key]
        self.journal.append(cell, outcome, cell.key in self.whole)
        self.progress.ended(outcome)
        if self.parents is not None:
            self.parents.update(cell)
