"""What holds for every reader: one kind of error, and no more memory than a published file can need."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

AGAIN = "delete it and fetch it again"
LARGEST = 1 << 30
"""Bytes of one file without its compression; the largest of a known set, EMNIST by class, has half of it."""

Arrays = dict[str, npt.NDArray[Any]]
Member = Callable[[str], bytes]
_GZIP = 31  # zlib's window bits for a gzip file


def guarded(read: Callable[[Member], Arrays]) -> Callable[[Member], Arrays]:
    """A reader whose every failure is a `DataError` that names the file: damage can fail in any way."""

    def reading(member: Member) -> Arrays:
        name, unreadable = "a file", None

        def asked(wanted: str) -> bytes:
            nonlocal name, unreadable
            name = wanted
            try:
                return member(wanted)
            except OSError as error:
                unreadable = error
                raise

        try:
            return read(asked)
        except Exception as error:
            if isinstance(error, DataError) or error is unreadable:
                raise  # what the operating system says, the caller tells with the path
            raise damaged(name, error) from error

    return reading


def damaged(name: str, error: BaseException) -> DataError:
    """The error for bytes that are not what was published."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return DataError(f"{name} is damaged or not the published file: {first}", AGAIN)


def gunzip(data: bytes, where: str) -> bytes:
    """The content of a gzip file, at most `LARGEST` bytes.

    Raises:
        DataError: It is damaged, cut short, or would unfold to more.
    """
    whole = bytearray()
    try:
        while data:
            part = zlib.decompressobj(_GZIP)
            whole += part.decompress(data, LARGEST + 1 - len(whole))
            if len(whole) > LARGEST:
                raise DataError(
                    f"{where} would unfold to more than {LARGEST} bytes", "do not trust this file"
                )
            if not part.eof:
                raise EOFError("it ends too early")
            data = part.unused_data.lstrip(b"\0")  # several may follow each other, and padding
    except (zlib.error, EOFError) as error:
        raise damaged(where, error) from error
    return bytes(whole)


def unxz(data: bytes, where: str) -> bytes:
    """The content of an xz file, at most `LARGEST` bytes.

    Raises:
        DataError: It is damaged, cut short, or would unfold to more.
    """
    try:
        part = lzma.LZMADecompressor(memlimit=LARGEST)
        whole = part.decompress(data, LARGEST + 1)
        if len(whole) > LARGEST:
            raise DataError(f"{where} unfolds to more than {LARGEST} bytes", "do not trust this file")
        if not part.eof:
            raise EOFError("it ends too early")
    except (lzma.LZMAError, EOFError) as error:
        raise damaged(where, error) from error
    return whole


def as_bytes(values: Any, where: str, largest: int = 255) -> npt.NDArray[np.uint8]:
    """Whole numbers of 0 to `largest` as bytes; a cast alone would wrap what is larger.

    Raises:
        DataError: They are no such numbers.
    """
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "iuf" or (
        numbers.size
        and not (np.min(numbers) >= 0 and np.max(numbers) <= largest and np.all(numbers == np.floor(numbers)))
    ):
        raise DataError(f"{where} holds other values than whole numbers of 0 to {largest}", AGAIN)
    return numbers.astype(np.uint8)
