"""The operations that a spool holds, one constructor each, so that writer and reader agree on the keys."""

from __future__ import annotations

import time
from pathlib import Path

from .spool import Operation


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
    """A file to be stored as artifact `path`; `move` says that the source belongs to the spool."""
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
