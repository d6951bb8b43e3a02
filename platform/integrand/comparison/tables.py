"""A comparison as text: Rich tables for the terminal, the same as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import formatting
from .analysis import ALPHA
from .groups import LeftOut
from .quantities import COSTS
from .results import Comparison, Part, Row

MARKS = {"tie": "≈", "better": "▲", "worse": "▼", "untested": "?"}
LEGEND = f"★ reference, ≈ tie: not told apart from it (p ≥ {ALPHA:g}), ▼ worse, ▲ better, ? too few seeds"
MAX_LISTED = 20
"""Left-out runs shown in the terminal; all of them are in runs.csv and table.md."""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print tables, left-out runs and notes."""
    for part in comparison.parts:
        console.print(_main_table(comparison, part))
        if len(part.rows) > 1:
            console.print(_difference_table(comparison, part))
    if comparison.parts:
        console.print(f"[dim]{LEGEND}[/dim]", highlight=False)
    else:
        console.print("[yellow]No finished run to compare.[/yellow]")
    console.print(_left_out(comparison.left_out))
    for note in comparison.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def markdown(comparison: Comparison) -> str:
    """The whole comparison as Markdown, with the value of every seed."""
    wanted = "smaller" if comparison.metric.mode == "min" else "larger"
    lines = [f"# {comparison.title}", ""] if comparison.title else []
    for part in comparison.parts:
        lines += [f"## {part.data}", "", f"{_method(part)}; {wanted} is better.", ""]
        lines += _pipe(_main_head(comparison), [_main_cells(comparison, part, row) for row in part.rows])
        if len(part.rows) > 1:
            lines += ["", f"Differences to {_reference(part)}, paired by seed:", ""]
            compared = [row for row in part.rows if row.difference]
            lines += _pipe(
                _difference_head(comparison), [_difference_cells(comparison, row) for row in compared]
            )
        lines += ["", "Value of every seed:", ""]
        lines += [f"- {row.label}: {_points(comparison, row)}" for row in part.rows] + [""]
    lines += [LEGEND, ""] if comparison.parts else ["No finished run to compare.", ""]
    lines += [f"- note: {note}" for note in comparison.notes]
    if comparison.left_out:
        lines += ["", "## Runs that are in no mean", ""]
        lines += _pipe(
            ("group", "seed", "run", "why"), [_left_out_cells(item) for item in comparison.left_out]
        )
    return "\n".join(lines).rstrip() + "\n"


def _main_table(comparison: Comparison, part: Part) -> RenderableType:
    table = Table(title=str(part.data), caption=_method(part), title_justify="left", caption_justify="left")
    for index, head in enumerate(_main_head(comparison)):
        table.add_column(head, justify="left" if index == 0 else "right", overflow="fold")
    for row in part.rows:
        table.add_row(
            *_main_cells(comparison, part, row), style="bold" if row.label == part.reference else ""
        )
    return table


def _main_head(comparison: Comparison) -> tuple[str, ...]:
    return ("group", "n", comparison.metric.label, *(cost.label for cost in COSTS))


def _main_cells(comparison: Comparison, part: Part, row: Row) -> tuple[str, ...]:
    mark = "★" if row.difference is None else MARKS[row.difference.verdict]
    value = formatting.quality(row.quality, comparison.metric.scale)
    return (
        row.label,
        str(row.quality.n),
        f"{value} {mark}",
        *(formatting.cost(k, v) for k, v in row.costs.items()),
    )


def _difference_table(comparison: Comparison, part: Part) -> RenderableType:
    table = Table(title=f"difference to {_reference(part)}, paired by seed", title_justify="left")
    for index, head in enumerate(_difference_head(comparison)):
        table.add_column(head, justify="left" if index in (0, 5) else "right")
    for row in part.rows:
        if row.difference:
            table.add_row(*_difference_cells(comparison, row))
    return Group("", table)


def _difference_head(comparison: Comparison) -> tuple[str, ...]:
    unit = "Δ points" if comparison.metric.percent else "Δ"
    return ("group", "seeds", f"{unit} ± 95 % CI", "p, paired t (Holm)", "p, exact sign flip (Holm)", "")


def _difference_cells(comparison: Comparison, row: Row) -> tuple[str, ...]:
    found = row.difference
    if found is None or found.paired is None:
        return (row.label, "0", *[formatting.MISSING] * 3, "no common seed")
    flip = formatting.p_value(found.p_flip)
    return (
        row.label,
        str(found.paired.estimate.n),
        formatting.difference(found.paired.estimate, comparison.metric.scale),
        formatting.p_value(found.p_t),
        flip if found.paired.exact else f"{flip} (Monte Carlo)",
        f"{MARKS[found.verdict]} {found.verdict}",
    )


def _left_out(items: Sequence[LeftOut]) -> RenderableType:
    """The runs in no mean; missing ones too."""
    if not items:
        return Text("Every run is in the table.", style="dim")
    lines = [Text(f"In no mean ({len(items)}):", style="bold")]
    for item in items[:MAX_LISTED]:
        label, seed, run, why = _left_out_cells(item)
        lines.append(Text(f"  {label}, seed {seed}{f' ({run})' if run else ''}: {why}", overflow="fold"))
    if len(items) > MAX_LISTED:
        lines.append(Text(f"  … and {len(items) - MAX_LISTED} more, all of them in runs.csv"))
    return Group("", *lines)


def _left_out_cells(item: LeftOut) -> tuple[str, ...]:
    seed = "?" if item.seed is None else str(item.seed)
    run = "" if item.run is None else item.run.run_name or item.run.run_id
    return (item.label, seed, run, item.reason)


def _reference(part: Part) -> str:
    return part.reference if part.chosen else f"{part.reference} (the best mean)"


def _method(part: Part) -> str:
    methods = sorted({row.quality.method for row in part.rows}, reverse=True)
    interval = f"mean ± half width of the confidence interval ({'; '.join(methods)})"
    return f"{interval}; costs are means, NFE and VJPs per training batch"


def _points(comparison: Comparison, row: Row) -> str:
    scale = comparison.metric.scale
    pairs = [(run.seed, comparison.metric.of(run)) for run in row.group.runs]
    return ", ".join(f"seed {'?' if s is None else s}: {scale * v:.4g}" for s, v in pairs if v is not None)


def _pipe(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in [list(head), ["---"] * len(head), *cells]]
