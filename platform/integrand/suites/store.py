"""What the tracking store knows about the cells of a suite."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from integrand.errors import TrackingError
from integrand.tracking import names, process
from integrand.tracking.store import open_store
from integrand.tracking.uris import redact, resolve_uri, sqlite_path

_PAGE = 1000


@dataclass(frozen=True)
class StoredCell:
    """The run of a cell that counts.

    Args:
        state: `finished`; `running` while a process of this machine works on it; else `failed`.
        run_id: MLflow run id.
        seconds: How long it took, None while it runs.
        error: What ended it, empty where nothing is known.
    """

    state: str
    run_id: str
    seconds: float | None
    error: str


def stored_cells(suite: str, tracking_uri: str | None = None, create: bool = False) -> dict[str, StoredCell]:
    """The recorded runs of a suite by run key: a finished one wins over a running one over the latest failed.

    Args:
        suite: Name of the suite and of its MLflow experiment.
        tracking_uri: The store; None takes the default.
        create: Make the store if there is none, so that parallel runs find one.

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
        runs = [] if experiment is None else list(_search(client, experiment.experiment_id))
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"cannot read {redact(uri)}: {reason}", "integrand doctor checks the store"
        ) from error
    return choose(runs)


def choose(runs: Iterable[Any]) -> dict[str, StoredCell]:
    """The run that counts for every run key, from MLflow runs in any order."""
    order = {"failed": 0, "running": 1, "finished": 2}
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
    seconds = (info.end_time - info.start_time) / 1000 if info.end_time and info.start_time else None
    if info.status == "FINISHED":
        return StoredCell("finished", info.run_id, seconds, "")
    if (
        info.status == "RUNNING"
        and tags.get(names.PROCESS_HOST) == process.host()
        and not process.is_dead(tags)
    ):
        return StoredCell("running", info.run_id, None, "")
    # RUNNING without a living process was killed before it could say so
    status = "died" if info.status == "RUNNING" else info.status.lower()
    message = tags.get(names.ERROR_MESSAGE, "").strip()
    return StoredCell("failed", info.run_id, seconds, f"{status}: {message}" if message else status)


def _search(client: Any, experiment_id: str) -> Iterable[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
