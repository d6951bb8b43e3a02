"""`integrand families`: what networks there are and what they declare."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from ..errors import UsageError
from ..suggest import did_you_mean
from .parser import Parser


def listing() -> list[dict[str, Any]]:
    """Every registered family as plain values, ordered by group and name."""
    from integrand.modules import families

    return [
        {
            "name": family.family,
            "class": family.__name__,
            "title": family.title,
            "group": family.group,
            "task": family.task,
            "properties": family.properties(),
            "equation": family.equation,
            "reference": family.reference,
        }
        for family in families()
    ]


def run(argv: list[str]) -> int:
    """List the families as a table, or with `--json` as a list of objects.

    Raises:
        UsageError: `--group` names a group that no family has.
    """
    parser = Parser(prog="integrand families", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--group", help="only families of this group")
    args = parser.parse_args(argv)
    rows = listing()
    if args.group:
        groups = {row["group"] for row in rows}
        if args.group not in groups:
            raise UsageError(
                f"no families in group {args.group!r}{did_you_mean(args.group, groups)}",
                f"groups: {', '.join(sorted(groups))}",
            )
        rows = [row for row in rows if row["group"] == args.group]
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    table = Table(
        title="Families", caption="use a class as --model CLASS; --model.help CLASS lists its options"
    )
    for column in ("name", "class", "group", "task", "declares", "equation", "reference"):
        table.add_column(column, overflow="fold")
    for row in rows:
        declares = ", ".join(name for name, value in row["properties"].items() if value)
        table.add_row(
            *(row[k] for k in ("name", "class", "group", "task")), declares, row["equation"], row["reference"]
        )
    Console().print(table)
    return 0
