"""Marks runs as KILLED whose process died without a word, so that none stays RUNNING for ever."""

from __future__ import annotations

import time
from typing import Any

from ..store import names
from .process import host, is_dead

DIED = {
    names.STATUS: "killed",
    names.ERROR_TYPE: "ProcessDied",
    names.ERROR_MESSAGE: "the process ended without a word (SIGKILL or out of memory)",
}
"""Tags of a run whose process vanished."""


def reap(client: Any, experiment_ids: list[str], *, keep: str = "") -> list[str]:
    """Set every RUNNING run of a dead process of this host to KILLED.

    Args:
        client: An `MlflowClient`.
        experiment_ids: Where to look.
        keep: A run id to leave alone: the caller's own.

    Returns:
        Ids of the runs that were marked.
    """
    runs = client.search_runs(
        experiment_ids,
        filter_string=f"attributes.status = 'RUNNING' and tags.`{names.PROCESS_HOST}` = '{host()}'",
        max_results=1000,
    )
    reaped = []
    for run in runs:
        if run.info.run_id == keep or not is_dead(run.data.tags):
            continue
        # once more, fresh: the run may have ended properly since the search
        if client.get_run(run.info.run_id).info.status != "RUNNING":
            continue
        for key, value in DIED.items():
            client.set_tag(run.info.run_id, key, value)
        client.set_terminated(run.info.run_id, "KILLED", int(time.time() * 1000))
        reaped.append(run.info.run_id)
    return reaped
