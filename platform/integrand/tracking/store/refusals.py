"""Why a tracking store cannot be used, found out within seconds, and what to do about it."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import Timeout

from ...errors import TrackingError
from .answers import CONNECT_SECONDS, ask, is_mlflow
from .uris import is_database, is_http, local_path, redact, sqlite_path

LOCK_SECONDS = 10.0
"""How long a sqlite store may be locked: a write takes milliseconds."""


def unreachable(uri: str) -> TrackingError | None:
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


def held_by_another(path: Path) -> TrackingError | None:
    """The error if a process keeps the lock of a sqlite store for longer than any write takes."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return TrackingError(
                f"another process holds the lock of the tracking database {path}",
                f"end it (fuser {path} names it), or record elsewhere: MLFLOW_TRACKING_URI",
            )
    except sqlite3.Error:
        return None  # something else is wrong, which MLflow will say
    return None


def _http_problem(uri: str) -> TrackingError | None:
    where = redact(uri)
    try:
        status, text = ask(uri)
    except OSError as error:  # every error of requests is one
        return TrackingError(
            f"the tracking server {where} does not answer ({_reason(error)})",
            "start it, correct MLFLOW_TRACKING_URI, or unset it to record into sqlite:///mlflow.db",
        )
    if status < 400 and is_mlflow(text):
        return None
    if status == 401:
        return TrackingError(
            f"the tracking server {where} refuses the user name or password",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if status == 403:
        return TrackingError(
            f"the tracking server {where} forbids access ({text.strip()[:80]})",
            "ask for permission, or start the server with --allowed-hosts naming this host",
        )
    return TrackingError(
        f"{where} answers {status}, not as an MLflow tracking server", "correct MLFLOW_TRACKING_URI"
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


def explained(uri: str, error: BaseException) -> TrackingError:
    """`error`, raised by a store that could be reached, in words that help."""
    where = redact(uri)
    if isinstance(error, Timeout):
        return TrackingError(
            f"another process has held the lock of {where} for minutes",
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
    if "disk is full" in text:
        return TrackingError(f"no space left on the disk of the tracking store {where}", "make room there")
    return TrackingError(
        f"the tracking store {where} cannot be used ({_reason(error)})", "see `integrand doctor`"
    )


def checked_run(uri: str, info: Any) -> Path | None:
    """The local folder of a run's artifacts, None where they are elsewhere; what a store says is not trusted.

    A run's id names folders here, and a server may name any folder of this machine: only one that MLflow
    itself would make for this run is written to.

    Raises:
        TrackingError: The id or the folder could be no run's.
    """
    if not re.fullmatch(r"[\w-]{1,64}", str(info.run_id)):
        raise TrackingError(
            f"{redact(uri)} names a run {info.run_id!r}, which is no id", "use another server"
        )
    folder = local_path(info.artifact_uri)
    if folder is None or not is_http(uri):
        return folder
    if folder.parts[-2:] != (info.run_id, "artifacts") or ".." in folder.parts:
        raise TrackingError(
            f"{redact(uri)} wants artifacts written to {folder}, which is no folder of the run",
            "let the server store them: mlflow server --serve-artifacts",
        )
    return folder


def forbidden(what: str, uri: str, error: BaseException) -> TrackingError | None:
    """The error if a server with accounts has answered 403 to somebody who wanted to write; else None."""
    if "error code 403" not in str(error):
        return None
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or "this account"
    return TrackingError(
        f"{user} may not write to {what} of {redact(uri)}",
        "ask its owner for the permission EDIT, or choose another: --trainer.logger.experiment NAME",
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
