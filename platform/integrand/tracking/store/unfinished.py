"""Which recorded run of a suite's cell can be gone on with."""

from __future__ import annotations

import os
from typing import Any

from ...errors import AlreadyRunning
from ..processes import process
from . import names


def unfinished_run(client: Any, experiment: str, run_key: str) -> Any | None:
    """The newest run with this key that was interrupted, None where there is none.

    Interrupted are a run that a signal ended, one whose process vanished, and one that ended because its
    budget was used up (whoever starts it again has given it a larger one). A failed run is none: it would
    fail again. Neither is a run on which a process works, except the first of the processes to which the
    caller itself belongs. Where an engine vouches that nobody else works on the key (`process.ALONE`), every
    RUNNING run is one whose process vanished.

    Args:
        client: An `MlflowClient`.
        experiment: Name of the experiment.
        run_key: Digest that identifies the cell.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs(
        [found.experiment_id],
        filter_string=f"tags.{names.RUN_KEY} = '{run_key}'",
        order_by=["attributes.start_time DESC"],
        max_results=100,
    )
    return next((run for run in runs if is_resumable(run.info.status, run.data.tags, _started(run))), None)


def refuse_second_writer(client: Any, experiment: str, run_key: str, mine: Any | None = None) -> None:
    """Is another process, on any host, already at the key of which a run is to begin, or done with it?

    For the first process of a run only: to the others that one is no stranger. A finished run refuses only a
    cell of a suite: whoever started that had looked before the other one ended.

    Args:
        client: An `MlflowClient`.
        experiment: Name of the experiment.
        run_key: Digest that identifies the cell.
        mine: The run that this process has just created: of two that begin together the older one stays.

    Raises:
        AlreadyRunning: One is; `mine` is then deleted.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return
    condition = f"tags.{names.RUN_KEY} = '{run_key}'"
    for run in client.search_runs([found.experiment_id], condition, max_results=100):
        if (mine is not None and _age(run) >= _age(mine)) or not (reason := _occupied(run)):
            continue
        if mine is not None:
            client.delete_run(mine.info.run_id)
        raise AlreadyRunning(f"{reason[0]}, run {run.info.run_id[:8]} of {experiment}", reason[1])


def _occupied(run: Any) -> tuple[str, str] | None:
    """Why no further run of this one's key may begin, and what to do; None where one may."""
    tags, status = run.data.tags, run.info.status
    if status == "RUNNING" and not os.environ.get(process.ALONE) and process.is_at_work(tags, _started(run)):
        return "another process works on this cell", "wait for it, or end it"
    if status == "FINISHED" and tags.get(names.SUITE) and not is_resumable(status, tags):
        return "another process has just finished this cell", "nothing is left to do"
    return None


def _age(run: Any) -> tuple[int, str]:
    return run.info.start_time or 0, run.info.run_id


def _started(run: Any) -> float:
    return (run.info.start_time or 0) / 1000


def is_resumable(status: str, tags: dict[str, str], started: float | None = None) -> bool:
    """Whether a run with this MLflow status and these tags was interrupted.

    Args:
        status: RUNNING, FINISHED, FAILED or KILLED.
        tags: Its tags.
        started: When it was started, in seconds since the epoch.
    """
    stopped_by = tags.get(names.STOPPED_BY, "")
    if status == "KILLED":
        return stopped_by != "pruner"
    if status == "FINISHED":
        return stopped_by in ("time", "nfe")
    if status != "RUNNING":
        return False
    return bool(os.environ.get(process.ALONE)) or _is_ours(tags) or not process.is_at_work(tags, started)


def _is_ours(tags: dict[str, str]) -> bool:
    """Whether the first of the processes to which this one belongs works on the run.

    It is this one's parent where Lightning started it, and in the same job where SLURM or torchrun did.
    """
    job = process.job()
    if job and tags.get(names.PROCESS_JOB) == job:
        return True
    mine = tags.get(names.PROCESS_HOST) == process.host()
    return mine and tags.get(names.PROCESS_ID) == str(os.getppid())
