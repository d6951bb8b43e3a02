"""Whether a run can be there at all, asked of a sqlite store without MLflow, whose import takes seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ...errors import TrackingError
from .uris import redact, resolve_uri, sqlite_path

_BEGINS = ("latest", "best")
_SECONDS = 1.0
_ACTIVE = (
    "FROM runs JOIN experiments USING (experiment_id) "
    "WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'"
)


def check_run(which: str, tracking_uri: str | None = None) -> None:
    """Refuse a run that is certainly not there; everything else is left to `runs.find_run`.

    Args:
        which: Run id, the first letters of one, a run name, `latest` or `best`.
        tracking_uri: Store; None for the default.

    Raises:
        TrackingError: The store is a sqlite file without such a run.
    """
    uri = resolve_uri(tracking_uri)
    path = sqlite_path(uri)
    if path is None or which.partition(":")[0] in _BEGINS:
        return
    try:
        newest = _newest_without(path, which) if path.exists() else []
    except sqlite3.Error:  # another version's tables, or a file that is none: find_run knows what to say
        return
    if newest is not None:
        raise no_such_run(which, redact(uri), newest)


def no_such_run(which: str, where: str, newest: list[tuple[str, str]]) -> TrackingError:
    """What to say of a run that is not there.

    Args:
        which: What the user wrote.
        where: The store, or an experiment in it.
        newest: Ids and names of the newest runs.
    """
    listed = ", ".join(f"{run_id[:8]} ({name})" for run_id, name in newest)
    return TrackingError(f"no run {which!r} in {where}", f"newest runs: {listed or 'none yet'}")


def _newest_without(path: Path, which: str) -> list[tuple[str, str]] | None:
    """Ids and names of the newest runs; None where one of all has this name or an id that begins so."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as connection:
        like = f"{_ACTIVE} AND (instr(runs.run_uuid, ?) = 1 OR runs.name = ?) LIMIT 1"
        if connection.execute(f"SELECT 1 {like}", (which, which)).fetchone():
            return None
        rows = connection.execute(f"SELECT run_uuid, runs.name {_ACTIVE} ORDER BY start_time DESC LIMIT 3")
        return [(str(run_id), str(name)) for run_id, name in rows]
