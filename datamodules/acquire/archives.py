"""Reading members of wheels, npm tarballs and Debian packages without unpacking or running anything."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from integrand.errors import DataError

_LARGEST = 1 << 30  # no member of a known set comes near; a bomb would go past it
_AR_MAGIC = b"!<arch>\n"


def read_members(path: Path, prefix: str, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of the named members, without their folder.

    Args:
        path: Archive: zip (also wheel), tar in any compression, or a Debian package.
        prefix: Folder of the members inside the archive.
        names: Wanted file names; each may be stored as `name` or `name.gz`.

    Raises:
        DataError: The archive is truncated or damaged, or lacks a member.
    """
    wanted = {_plain(f"{prefix}/{name}{end}"): name for name in names for end in ("", ".gz")}
    try:
        with path.open("rb") as file:
            magic = file.read(8)
            file.seek(0)
            if magic[:4] == b"PK\x03\x04":
                found = _from_zip(file, wanted)
            elif magic == _AR_MAGIC:
                found = _from_tar(_deb_payload(file), wanted)
            else:
                found = _from_tar(file, wanted)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    except Exception as error:  # damaged bytes can fail in any way
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{path.name} is truncated or no archive: {first}", "fetch it again") from error
    missing = sorted(set(wanted.values()) - found.keys())
    if missing:
        raise DataError(
            f"{path.name} lacks {', '.join(missing)} in {prefix or '/'}", "another version? fetch it again"
        )
    return found


def _plain(name: str) -> str:
    """A member's name without leading `./` and `/`."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _checked(name: str, size: int) -> None:
    if size > _LARGEST:
        raise DataError(f"member {name} would take {size} bytes", "do not trust this archive")


def _from_zip(file: IO[bytes], wanted: dict[str, str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if _plain(info.filename) in wanted:
                _checked(info.filename, info.file_size)
                found[wanted[_plain(info.filename)]] = archive.read(info)
    return found


def _from_tar(file: IO[bytes], wanted: dict[str, str]) -> dict[str, bytes]:
    """One pass in stream order, because going back in a compressed tar decompresses it again."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=_Bounded(_unpacked(file)), mode="r|") as archive:
        for info in archive:
            if info.isreg() and _plain(info.name) in wanted:
                _checked(info.name, info.size)
                member = archive.extractfile(info)
                assert member is not None  # isreg() above
                found[wanted[_plain(info.name)]] = member.read()
    return found


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """A tar without its compression."""
    magic = file.read(6)
    file.seek(-len(magic), io.SEEK_CUR)
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if magic[:3] == b"BZh":
        return cast(IO[bytes], bz2.BZ2File(file))
    return cast(IO[bytes], lzma.LZMAFile(file)) if magic == b"\xfd7zXZ\0" else file


class _Bounded(io.RawIOBase):
    """A stream that ends with an error where a bomb would go on: also what is skipped has to be unpacked.

    Args:
        stream: The stream.
        left: Bytes that may be read from it.
    """

    def __init__(self, stream: IO[bytes], left: int = 4 * _LARGEST) -> None:
        self._stream, self._left = stream, left

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            DataError: They are too many.
        """
        if size < 0 or size > self._left:
            raise DataError("the archive would unfold to gigabytes", "do not trust this archive")
        data = self._stream.read(size)
        self._left -= len(data)
        return data


def _deb_payload(file: IO[bytes]) -> IO[bytes]:
    """The `data.tar.*` inside a Debian package, an ar archive of three members."""
    file.seek(len(_AR_MAGIC))
    while len(head := file.read(60)) == 60:
        name, size = head[:16].decode("ascii").strip().rstrip("/"), int(head[48:58])
        if not 0 <= size <= _LARGEST:
            raise DataError(f"member {name} would take {size} bytes", "do not trust this archive")
        if name.startswith("data.tar"):
            body = file.read(size)
            if len(body) != size:
                raise EOFError(f"{name} stops after {len(body)} of {size} bytes")
            return io.BytesIO(body)
        file.seek(size + size % 2, io.SEEK_CUR)
    raise EOFError("no data.tar in it")
