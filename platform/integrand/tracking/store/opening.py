"""Opens the tracking store: quickly, safely for several processes at once, with an error that helps."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...errors import TrackingError
from ...imports import uncollected
from .refusals import explained, held_by_another, unreachable
from .uris import artifact_location, is_http, redact, resolve_uri, sqlite_path, sqlite_uri

# The sender and `integrand sync` retry by themselves; MLflow's own retries would block for minutes at exit.
_REQUEST_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
# Artifacts pass through the server. In front of an S3 store it points clients to that store, and
# MLflow's client then waits a quarter of an hour per file for a store that only the server can reach.
_PROXY_DEFAULTS = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}
# creating a database takes seconds on an idle machine and queues behind other creators
_LOCK_SECONDS = 180.0


def mlflow_client(uri: str) -> Any:
    """An `MlflowClient` on `uri`; the import is here so that it costs only those who connect."""
    quiet_mlflow()
    with uncollected():  # a client imports its store
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=uri)


def quiet_mlflow() -> None:
    """Telemetry off, short requests, artifacts through the server, unless the user has decided otherwise.

    To be called before MLflow is imported.
    """
    if "MLFLOW_DISABLE_TELEMETRY" not in os.environ and "DO_NOT_TRACK" not in os.environ:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in (_REQUEST_DEFAULTS | _PROXY_DEFAULTS).items():
        os.environ.setdefault(name, value)
    import logging

    # forty alembic lines per fresh store; a traceback of its own per try for what the sender tells in a line
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def open_store(uri: str | None = None) -> Any:
    """An `MlflowClient` on a store that answers.

    A sqlite file is opened under a file lock: MLflow creates its tables on the first connection, and
    processes that do so together leave a database that no longer opens. Neither does one whose making was cut
    short, by a full disk or a kill; so it is made under another name. It is put into write-ahead mode, in
    which readers and writers do not block each other.

    Raises:
        TrackingError: The store does not answer within seconds, refuses, or is of another version.
    """
    uri = resolve_uri(uri)
    problem = unreachable(uri)
    if problem is not None:
        raise problem
    path = sqlite_path(uri)
    try:
        if path is None:
            return mlflow_client(uri)
        with store_lock(path):
            if (locked := held_by_another(path)) is not None:
                raise locked
            if not path.exists() or not path.stat().st_size:
                _make(path)
            client = mlflow_client(uri)
            with closing(sqlite3.connect(path, timeout=20)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            return client
    except TrackingError:
        raise
    except Exception as error:
        raise explained(uri, error) from error


def open_existing(uri: str) -> Any:
    """`open_store` for those who only read: a sqlite file that is not there is not made.

    Raises:
        TrackingError: There is no store, or see `open_store`.
    """
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        raise TrackingError(
            f"there is no tracking store {path}",
            "run from the folder that holds it, or name it with --tracking-uri or MLFLOW_TRACKING_URI",
        )
    return open_store(uri)


def _make(path: Path) -> None:
    """Let MLflow make its tables in a file that takes its name when it is whole."""
    for leftover in path.parent.glob(f".{path.name}.*.partial*"):
        leftover.unlink()
    # a name of its own: MLflow keeps connections by name, also to a file that is gone
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        mlflow_client(sqlite_uri(partial))._tracking_client.store.engine.dispose()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def store_lock(path: Path) -> FileLock:
    """The lock round opening a sqlite store and creating experiments in it."""
    return FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS)


def get_or_create_experiment(client: Any, uri: str, name: str, artifact_dir: Path) -> Any:
    """The experiment called `name`.

    Args:
        client: The client of the store.
        uri: The store's URI, resolved.
        name: Name of the experiment.
        artifact_dir: Where artifacts of a new experiment go; a tracking server decides itself.

    Raises:
        TrackingError: The experiment was deleted, or cannot be created.
    """
    path = sqlite_path(uri)
    location = None if is_http(uri) else artifact_location(artifact_dir, name)
    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None and path is not None:
            with store_lock(path):
                experiment = client.get_experiment_by_name(name) or _create(client, name, location)
        elif experiment is None:
            experiment = _create(client, name, location)
    except TrackingError:
        raise
    except Exception as error:
        raise explained(uri, error) from error
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} has been deleted in {redact(uri)}",
            "choose another name, or restore it: mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}",
        )
    return experiment


def _create(client: Any, name: str, location: str | None) -> Any:
    try:
        client.create_experiment(name, artifact_location=location)
    except Exception:
        # another process may have been first
        if (experiment := client.get_experiment_by_name(name)) is None:
            raise
        return experiment
    return client.get_experiment_by_name(name)


def check_store(uri: str | None = None) -> str | None:
    """What is wrong with the tracking store, with its remedy, or None.

    Creates nothing: a sqlite file that is not there yet is fine if its folder can be written.
    """
    uri = resolve_uri(uri)
    problem = unreachable(uri)
    if problem is None:
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            return None
        try:
            open_store(uri).search_experiments(max_results=1)
        except TrackingError as error:
            problem = error
        except Exception as error:
            problem = explained(uri, error)
    return None if problem is None else str(problem)
