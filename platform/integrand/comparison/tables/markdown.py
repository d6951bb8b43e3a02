"""A comparison as Markdown."""

from __future__ import annotations

from ..results import Comparison, Part
from .contents import comparison_tables, part_tables
from .table import Table


def markdown(comparison: Comparison) -> str:
    """The whole comparison, with the value of every seed."""
    lines = [f"# {comparison.title}", ""] if comparison.title else []
    for part in comparison.parts:
        lines += _part_lines(comparison, part)
    lines += [] if comparison.parts else ["No finished run to compare.", ""]
    lines += [f"- note: {note}" for note in comparison.notes] + [""]
    for table in comparison_tables(comparison):
        lines += [f"## {table.title}", "", *pipe_table(table), ""]
    return "\n".join(lines).rstrip() + "\n"


def _part_lines(comparison: Comparison, part: Part) -> list[str]:
    """The tables and findings of one data set."""
    first, *others = part_tables(comparison, part)
    lines = [f"## {part.data}", "", *pipe_table(first), ""]
    if found := [row.difference.sentence for row in part.rows if row.difference]:
        lines += [f"- {sentence}" for sentence in found] + [""]
    for table in others:
        lines += [f"### {table.title}", "", *pipe_table(table), ""]
        if table.key == "sensitivity":
            lines += [f"- {s.sentence}" for s in part.sensitivity] + [""]
    lines += ["### Value of every seed", ""]
    return lines + [f"- {row.label}: {_points(comparison, part, row.label)}" for row in part.rows] + [""]


def pipe_table(table: Table) -> list[str]:
    """The lines of a table, its note below."""
    head = [column.head for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    body = [[cell.text.replace("|", "\\|") for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(line)} |" for line in [head, rule, *body]]
    return [*lines, "", table.note] if table.note else lines


def _points(comparison: Comparison, part: Part, label: str) -> str:
    scale = comparison.metric.scale
    pairs = [(run.seed, comparison.metric.of(run)) for run in part.row(label).group.runs]
    return ", ".join(f"seed {'?' if s is None else s}: {scale * v:.4g}" for s, v in pairs if v is not None)
