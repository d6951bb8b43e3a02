"""Sends what dead servers and killed processes left in spools."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from ...errors import TrackingError
from ..processes.reaper import DIED
from ..store.opening import open_store
from ..store.uris import HIDDEN, local_path, redact, resolve_uri, sqlite_path
from . import folders, operations
from .delivery import Delivery
from .reader import ASIDE, SpoolReader
from .spool import lock_of


@dataclass
class SyncResult:
    """What became of one spool.

    Args:
        run_id: Its run.
        state: `sent`, `running` (its process lives and sends by itself), `refused`, `failed`, or `damaged`:
            sent but for what could not be read, which `detail` says where to find.
        operations: How many operations were sent.
        detail: What went wrong, if anything.
        killed: Whether the run was found dead and given its end: KILLED, unless the caller chose another.
    """

    run_id: str
    state: str
    operations: int = 0
    detail: str = ""
    killed: bool = False


def sync(root: Path | None = None, *, client: Any = None) -> list[SyncResult]:
    """Send every spool under `root` whose process has ended; safe to repeat, and beside running trainings.

    Args:
        root: Folder of spools; None for the default.
        client: Use this client for all; by default each spool's own store is opened.
    """
    root = root or folders.spool_root()
    if not root.is_dir():
        return []
    spools = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and folder.suffix != ASIDE]
    return [sync_run(folder, client) for folder in spools]


def sync_run(
    folder: Path, client: Any = None, epitaph: dict[str, str] = DIED, status: str = "KILLED"
) -> SyncResult:
    """Send one spool, and end its run if its process has died.

    Args:
        folder: The spool.
        client: The client; None opens the spool's own store.
        epitaph: Tags of a run whose process died.
        status: Its final status.
    """
    result = SyncResult(folder.name, "sent")
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        result.state = "running"
        return result
    try:
        reader = SpoolReader(folder)
        client, artifact_dir = _store_of(reader, client)
        delivery = Delivery(client, folder.name, artifact_dir, folder)
        _send_all(reader, delivery, result)
        if client.get_run(folder.name).info.status == "RUNNING":
            # nobody holds the lock, so nobody is writing: the process died
            delivery.send([operations.tags(epitaph), operations.status(status, _last_write(folder))])
            result.killed = True
        _conclude(reader, delivery, result)
    except TrackingError as error:
        result.state, result.detail = "failed", str(error)
    except Exception as error:
        # one broken spool must not keep the others from being sent
        result.state, result.detail = "failed", (str(error).strip().splitlines() or [repr(error)])[0][:200]
    finally:
        lock.release()
    return result


def _store_of(reader: SpoolReader, client: Any) -> tuple[Any, Path | None]:
    """The client of the spool's store and the folder of the run's artifacts.

    Where the spool no longer says which store it is for, that is the default one if it knows the run.
    """
    run_id = reader.directory.name
    try:
        meta = reader.meta
    except TrackingError as damage:
        uri = resolve_uri()
        path = sqlite_path(uri)
        try:
            if client is None and path is not None and not path.exists():
                raise FileNotFoundError(path)
            client = client or open_store(uri)
            return client, local_path(client.get_run(run_id).info.artifact_uri)
        except Exception as error:
            raise TrackingError(
                f"{damage.message}, and {redact(uri)} does not know its run",
                "set MLFLOW_TRACKING_URI to the store that does, and sync again",
            ) from error
    artifact_dir = Path(meta["artifact_dir"]) if meta.get("artifact_dir") else None
    return client or open_store(_with_password(meta["tracking_uri"])), artifact_dir


def _with_password(uri: str) -> str:
    """The store's URI, whose password a spool does not keep."""
    if HIDDEN not in uri:
        return uri
    mine = resolve_uri()
    if redact(mine) != uri:
        raise TrackingError(
            f"the spool is for {uri}, whose password is not kept",
            "set MLFLOW_TRACKING_URI to the store with its password, and sync again",
        )
    return mine


def _conclude(reader: SpoolReader, delivery: Delivery, result: SyncResult) -> None:
    """Remove the spool, unless the store has refused some of it; keep what could not be read."""
    reader.finish()
    if reader.set_aside:
        result.state = "damaged"
        result.detail = f"{reader.set_aside} damaged records set aside in {reader.aside}"
    if delivery.refused:
        result.state, result.detail = (
            "refused",
            "; ".join([*delivery.refused[:3], result.detail]).rstrip("; "),
        )
        (reader.directory / "refused.txt").write_text("\n".join(delivery.refused), encoding="utf-8")
    else:
        shutil.rmtree(reader.directory, ignore_errors=True)


def _send_all(reader: SpoolReader, delivery: Delivery, result: SyncResult) -> None:
    while True:
        found, end = reader.read()
        if end == reader.offset:
            break
        delivery.send(found)
        reader.mark_sent(end)
        result.operations += len(found)


def _last_write(folder: Path) -> float:
    """Time of the last sign of life of a dead run."""
    path = folder / "points.jsonl"
    return (path if path.exists() else folder).stat().st_mtime
