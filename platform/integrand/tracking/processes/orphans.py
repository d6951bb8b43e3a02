"""A run whose first process is lost: it alone wrote to the run, so another one has to end it."""

from __future__ import annotations

import logging
import time
from typing import Any

from ..spool import folders, operations
from ..spool.delivery import Delivery
from ..spool.sync import sync_run
from ..store import names
from ..store.opening import open_store
from ..store.uris import sqlite_path
from .lost import LostProcessError
from .process import host, is_dead

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds in which a first process that lives ends its run itself."""


def end_orphan(run_id: str, tracking_uri: str, *, wait: bool = True) -> bool:
    """End a run FAILED if it is still RUNNING and its first process is gone, and send what that had spooled.

    On this host it is known for certain whether that process lives. Of one on another host it is concluded
    from its silence; should it live after all, it gives its run an end of its own.

    Args:
        run_id: The run.
        tracking_uri: Its store.
        wait: Give a first process that may live `PATIENCE`; else only one that is certainly dead counts.

    Returns:
        Whether the run was ended here. Trouble with the store is logged, nothing more.
    """
    path = sqlite_path(tracking_uri)
    if path is not None and not path.exists():
        return False  # the file of another machine
    try:
        return _end(open_store(tracking_uri), run_id, PATIENCE if wait else 0.0)
    except Exception as error:
        log.warning("tracking: run %s, whose first process is lost, cannot be ended (%s)", run_id, error)
        return False


def _end(client: Any, run_id: str, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        run = client.get_run(run_id)
        if run.info.status != "RUNNING":
            return False
        if is_dead(run.data.tags):
            break
        if time.monotonic() >= deadline:
            if not patience or run.data.tags.get(names.PROCESS_HOST) == host():
                return False  # it lives
            break
        time.sleep(0.5)
    error = LostProcessError("the first process of this fit was lost")
    tags = {
        names.STATUS: "failed",
        names.ERROR_TYPE: type(error).__name__,
        names.ERROR_MESSAGE: error.message,
    }
    folder = folders.spool_dir(run_id)
    if folder.is_dir() and sync_run(folder, client, tags, "FAILED").killed:
        return True
    Delivery(client, run_id, None).send([operations.tags(tags), operations.status("FAILED")])
    return True
