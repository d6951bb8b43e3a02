"""The operations that a spool holds, one constructor each, so that writer and reader agree on the keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

Operation = dict[str, Any]

_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
_INT64 = 2**63


def metrics(values: dict[str, float], step: int, seconds: float) -> Operation:
    """Metric points of one step, taken at `seconds` since the epoch."""
    return {"op": "metrics", "v": values, "s": step, "t": int(seconds * 1000)}


def params(values: dict[str, str]) -> Operation:
    """Parameters of the run; MLflow refuses to change one later."""
    return {"op": "params", "v": values}


def tags(values: dict[str, str]) -> Operation:
    """Tags of the run; the last value wins."""
    return {"op": "tags", "v": values}


def untag(keys: list[str]) -> Operation:
    """Tags that no longer hold."""
    return {"op": "untag", "v": keys}


def name(run_name: str) -> Operation:
    """A new name of the run."""
    return {"op": "name", "v": run_name}


def status(value: str, seconds: float | None = None) -> Operation:
    """RUNNING, FINISHED, FAILED or KILLED, with the time of the change (now if None)."""
    return {"op": "status", "v": value, "t": int((seconds or time.time()) * 1000)}


def artifact(path: str, source: Path, *, move: bool) -> Operation:
    """A file to be stored as artifact `path`.

    `move` says that the source belongs to the spool, where its last folder and its name find it again.
    """
    return {"op": "artifact", "path": path, "source": str(source), "move": move}


def dataset(name: str, digest: str, source: str, profile: str, context: str) -> Operation:
    """A data set that the run used; `context` is `train`, `val` or `test`."""
    return {
        "op": "dataset",
        "name": name,
        "digest": digest,
        "source": source,
        "profile": profile,
        "context": context,
    }


def is_sound(operation: Any) -> bool:
    """Whether this is an operation that can be sent; one of an unknown kind may come from a newer version."""
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        return False
    return all(key in operation and fits(operation[key]) for key, fits in _FIELDS.get(operation["op"], _ANY))


def is_inside(path: Any) -> bool:
    """Whether an artifact path stays within its run."""
    if not _is_text(path) or "\\" in path or "\0" in path:
        return False
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts


def _is_text(value: Any) -> bool:
    # what is half of a character cannot be sent
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _are_points(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(key) and (isinstance(x, float) or _is_int(x)) for key, x in value.items()
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(key) and _is_text(x) for key, x in value.items())


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(x) for x in value)


def _names_a_file(value: Any) -> bool:
    return _is_text(value) and "\0" not in value and Path(value).name not in ("", "..")


_Fields = tuple[tuple[str, Callable[[Any], bool]], ...]
_ANY: _Fields = ()
_FIELDS: dict[str, _Fields] = {
    "metrics": (("v", _are_points), ("s", _is_int), ("t", _is_int)),
    "params": (("v", _are_texts),),
    "tags": (("v", _are_texts),),
    "untag": (("v", _are_names),),
    "name": (("v", _is_text),),
    "status": (("v", lambda value: value in _STATUSES), ("t", _is_int)),
    "artifact": (
        ("path", is_inside),
        ("source", _names_a_file),
        ("move", lambda value: isinstance(value, bool)),
    ),
    "dataset": tuple((key, _is_text) for key in ("name", "digest", "source", "profile", "context")),
}
