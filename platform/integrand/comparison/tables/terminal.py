"""A comparison in the terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from ..measures import COSTS
from ..results import Comparison, Part
from . import contents
from .table import Table

MAX_LISTED = 20
"""Left-out runs and findings shown in the terminal; all of them are in the files."""


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print tables, findings in words, left-out runs and notes; every pair of groups is in the files only."""
    console = console or Console(highlight=False)
    for part in comparison.parts:
        for table in _shown(comparison, part):
            console.print(rich_table(table))
    overall = contents.overall_table(comparison)
    if overall.rows:
        console.print(rich_table(overall))
    if not comparison.parts:
        console.print("[yellow]No finished run to compare.[/yellow]")
    _list(console, "In words:", list(comparison.sentences), "table.md")
    _left_out(comparison, console)
    for note in comparison.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def rich_table(table: Table) -> RenderableType:
    """A table for Rich, preceded by an empty line."""
    shown = RichTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
    for column in table.columns:
        shown.add_column(column.head, justify="right" if column.numeric else "left", overflow="fold")
    for index, row in enumerate(table.rows):
        shown.add_row(*(cell.text for cell in row), style="bold" if index == table.emphasis else "")
    return Group("", shown)


def _shown(comparison: Comparison, part: Part) -> list[Table]:
    metric = comparison.metric
    found = [
        contents.quality_table(metric, part),
        contents.cost_table(part, [cost for cost in COSTS if cost.shown]),
        contents.difference_table(metric, part),
        contents.reach_table(metric, part),
        contents.sensitivity_table(metric, part),
    ]
    return [table for table in found if table.rows]


def _left_out(comparison: Comparison, console: Console) -> None:
    """The runs in no mean; missing ones too."""
    table = contents.left_out_table(comparison)
    if not table.rows:
        console.print(Text("\nEvery run is in the table.", style="dim"))
        return
    lines = []
    for label, seed, run, why in ([cell.text for cell in row] for row in table.rows):
        lines.append(f"{label}, seed {seed}{f' ({run})' if run else ''}: {why}")
    _list(console, f"In no mean ({len(lines)}):", lines, "runs.csv")


def _list(console: Console, title: str, lines: list[str], file: str) -> None:
    if not lines:
        return
    console.print(Text(f"\n{title}", style="bold"))
    for line in lines[:MAX_LISTED]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if len(lines) > MAX_LISTED:
        console.print(f"  … and {len(lines) - MAX_LISTED} more, all of them in {file}")
