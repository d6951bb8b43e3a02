"""Cells that other cells teach: after whom they run, and the checkpoint that they get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from integrand.errors import IntegrandError
from integrand.tracking.store import runs

from .arms import TEACHER
from .cells import Cell
from .spec import BudgetSpec
from .states import is_done
from .store import StoredCell


def best_checkpoint(run_id: str) -> Path:
    """The best checkpoint of a run as a local file.

    Raises:
        TrackingError: The run has none.
        UsageError: It is damaged, or another run's.
    """
    return runs.checkpoint(runs.find_run(run_id)).absolute()


def waves(cells: Iterable[Cell], known: Mapping[str, Cell]) -> list[list[Cell]]:
    """Cells in an order in which every teacher is done before its pupils begin.

    The first wave are those of the first seed that need no teacher, the next one those that they teach and
    those of the second seed that need none, and so on: an interrupted suite leaves whole comparisons over
    fewer seeds. Without teachers all cells are one wave.

    Args:
        cells: The cells to run.
        known: All cells of the suite, by key.
    """
    seeds = list(dict.fromkeys(cell.seed for cell in known.values()))
    later = {seed: place for place, seed in enumerate(seeds)}
    if not any(cell.teacher for cell in known.values()):
        later = dict.fromkeys(seeds, 0)
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        number, above = later[cell.seed], cell
        while above.teacher:
            number, above = number + 1, known[above.teacher]
        found.setdefault(number, []).append(cell)
    return [found[number] for number in sorted(found)]


def teaching(
    cell: Cell,
    known: Mapping[str, Cell],
    stored: Mapping[str, StoredCell],
    budget: BudgetSpec,
    find: Callable[[str], Path] = best_checkpoint,
) -> tuple[tuple[str, ...], str]:
    """The words of the command line that name a cell's teacher, or why it cannot be taught now.

    Args:
        cell: The cell.
        known: All cells of the suite, by key.
        stored: Their runs.
        budget: What a run may use; one that used it up can teach.
        find: The best checkpoint of a run, by its id.
    """
    if not cell.teacher:
        return (), ""
    label, run = known[cell.teacher].label, stored.get(cell.teacher)
    if run is None or not is_done(run, budget):
        return (), f"its teacher has not finished: {label}"
    try:
        return (f"--{TEACHER}={find(run.run_id)}",), ""
    except IntegrandError as error:
        return (), f"no checkpoint of its teacher, {label}: {error}"
