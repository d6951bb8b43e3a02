"""A table as data, and as Markdown, LaTeX or a terminal's; what stands in it is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        head: Its heading.
        numeric: Whether it is set flush right and sorts by number.
        title: What the heading means, for a legend or a tooltip.
    """

    head: str
    numeric: bool = True
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: As people read it.
        value: What it sorts by, unscaled; None where there is nothing to sort by.
    """

    text: str
    value: float | str | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        key: Identifier such as `quality`, unique within a part.
        title: What it shows.
        columns: The columns.
        rows: Cells by row, as many as columns.
        note: Methods, units and legend, in words.
        emphasis: Index of the row of the reference; None where there is none.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    emphasis: int | None = None
