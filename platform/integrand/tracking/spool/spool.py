"""The spool: every operation of a run goes to a local append-only file first, and from there to the store.

Layout of one spool folder:

    meta.json       which store and run it belongs to
    points.jsonl    one operation per line, in order
    sent            byte offset up to which the store has everything
    files/          contents of artifacts that have not been delivered
    lock            held (flock) by the process that writes, released by the kernel whatever kills it

A line holds its own timestamps, so sending it twice stores it once: a metric point is identified in MLflow by
(run, name, timestamp, step, value). That makes the replay after a crash safe.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import TrackingError

Operation = dict[str, Any]

_OFFSET_DIGITS = 20


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
            (directory / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
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
        line = json.dumps(operation, separators=(",", ":")).encode() + b"\n"
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
        found = list(_operations(torn + b"".join(self._unwritten)))
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


class SpoolReader:
    """Reads operations that have not been sent, and remembers how far the store has them.

    Args:
        directory: The spool folder.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "points.jsonl"
        self._sent_path = directory / "sent"
        try:
            self.offset = int(self._sent_path.read_bytes())
        except (FileNotFoundError, ValueError):
            self.offset = 0

    @property
    def meta(self) -> dict[str, Any]:
        """The content of `meta.json`.

        Raises:
            TrackingError: The file is missing or broken.
        """
        try:
            values = json.loads((self.directory / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrackingError(
                f"the spool {self.directory} has no readable meta.json",
                "delete the folder if its run is not needed",
            ) from error
        return dict(values)

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait to be sent."""
        try:
            return max(0, self._path.stat().st_size - self.offset)
        except FileNotFoundError:
            return 0

    def read(self, max_bytes: int = 1 << 20) -> tuple[list[Operation], int]:
        """The next whole operations and the offset behind them; a line without its end stays for later.

        Lines that are not JSON (torn by a power loss) are skipped.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(max_bytes)
                while b"\n" not in data and (more := file.read(max_bytes)):
                    data += more
        except FileNotFoundError:
            return [], self.offset
        end = data.rfind(b"\n") + 1
        return list(_operations(data[:end])), self.offset + end

    def mark_sent(self, offset: int) -> None:
        """Note that the store has everything before `offset`."""
        self.offset = offset
        # on a full disk the note is missing: a later process sends again, which doubles nothing
        with suppress(OSError):
            fd = os.open(self._sent_path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                # fixed width and one call: a reader never sees half a number
                os.pwrite(fd, b"%0*d" % (_OFFSET_DIGITS, offset), 0)
            finally:
                os.close(fd)


def lock_of(directory: Path) -> FileLock:
    """The lock that the writing process of a spool holds."""
    return FileLock(directory / "lock", thread_local=False)


def _operations(data: bytes) -> Iterator[Operation]:
    for line in data.splitlines():
        try:
            operation = json.loads(line)
        except ValueError:
            continue
        if isinstance(operation, dict):
            yield operation
