"""Reads what a spool holds, whatever has been damaged in it."""

from __future__ import annotations

import os
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import TrackingError
from .frames import unframe
from .meta import read_meta
from .operations import Operation

_OFFSET_DIGITS = 20
ASIDE = ".damaged"
"""Ending of the folder beside a spool that holds what could not be read of it."""


class SpoolReader:
    """Reads operations that have not been sent, and remembers how far the store has them.

    Args:
        directory: The spool folder.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "points.jsonl"
        self._sent_path = directory / "sent"
        self._damaged: list[bytes] = []
        self.set_aside = 0
        """How many damaged pieces have been set aside."""
        self.offset = self._noted()

    @property
    def meta(self) -> dict[str, Any]:
        """The content of `meta.json`.

        Raises:
            TrackingError: The file is missing or damaged.
        """
        try:
            return read_meta(self.directory)
        except (OSError, ValueError, RecursionError) as error:
            raise TrackingError(
                f"the spool {self.directory} has no readable meta.json",
                "delete the folder if its run is not needed",
            ) from error

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait to be sent."""
        return max(0, self._size() - self.offset)

    def read(self, max_bytes: int = 1 << 20) -> tuple[list[Operation], int]:
        """The next whole operations and the offset behind them; a line without its end stays for later.

        Damaged lines are set aside by the next `mark_sent`.
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
        found = unframe(data[:end])
        self._damaged = found.damaged
        return found.operations, self.offset + end

    def mark_sent(self, offset: int) -> None:
        """Note that the store has everything before `offset`, and set aside what was damaged before it."""
        damaged, self._damaged = self._damaged, []
        self.put_aside(damaged)
        self.offset = offset
        # on a full disk the note is missing: a later process sends again, which doubles nothing
        with suppress(OSError):
            fd = os.open(self._sent_path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                # fixed width and one call: a reader never sees half a number
                os.pwrite(fd, _note(offset), 0)
            finally:
                os.close(fd)

    @property
    def aside(self) -> Path:
        """The folder beside the spool that damaged pieces go to; made when there are some."""
        return self.directory.with_name(self.directory.name + ASIDE)

    def put_aside(self, pieces: list[bytes]) -> None:
        """Keep damaged pieces, each on a line of `records.txt` in `aside`, and each once."""
        if not pieces:
            return
        self.set_aside += len(pieces)
        self.aside.mkdir(exist_ok=True)
        path = self.aside / "records.txt"
        known = set(path.read_bytes().splitlines()) if path.exists() else set()
        fresh = [piece for piece in pieces if piece not in known]
        with path.open("ab") as file:
            file.writelines(piece + b"\n" for piece in fresh)

    def finish(self) -> None:
        """To be called when all that can be read has been sent: set aside what never will be.

        That is a last line without an end, and the files of artifacts whose record was damaged.
        """
        if self.pending_bytes:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                self.put_aside([file.read().replace(b"\n", b" ")])
        files = self.directory / "files"
        if self.set_aside and files.is_dir() and any(path.is_file() for path in files.rglob("*")):
            self.aside.mkdir(exist_ok=True)
            shutil.copytree(files, self.aside / "files", symlinks=True, dirs_exist_ok=True)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _noted(self) -> int:
        """How far the store has everything: 0, so that all is sent again, where the note cannot be true."""
        try:
            note = self._sent_path.read_bytes()
            offset = int(note[:_OFFSET_DIGITS])
        except (OSError, ValueError):
            return 0
        if note != _note(offset):
            return 0  # damaged, or of an earlier version
        if offset > (size := self._size()):
            self.put_aside([b"the file ends at byte %d, but had been sent to byte %d" % (size, offset)])
            return 0
        return offset


def spooled_content(directory: Path, path: str) -> Path | None:
    """The content of an artifact that waits in a spool, the newest of that path; None where there is none."""
    reader = SpoolReader(directory)
    reader.offset, found = 0, None
    while True:
        records, end = reader.read()
        if end == reader.offset:
            break
        for record in records:
            if record["op"] == "artifact" and record["path"] == path:
                found = directory.joinpath("files", *Path(record["source"]).parts[-2:])
        reader.offset = end
    return found if found is not None and found.is_file() else None


def _note(offset: int) -> bytes:
    digits = b"%0*d" % (_OFFSET_DIGITS, offset)
    return b"%b %08x\n" % (digits, zlib.crc32(digits))
