"""What the tracking store knows about the cells of a suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from integrand.errors import TrackingError
from integrand.tracking.processes import process
from integrand.tracking.store import names
from integrand.tracking.store.opening import open_store
from integrand.tracking.store.unfinished import is_resumable
from integrand.tracking.store.uris import redact, resolve_uri, sqlite_path

_PAGE = 1000
STATES = ("failed", "interrupted", "pruned", "running", "over budget", "finished")
"""States of recorded runs; where a cell has several runs, the later in this order counts."""


@dataclass(frozen=True)
class StoredCell:
    """The run of a cell that counts.

    Args:
        state: `finished`; `over budget` where that ended it; `running` while a process works on it, here or,
            by its signs of life, on another host; `interrupted` where a signal or a crash ended it, so that
            it can go on; `pruned` by its sweep; else `failed`.
        run_id: MLflow run id.
        seconds: How long it took, None while it runs.
        error: What ended it, empty where nothing is known.
        stopped: `(by, limit)` of a run that its budget ended: `time` or `nfe`, and how much it was.
        cell: What the suite calls the runs that differ only by seed.
        metrics: Its newest values by MLflow's names.
    """

    state: str
    run_id: str
    seconds: float | None
    error: str
    stopped: tuple[str, float] | None = None
    cell: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def stored_cells(
    suite: str, tracking_uri: str | None = None, create: bool = False, key: str = ""
) -> dict[str, StoredCell]:
    """The recorded runs of a suite by run key; of several with one key the one that `choose` takes.

    Args:
        suite: Name of the suite and of its MLflow experiment.
        tracking_uri: The store; None takes the default.
        create: Make the store if there is none, so that parallel runs find one.
        key: Only runs with this key; empty for all.

    Raises:
        TrackingError: The store cannot be used.
    """
    uri = resolve_uri(tracking_uri)
    path = sqlite_path(uri)
    if not create and path is not None and not path.exists():
        return {}
    client = open_store(uri)
    try:
        experiment = client.get_experiment_by_name(suite)
        condition = f"tags.{names.RUN_KEY} = '{key}'" if key else ""
        runs = [] if experiment is None else list(_search(client, experiment.experiment_id, condition))
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"cannot read {redact(uri)}: {reason}", "integrand doctor checks the store"
        ) from error
    return choose(runs)


def choose(runs: Iterable[Any]) -> dict[str, StoredCell]:
    """The run that counts for every run key, from MLflow runs in any order.

    A finished one wins over one that its budget ended, that over a running one, that over an interrupted one,
    that over a failed one; of equals the latest.
    """
    order = {state: i for i, state in enumerate(STATES)}
    chosen: dict[str, StoredCell] = {}
    for run in sorted(runs, key=lambda r: r.info.start_time or 0):
        key = run.data.tags.get(names.RUN_KEY)
        if not key:
            continue
        cell = _cell(run)
        if key not in chosen or order[cell.state] >= order[chosen[key].state]:
            chosen[key] = cell
    return chosen


def _cell(run: Any) -> StoredCell:
    tags, info = run.data.tags, run.info
    metrics = dict(run.data.metrics)
    cell = StoredCell(
        "failed", info.run_id, _seconds(run), "", cell=tags.get(names.CELL, ""), metrics=metrics
    )
    by = tags.get(names.STOPPED_BY, "")
    if info.status == "FINISHED":
        return _finished(cell, tags, by)
    started = (info.start_time or 0) / 1000
    if info.status == "RUNNING" and process.is_at_work(tags, started):
        return replace(cell, state="running", seconds=None)
    # RUNNING without a living process was killed before it could say so
    status = "died" if info.status == "RUNNING" else info.status.lower()
    message = tags.get(names.ERROR_MESSAGE, "").strip()
    if info.status == "KILLED" and by == "pruner":
        return replace(cell, state="pruned", error=tags.get(names.STOP_REASON, ""))
    state = "interrupted" if is_resumable(info.status, tags, started) else "failed"
    return replace(cell, state=state, error=f"{status}: {message}" if message else status)


def _seconds(run: Any) -> float | None:
    """How long a run took; None where it has no end."""
    info = run.info
    seconds: float | None = None
    if info.end_time and info.start_time:
        seconds = (info.end_time - info.start_time) / 1000
    if names.RESUMED in run.data.tags:
        # the time between its processes is not its own
        seconds = run.data.metrics.get("cost/fit_seconds", seconds)
    return seconds


def _finished(cell: StoredCell, tags: Mapping[str, str], by: str) -> StoredCell:
    if by not in ("time", "nfe"):
        return replace(cell, state="finished")
    limit = float(tags.get(names.STOP_LIMIT, "inf"))
    reason = tags.get(names.STOP_REASON, by)
    return replace(cell, state="over budget", error=reason, stopped=(by, limit))


def _search(client: Any, experiment_id: str, condition: str) -> Iterable[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], condition, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
