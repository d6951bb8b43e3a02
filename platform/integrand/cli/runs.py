"""`integrand runs`: the recorded runs, newest first or sorted by any quantity."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..quantities import find
from ..suggest import did_you_mean
from .parser import Parser
from .suite_tables import make_console

if TYPE_CHECKING:
    from ..record import RunRecord

LETTERS = 6
"""Of a run id; `--run` takes them."""


def run(argv: list[str]) -> int:
    """Print a table of runs, or a list of objects.

    Raises:
        UsageError: There is no such experiment or quantity, or no run.
        TrackingError: The store cannot be read.
    """
    from ..comparison.records.store import load_mlflow

    args = _parser().parse_args(argv)
    records = load_mlflow(args.experiment, filter_string=args.filter, tracking_uri=args.tracking_uri)
    records.sort(key=lambda r: r.started, reverse=True)
    if args.sort:
        records = sorted_by(records, args.sort)
    shown = records if args.all else records[: args.limit]
    rows = [row(record, args.sort) for record in shown]
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    make_console().print(_table(rows, args.sort))
    if len(shown) < len(records):
        print(f"{len(records) - len(shown)} more: --all, or --limit N")
    return 0


def _parser() -> Parser:
    parser = Parser(prog="integrand runs", description=__doc__)
    parser.add_argument("--experiment", metavar="NAME", help="only this experiment or suite")
    parser.add_argument(
        "--sort",
        metavar="QUANTITY",
        help="best first: val/acc, best/val_mse, solver/nfe_forward, fit_seconds",
    )
    parser.add_argument("--filter", default="", metavar="EXPR", help="MLflow search expression")
    parser.add_argument("--limit", type=int, default=20, help="runs shown (default 20)")
    parser.add_argument("--all", action="store_true", help="show every run")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    return parser


def value_of(record: RunRecord, quantity: str) -> float | None:
    """A quantity of a run: a metric by its name, `val/acc` at its best epoch, or a cost; None without it."""
    values = {**record.cost, **record.metrics}
    names = [f"best/{quantity.replace('/', '_', 1)}"] if quantity.startswith("val/") else []
    value = next((values[name] for name in [*names, quantity] if name in values), None)
    return None if value is None or math.isnan(value) else value


def sorted_by(records: list[RunRecord], quantity: str) -> list[RunRecord]:
    """Runs with the best first and those without the quantity last.

    Raises:
        UsageError: No run has it.
    """
    valued = [(value_of(record, quantity), record) for record in records]
    have = [(value, record) for value, record in valued if value is not None]
    if not have:
        known = sorted({name for record in records for name in {**record.metrics, **record.cost}})
        raise UsageError(
            f"no run records {quantity!r}{did_you_mean(quantity, known)}",
            "integrand runs --json lists what each has",
        )
    declared = find(quantity)
    larger = declared is not None and declared.direction == "larger"
    have.sort(key=lambda pair: -pair[0] if larger else pair[0])
    return [record for _, record in have] + [record for value, record in valued if value is None]


def row(record: RunRecord, sort: str | None = None) -> dict[str, Any]:
    """A run as plain values."""
    headline = record.monitor.get("name", "")
    best = value_of(record, headline) if headline else None
    return {
        "run": record.run_id[:LETTERS],
        "name": record.run_name,
        "status": record.status,
        "experiment": record.experiment,
        "headline": headline,
        "best": best,
        "nfe_forward": record.metrics.get("solver/nfe_forward"),
        "seconds": record.cost.get("fit_seconds"),
        "started": datetime.fromtimestamp(record.started).isoformat(" ", "minutes"),
        "run_id": record.run_id,
        **({sort: value_of(record, sort)} if sort else {}),
    }


def _table(rows: list[dict[str, Any]], sort: str | None) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    extra = [sort] if sort and any(r["headline"] != sort for r in rows) else []
    for name in ("run", "name", "status", "best"):
        table.add_column(name, no_wrap=name == "run")
    for name in (*extra, "NFE", "s"):
        table.add_column(name, justify="right")
    table.add_column("started", no_wrap=True)
    for r in rows:
        best = "" if r["best"] is None else f"{r['headline']} {spelled(r['headline'], r['best'])}"
        values = [spelled(name, r[name]) for name in extra]
        cost = [spelled("", r["nfe_forward"]), spelled("", r["seconds"])]
        table.add_row(r["run"], r["name"], r["status"], best, *values, *cost, r["started"])
    return table


def spelled(name: str, value: float | None) -> str:
    """A value as people read it, a share as per cent; empty where there is none."""
    if value is None:
        return ""
    quantity = find(name) if name else None
    return f"{100 * value:.4g} %" if quantity is not None and quantity.percent else f"{value:.4g}"
