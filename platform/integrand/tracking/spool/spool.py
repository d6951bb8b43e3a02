"""The spool: every operation of a run goes to a local append-only file first, and from there to the store.

Layout of one spool folder:

    meta.json       which store and run it belongs to, with a checksum
    points.jsonl    one operation per line with length and checksum, in order (`frames`)
    sent            byte offset up to which the store has everything, and its checksum
    files/          contents of artifacts that have not been delivered
    lock            held (flock) by the process that writes, released by the kernel whatever kills it

A line holds its own timestamps, so sending it twice stores it once: a metric point is identified in MLflow by
(run, name, timestamp, step, value). That makes the replay after a crash safe, and that of everything where
the note of what was sent is damaged. A damaged line is set aside in `RUN.damaged/` beside the folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import TrackingError
from .frames import frame, unframe
from .meta import write_meta
from .operations import Operation
from .reader import SpoolReader


class Spool:
    """Appends operations to the spool of one run and holds its lock.

    Args:
        directory: The spool folder; made if missing, continued if present.
        meta: Written to `meta.json`: at least `tracking_uri` and `run_id`.

    Raises:
        TrackingError: Another process writes this run, or the folder cannot be written.
    """

    def __init__(self, directory: Path, meta: dict[str, Any]) -> None:
        self.directory = directory
        self._unwritten: list[bytes] = []
        try:
            (directory / "files").mkdir(parents=True, exist_ok=True)
            self._lock = lock_of(directory)
            self._lock.acquire(timeout=0)
            write_meta(directory, meta)
            self._fd = os.open(directory / "points.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            self._close_torn_line()
        except Timeout as error:
            raise TrackingError(
                f"run {directory.name} is being written by another process",
                "wait for it to end, or leave out run_id to start a new run",
            ) from error
        except OSError as error:
            raise TrackingError(
                f"cannot write the local spool {directory}: {error.strerror or error}",
                "set INTEGRAND_RUNS to a writable folder",
            ) from error
        self.size = os.fstat(self._fd).st_size
        self._files = sum(1 for _ in (directory / "files").iterdir())

    def append(self, operation: Operation) -> None:
        """Write one operation with a single system call, so that it survives the death of this process.

        If the disk refuses, the operation is kept in memory and tried again with the next one.
        """
        line = frame(operation)
        self._unwritten.append(line)
        data = line if len(self._unwritten) == 1 else b"".join(self._unwritten)
        try:
            written = os.write(self._fd, data)
        except OSError:
            return
        self.size += written
        # a full disk may take part of a line; the rest follows with the next call
        self._unwritten = [data[written:]] if written < len(data) else []

    @property
    def behind(self) -> bool:
        """Whether the disk has refused operations that are now only in memory."""
        return bool(self._unwritten)

    @property
    def whole(self) -> int:
        """Bytes up to the end of the last operation that the disk has taken whole."""
        return self.size - len(self._torn())

    def take_unwritten(self) -> list[Operation]:
        """The operations that are only in memory; from now on they are the caller's."""
        torn = self._torn()
        found = unframe(torn + b"".join(self._unwritten)).operations
        os.ftruncate(self._fd, self.size - len(torn))
        self.size -= len(torn)
        self._unwritten = []
        return found

    def _torn(self) -> bytes:
        """The beginning of an operation of which the disk took a part only."""
        if not self._unwritten:
            return b""
        start = max(0, self.size - (1 << 20))
        return os.pread(self._fd, self.size - start, start).rpartition(b"\n")[2]

    def new_file(self, name: str) -> Path:
        """A fresh path under `files/` for the content of an artifact called `name`."""
        self._files += 1
        while True:
            folder = self.directory / "files" / f"{self._files:06d}"
            try:
                folder.mkdir()
                return folder / name
            except FileExistsError:
                self._files += 1

    def close(self) -> None:
        """Close the file, give up the lock, and remove the folder if the store has everything."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        done = not self._unwritten and SpoolReader(self.directory).pending_bytes == 0
        if done:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.release()

    def _close_torn_line(self) -> None:
        """End a line that a full disk or a power loss cut, so that the next one starts clean."""
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")


def lock_of(directory: Path) -> FileLock:
    """The lock that the writing process of a spool holds."""
    return FileLock(directory / "lock", thread_local=False)
