"""What the runs ran on: one line per aspect, and how many runs share a value where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from integrand.comparison.tables.table import Cell, Column, Table
from integrand.record import RunRecord

from .wording import plural

_SHOWN = 6
"""Different values of one aspect that are listed."""

Read = Callable[[dict[str, Any]], str]


def environment(runs: Sequence[RunRecord]) -> Table:
    """The environment of the runs as aspect, value and number of runs."""
    rows = []
    for name, read in _aspects(runs):
        values = Counter(value for run in runs if (value := read(run.provenance)))
        for value, count in values.most_common(_SHOWN):
            rows.append((Cell(name, name), Cell(value, value), Cell(f"{count:,}", count)))
        if len(values) > _SHOWN:
            rest = sum(values.values()) - sum(count for _, count in values.most_common(_SHOWN))
            rows.append(
                (Cell(name, name), Cell(f"{len(values) - _SHOWN} other values"), Cell(f"{rest:,}", rest))
            )
    silent = sum(not run.provenance for run in runs)
    note = f"{plural(silent, 'run')} recorded no provenance." if silent else ""
    columns = (Column("what", False), Column("value", False), Column("runs"))
    return Table("environment", "Environment", columns, tuple(rows), note)


def commits(runs: Sequence[RunRecord]) -> list[tuple[str, bool]]:
    """The commits of the code, the most frequent first, and whether the work tree differed."""
    found = Counter(
        (str(run.provenance["git_commit"]), bool(run.provenance.get("git_dirty")))
        for run in runs
        if run.provenance.get("git_commit")
    )
    return [commit for commit, _ in found.most_common()]


def _aspects(runs: Sequence[RunRecord]) -> list[tuple[str, Read]]:
    libraries = sorted({str(k) for run in runs for k in (run.provenance.get("versions") or {})})
    return [
        ("Integrand", _text("integrand")),
        ("commit", _commit),
        *((name, _version(name)) for name in libraries),
        ("device", _device),
        ("system", _text("system")),
        ("threads", lambda p: str((p.get("device") or {}).get("threads") or "")),
        ("precision", _text("precision")),
        ("processes", _text("world_size")),
        ("determinism", _determinism),
        ("lock file", lambda p: _short(str(p.get("lock_digest") or ""))),
        ("installed packages", lambda p: _short(str(p.get("environment_digest") or ""))),
    ]


def _text(name: str) -> Read:
    return lambda p: str(p.get(name) or "")


def _commit(p: dict[str, Any]) -> str:
    commit = str(p.get("git_commit") or "")
    return f"{commit[:12]}{' with uncommitted changes' if p.get('git_dirty') else ''}" if commit else ""


def _version(name: str) -> Read:
    return lambda p: str((p.get("versions") or {}).get(name) or "")


def _device(p: dict[str, Any]) -> str:
    device = p.get("device")
    if not isinstance(device, dict):
        return ""
    cores = f", {plural(int(device['cores']), 'core')}" if device.get("cores") else ""
    return f"{device.get('name') or device.get('type') or ''}{cores}"


def _determinism(p: dict[str, Any]) -> str:
    found = p.get("determinism") or {}
    on = [str(k).replace("_", " ") for k, v in found.items() if v is True]
    return ", ".join(on) or ("off" if found else "")


def _short(digest: str) -> str:
    kind, _, value = digest.rpartition(":")
    return f"{kind}:{value[:12]}".strip(":") if value else ""
