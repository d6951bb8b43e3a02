"""`integrand doctor`: look at everything a run depends on and say what to do about each problem."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import checks
from .checks import Finding
from .parser import Parser

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def findings(verify: bool) -> Iterator[Finding]:
    """Every check in order, each as its own finding even where it breaks.

    Args:
        verify: Whether data sets on disk are read and their digests compared.
    """
    from integrand.datamodules.doctor import cache_dir, check_data

    from ..tracking.spool.folders import runs_root

    folders = {
        "runs folder": runs_root(),
        "artifacts": Path("mlartifacts").absolute(),
        "data cache": cache_dir(),
    }
    yield from _guarded("versions", checks.check_versions())
    yield from _guarded("devices", checks.check_devices())
    yield from _guarded("disk", checks.check_disk(folders))
    yield from _guarded("tracking store", checks.check_store())
    yield from _guarded("data", (Finding(*row) for row in check_data(verify)))


def _guarded(name: str, results: Iterator[Finding]) -> Iterator[Finding]:
    """A check that breaks is a finding too: a doctor who faints helps nobody."""
    try:
        yield from results
    except Exception as error:
        yield Finding(
            name, "fail", f"the check itself failed: {type(error).__name__}: {error}", "report this"
        )


def run(argv: list[str]) -> int:
    """Print a table of findings, or with `--json` a list of objects.

    Returns:
        0 when nothing failed, else 1.
    """
    parser = Parser(prog="integrand doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "--no-verify", action="store_true", help="do not read data sets to check their digests"
    )
    args = parser.parse_args(argv)
    console = Console()
    if args.json:
        found = list(findings(not args.no_verify))
        print(json.dumps([asdict(f) for f in found], indent=1))
    else:
        with console.status("looking at versions, devices, disk, tracking store and data sets …"):
            found = list(findings(not args.no_verify))
        table = Table(title="integrand doctor")
        for column in ("what", "state", "found", "what to do"):
            table.add_column(column, overflow="fold")
        for f in found:
            table.add_row(f.name, _MARKS[f.state], f.detail, f.remedy)
        console.print(table)
    return int(any(f.state == "fail" for f in found))
