"""The cache folder: where it is, how it is locked, and how files get into it whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
from filelock import FileLock

from integrand.errors import DataError

from ..formats import npz

_MOVE = "set INTEGRAND_CACHE to a writable folder with enough room"


def cache_folder() -> Path:
    """`$INTEGRAND_CACHE/data`, else `integrand/data` in the user's cache folder (XDG)."""
    if root := os.environ.get("INTEGRAND_CACHE"):
        return Path(root).expanduser() / "data"
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "integrand" / "data"
    try:
        return Path.home() / ".cache" / "integrand" / "data"
    except RuntimeError as error:  # a container user without an entry in passwd
        raise DataError("there is no home directory for the cache", _MOVE) from error


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into a line that says what to do.

    Raises:
        DataError: The disk is full or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"no room left while writing {what}", f"free some space, or {_MOVE}") from error
        if (
            isinstance(error, PermissionError | NotADirectoryError | FileExistsError)
            or error.errno == errno.EROFS
        ):
            raise DataError(f"{what} cannot be written: {error.strerror}", _MOVE) from error
        raise


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold the cache's lock for one data set; yields a scratch folder that disappears afterwards.

    The lock belongs to the operating system, so that a killed process leaves none behind.

    Args:
        name: Name of the data set.
    """
    folder = cache_folder()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{name}.lock")
        lock.acquire()
    try:
        for left_over in folder.glob(f".{name}-*.tmp"):  # of a process that was killed while it held the lock
            shutil.rmtree(left_over, ignore_errors=True)
        with writing(folder):
            scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=".tmp", dir=folder))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        lock.release()


def store(path: Path, scratch: Path, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write one npz under another name, then rename it: `path` is never seen half written.

    Raises:
        DataError: The disk is full or the folder cannot be written.
    """
    part = scratch / path.name
    with writing(path):
        with part.open("wb") as file:
            npz.write(file, arrays, meta)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
