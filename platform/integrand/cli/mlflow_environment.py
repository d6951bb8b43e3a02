"""The run and the experiment that MLflow's variables name, as `mlflow run` sets them for what it starts."""

from __future__ import annotations

import os
import sys

from ..errors import TrackingError, UsageError
from ..tracking.store import names
from ..tracking.store.opening import open_store
from ..tracking.store.runs import find_run
from ..tracking.store.uris import redact, resolve_uri
from .line import Line, Word

_RUN, _NAME, _ID = "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"


def take_up(line: Line) -> None:
    """Record into the run or the experiment that the environment names, unless the command line names one.

    Args:
        line: The words after the command; `--run` and `--resume` are still among them.

    Raises:
        UsageError: There is no such run or experiment, or the run has been trained already.
    """
    given = {name: os.environ[name] for name in (_RUN, _NAME, _ID) if os.environ.get(name)}
    if not given:
        return
    if line.has("--run", "--resume") or line.sets("trainer", "logger"):
        print(
            f"{' and '.join(given)} not used: the command says where to record", file=sys.stderr, flush=True
        )
        return
    if _RUN in given:
        run_id = given[_RUN]
        line.words += [
            Word("--trainer.logger.run_id", run_id),
            Word("--trainer.logger.experiment", _experiment_of(run_id)),
        ]
    else:
        name = given.get(_NAME) or _named(given[_ID])
        line.words.append(Word("--trainer.logger.experiment", name))


def _experiment_of(run_id: str) -> str:
    """The experiment of a run in which nothing has been trained yet."""
    try:
        run = find_run(run_id)
    except TrackingError as error:
        raise UsageError(f"{_RUN}: {error.message}", f"unset {_RUN}, or set MLFLOW_TRACKING_URI") from error
    if names.STATUS in run.tags:
        raise UsageError(
            f"{_RUN} names run {run.run_id[:8]}, in which something has been trained",
            f"unset {_RUN} for a new run, or go on with it: integrand fit --resume {run.run_id[:8]}",
        )
    return run.experiment


def _named(experiment_id: str) -> str:
    """The name of an experiment."""
    uri = resolve_uri()
    client = open_store(uri)
    try:
        return str(client.get_experiment(experiment_id).name)
    except Exception as error:
        raise UsageError(
            f"{_ID}: there is no experiment {experiment_id!r} in {redact(uri)}",
            f"unset {_ID}, set {_NAME}, or set MLFLOW_TRACKING_URI",
        ) from error
