"""How `integrand suite` shows where cells stand."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..tracking.store import names

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..suites.states import CellState

STYLES = {
    "finished": "green",
    "over budget": "magenta",
    "failed": "red",
    "running": "cyan",
    "queued": "blue",
    "stopped": "yellow",
    "waiting": "dim",
}


def make_console() -> Console:
    """A console; a log or a pipe, which has no width of its own, gets a fixed one."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    # a notebook asks for colours as a terminal would, and shows every line of a live display
    return Console(highlight=False, width=140, force_terminal=False)


def state_table(
    title: str, states: Sequence[CellState], expected: Mapping[str, float | None] | None = None
) -> RenderableType:
    """Experiments down, seeds across.

    Args:
        title: What stands above.
        states: Where every cell stands.
        expected: Seconds that a run of each experiment takes, for a column of their own.
    """
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    seeds = list(dict.fromkeys(s.cell.seed for s in states))
    rows: dict[str, dict[int, CellState]] = {}
    for state in states:
        rows.setdefault(state.cell.experiment, {})[state.cell.seed] = state
    table = Table("experiment", *(f"seed {seed}" for seed in seeds))
    if expected is not None:
        table.add_column("a run takes", justify="right")
    for experiment, by_seed in rows.items():
        row = [escape(experiment), *(cell_text(by_seed.get(seed)) for seed in seeds)]
        if expected is not None:
            seconds = expected.get(experiment)
            row.append("[dim]unknown[/]" if seconds is None else f"{seconds:.0f} s")
        table.add_row(*row)
    # a title of the table itself would be folded to its width
    return Group(escape(title), table)


def cell_text(state: CellState | None) -> str:
    """One cell of the table: its state, and what is known of its run."""
    if state is None:
        return ""
    metrics = state.metrics or {}
    parts = [state.state]
    if state.state in ("running", "stopped") and names.TOTAL_EPOCHS in metrics:
        parts.append(f"epoch {metrics[names.TOTAL_EPOCHS]:.0f}")
    if state.state != "failed" and names.QUALITY in metrics:
        parts.append(f"{metrics[names.QUALITY]:.3g}")
    if state.seconds is not None:
        parts.append(f"{state.seconds:.0f} s")
    return f"[{STYLES[state.state]}]{' '.join(parts)}[/]"


def print_note(console: Console, note: str) -> None:
    """A remark, where there is one."""
    if note:
        console.print(f"[dim]{note}[/dim]", soft_wrap=True)


def print_reasons(console: Console, states: Sequence[CellState], journal: Any) -> None:
    """What went wrong in the failed cells, and which budget the others used up."""
    from rich.markup import escape

    for state in states:
        if state.state == "over budget":
            console.print(f"  {escape(state.cell.label)}: over budget, {escape(state.error)}", soft_wrap=True)
        elif state.state == "failed":
            console.print(f"  {escape(state.cell.label)}: {escape(state.error)}", soft_wrap=True)
            console.print(f"    [dim]{escape(str(journal.log(state.cell)))}[/dim]", soft_wrap=True)


def counts(states: Sequence[CellState]) -> str:
    """`3 finished, 1 failed, 2 waiting`: every state that occurs."""
    found = {name: sum(s.state == name for s in states) for name in STYLES}
    return ", ".join(f"{n} {name}" for name, n in found.items() if n) or "nothing"
