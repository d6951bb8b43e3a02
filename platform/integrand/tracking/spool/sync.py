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
from . import folders, operations
from .delivery import Delivery
from .spool import SpoolReader, lock_of


@dataclass
class SyncResult:
    """What became of one spool.

    Args:
        run_id: Its run.
        state: `sent`, `running` (its process lives and sends by itself), `refused` or `failed`.
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
    return [sync_run(folder, client) for folder in sorted(root.iterdir()) if folder.is_dir()]


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
        meta = reader.meta
        client = client or open_store(meta["tracking_uri"])
        artifact_dir = Path(meta["artifact_dir"]) if meta.get("artifact_dir") else None
        delivery = Delivery(client, meta["run_id"], artifact_dir)
        _send_all(reader, delivery, result)
        if client.get_run(meta["run_id"]).info.status == "RUNNING":
            # nobody holds the lock, so nobody is writing: the process died
            delivery.send([operations.tags(epitaph), operations.status(status, _last_write(folder))])
            result.killed = True
        if delivery.refused:
            result.state, result.detail = "refused", "; ".join(delivery.refused[:3])
            (folder / "refused.txt").write_text("\n".join(delivery.refused), encoding="utf-8")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    except TrackingError as error:
        result.state, result.detail = "failed", str(error)
    except Exception as error:
        # one broken spool must not keep the others from being sent
        result.state, result.detail = "failed", (str(error).strip().splitlines() or [repr(error)])[0][:200]
    finally:
        lock.release()
    return result


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
