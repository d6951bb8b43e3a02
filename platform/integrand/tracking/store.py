"""Opens the tracking store: quickly, safely for several processes at once, with an error that helps."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import TrackingError
from .uris import is_database, is_http, redact, resolve_uri, sqlite_path

CONNECT_SECONDS = 5.0
# The sender and `integrand sync` retry by themselves; MLflow's own retries would block for minutes at exit.
_REQUEST_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
# creating a database takes seconds on an idle machine and queues behind other creators
_LOCK_SECONDS = 180.0


def mlflow_client(uri: str) -> Any:
    """An `MlflowClient` on `uri`; the import is here so that it costs only those who connect."""
    quiet_mlflow()
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def quiet_mlflow() -> None:
    """Telemetry off unless the user has decided, before MLflow is imported; short requests likewise."""
    if "MLFLOW_DISABLE_TELEMETRY" not in os.environ and "DO_NOT_TRACK" not in os.environ:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in _REQUEST_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import logging

    # "Creating initial MLflow database tables" and forty alembic lines per fresh store
    for logger in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)


def open_store(uri: str | None = None) -> Any:
    """An `MlflowClient` on a store that answers.

    A sqlite file is opened under a file lock: MLflow creates its tables on the first connection, and
    processes that do so together leave a database that no longer opens. It is put into write-ahead mode, in
    which readers and writers do not block each other.

    Raises:
        TrackingError: The store does not answer within seconds, refuses, or is of another version.
    """
    uri = resolve_uri(uri)
    problem = _unreachable(uri)
    if problem is not None:
        raise problem
    path = sqlite_path(uri)
    try:
        if path is None:
            return mlflow_client(uri)
        with store_lock(path):
            client = mlflow_client(uri)
            with closing(sqlite3.connect(path, timeout=20)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            return client
    except TrackingError:
        raise
    except Exception as error:
        raise _explained(uri, error) from error


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
    location = None if is_http(uri) else f"{artifact_dir.absolute()}/{name}"
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
        raise _explained(uri, error) from error
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
    problem = _unreachable(uri)
    if problem is None:
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            return None
        try:
            open_store(uri).search_experiments(max_results=1)
        except TrackingError as error:
            problem = error
        except Exception as error:
            problem = _explained(uri, error)
    return None if problem is None else str(problem)


def _unreachable(uri: str) -> TrackingError | None:
    """The error if nothing useful answers at `uri` within seconds."""
    if (path := sqlite_path(uri)) is not None:
        return _sqlite_problem(path)
    if is_http(uri):
        return _http_problem(uri)
    if is_database(uri):
        return _database_problem(uri)
    if uri.startswith("file:") or "://" not in uri:
        return TrackingError(
            f"MLflow no longer writes runs into a folder ({uri})",
            "use sqlite:///mlflow.db; `mlflow migrate-filestore` carries old runs over",
        )
    return None


def _sqlite_problem(path: Path) -> TrackingError | None:
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return TrackingError(
            f"cannot create the tracking database {path}: {folder} is not a folder", "choose another path"
        )
    target = path if path.exists() else folder
    if not os.access(target, os.W_OK):
        return TrackingError(
            f"the tracking store {path} cannot be written ({target} is read-only)",
            "set MLFLOW_TRACKING_URI=sqlite:////a/writable/path/mlflow.db",
        )
    return None


def _http_problem(uri: str) -> TrackingError | None:
    quiet_mlflow()
    import requests

    auth = None
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        auth = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token and not auth else {}
    verify: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or (
        os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() != "true"
    )
    where = redact(uri)
    try:
        response = requests.get(
            f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search",
            params={"max_results": "1"},
            auth=auth,
            headers=headers,
            verify=verify,
            timeout=CONNECT_SECONDS,
        )
    except requests.RequestException as error:
        return TrackingError(
            f"the tracking server {where} does not answer ({_reason(error)})",
            "start it, correct MLFLOW_TRACKING_URI, or unset it to record into sqlite:///mlflow.db",
        )
    if response.ok:
        return None
    if response.status_code == 401:
        return TrackingError(
            f"the tracking server {where} refuses the user name or password",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if response.status_code == 403:
        return TrackingError(
            f"the tracking server {where} forbids access ({response.text.strip()[:80]})",
            "ask for permission, or start the server with --allowed-hosts naming this host",
        )
    return TrackingError(
        f"{where} answers {response.status_code}, not as an MLflow tracking server",
        "correct MLFLOW_TRACKING_URI",
    )


def _database_problem(uri: str) -> TrackingError | None:
    import sqlalchemy

    try:
        key = "timeout" if uri.startswith("mssql") else "connect_timeout"
        engine = sqlalchemy.create_engine(uri, connect_args={key: int(CONNECT_SECONDS)})
        with engine.connect():
            pass
        engine.dispose()
    except ImportError as error:
        return TrackingError(f"no driver for {redact(uri)}: {error}", f"pip install {_driver(uri)}")
    except Exception as error:
        return TrackingError(
            f"the tracking database {redact(uri)} does not answer ({_reason(error)})",
            "start it, or correct MLFLOW_TRACKING_URI",
        )
    return None


def _driver(uri: str) -> str:
    return "psycopg2-binary" if uri.startswith("postgresql") else "a driver that SQLAlchemy names"


def _explained(uri: str, error: BaseException) -> TrackingError:
    where = redact(uri)
    if isinstance(error, Timeout):
        return TrackingError(
            f"another process has held the lock of {where} for {_LOCK_SECONDS:.0f} s",
            "see whether it hangs, and end it",
        )
    text = str(error)
    if "out-of-date database schema" in text:
        return TrackingError(
            f"the tracking database {where} was made by another version of MLflow",
            f"back it up, then: mlflow db upgrade {where}",
        )
    if "not a database" in text:
        return TrackingError(f"{where} is not a database", "choose another path in MLFLOW_TRACKING_URI")
    return TrackingError(
        f"the tracking store {where} cannot be used ({_reason(error)})", "see `integrand doctor`"
    )


def _reason(error: BaseException) -> str:
    text = str(error)
    for known in (
        "Connection refused", "Name or service not known", "Temporary failure in name resolution",
        "No route to host", "timed out", "certificate verify failed", "password authentication failed",
        "does not exist", "database is locked",
    ):  # fmt: skip
        if known in text:
            return known.lower()
    return ((text.strip().splitlines() or [""])[0] or type(error).__name__)[:160]
