"""Which tracking store is meant, and how to name it without its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

DEFAULT_URI = "sqlite:///mlflow.db"
HIDDEN = "***"
_SECRET = re.compile(r"pass|pwd|secret|token|api_?key|credential", re.IGNORECASE)
_SPECIAL = re.compile(r"[%?#]")
"""What means something else in a URI than in the name of a folder."""


def resolve_uri(uri: str | None = None) -> str:
    """The store's URI: as given, else `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory.

    A relative sqlite path becomes absolute, so that a later change of directory cannot start a second store.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = sqlite_path(uri)
    if path is not None and not path.is_absolute():
        return sqlite_uri(path.absolute())
    return uri


def sqlite_uri(path: Path) -> str:
    """The URI of a database file, whatever characters the names of its folders have."""
    raw = f"sqlite:///{path}"
    quoted = f"sqlite:///{_SPECIAL.sub(lambda found: quote(found[0]), str(path))}"
    # SQLAlchemy takes %xx as characters from 2.1 on
    return quoted if raw == quoted or _database(quoted) == str(path) else raw


def sqlite_path(uri: str) -> Path | None:
    """The database file of a sqlite URI, None for any other kind."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(_database(uri) if "%" in uri else uri.removeprefix("sqlite:///").split("?")[0])


def _database(uri: str) -> str:
    from sqlalchemy import make_url

    return make_url(uri).database or ""


def file_identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another that took its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_http(uri: str) -> bool:
    """Whether the store is a tracking server."""
    return uri.startswith(("http://", "https://"))


def is_database(uri: str) -> bool:
    """Whether the store is a database server that this process talks to itself."""
    return urlsplit(uri).scheme.split("+")[0] in ("postgresql", "mysql", "mssql")


def redact(uri: str) -> str:
    """`uri` without user name and password, also where they are parameters of a query."""
    parts = urlsplit(uri)
    if "@" in parts.netloc:
        parts = parts._replace(netloc=f"{HIDDEN}@{parts.netloc.rsplit('@', 1)[1]}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(_SECRET.search(key) for key, _ in query):
        hidden = [(key, HIDDEN if _SECRET.search(key) else value) for key, value in query]
        parts = parts._replace(query=urlencode(hidden, safe="*/:"))
    found = urlunsplit(parts)
    return found if HIDDEN in found else uri  # what has no secret stays as it was written


def artifact_location(folder: Path, experiment: str) -> str:
    """Where artifacts of an experiment go: below `folder` whatever the experiment is called."""
    path = folder.absolute().joinpath(*map(_folder_name, experiment.split("/")))
    return path.as_uri() if _SPECIAL.search(str(path)) else str(path)


def _folder_name(part: str) -> str:
    return "_" if part.strip() in ("", ".", "..") else re.sub(r"[%?#\\\x00-\x1f\x7f]", "_", part)


def local_path(artifact_uri: str) -> Path | None:
    """The folder of an artifact URI if it lies on this machine's file system, else None."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme == "":
        return Path(artifact_uri)
    return None
