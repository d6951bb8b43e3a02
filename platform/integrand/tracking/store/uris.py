"""Which tracking store is meant, and how to name it without its password."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

DEFAULT_URI = "sqlite:///mlflow.db"


def resolve_uri(uri: str | None = None) -> str:
    """The store's URI: as given, else `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory.

    A relative sqlite path becomes absolute, so that a later change of directory cannot start a second store.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = sqlite_path(uri)
    if path is not None and not path.is_absolute():
        return f"sqlite:///{path.absolute()}"
    return uri


def sqlite_path(uri: str) -> Path | None:
    """The database file of a sqlite URI, None for any other kind."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///")).split("?")[0])


def is_http(uri: str) -> bool:
    """Whether the store is a tracking server."""
    return uri.startswith(("http://", "https://"))


def is_database(uri: str) -> bool:
    """Whether the store is a database server that this process talks to itself."""
    return urlsplit(uri).scheme.split("+")[0] in ("postgresql", "mysql", "mssql")


def redact(uri: str) -> str:
    """`uri` without user name and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rsplit("@", 1)[1]))


def local_path(artifact_uri: str) -> Path | None:
    """The folder of an artifact URI if it lies on this machine's file system, else None."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme == "":
        return Path(artifact_uri)
    return None
