"""Files over https: several mirrors, resume, digest, atomic rename. Standard library only."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from integrand.errors import DataError
from integrand.version import __version__

from .cache import writing
from .progress import Report, silent

TIMEOUT = 10.0  # seconds to connect, and between two reads
_BLOCK = 1 << 18

Digest = Callable[[Path], str]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    urls: list[str], path: Path, sha256: str, digest: Digest = file_sha256, report: Report = silent
) -> str:
    """Fetch one file from the first mirror that delivers the right content.

    A part left by an earlier try is continued where the server allows it. A page of HTML in place of the
    file, a truncated transfer and a wrong version all fail on the digest, and the next mirror is tried.

    Args:
        urls: The same file at several mirrors.
        path: Where it goes; appears only when complete and checked.
        sha256: Expected digest; empty where none is known, and whoever reads the file has to judge it.
        digest: How the digest is taken.
        report: Called with step, bytes so far and bytes in all.

    Returns:
        The address that delivered it.

    Raises:
        DataError: No mirror delivered the file, with the reason for each.
    """
    part = path.with_name(f"{path.name}.part")
    failures: list[str] = []
    for url in urls:
        # a second try from the start, in case the part came from a mirror that compresses differently
        for resume in (True, False) if part.exists() else (False,):
            try:
                _transfer(url, part, resume, report)
                if _same(part, digest, sha256):
                    with writing(path):
                        part.replace(path)
                    return url
                failures.append(f"{url}: wrong content (sha256)")
                part.unlink()
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
                break
    raise DataError(
        f"{path.name} could not be downloaded: " + "; ".join(failures),
        "check the connection, or fetch it another way",
    )


def _same(part: Path, digest: Digest, sha256: str) -> bool:
    try:
        return not sha256 or digest(part) == sha256
    except (EOFError, OSError, ValueError):  # gunzip of something that is no gzip
        return False


def _transfer(url: str, part: Path, resume: bool, report: Report) -> None:
    """Stream `url` into `part`, appending where the server honours the range."""
    have = part.stat().st_size if resume and part.exists() else 0
    headers = {"User-Agent": f"integrand/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing beyond what we have: let the digest decide
            return
        raise
    with response:
        done = have if response.status == 206 else 0
        length = int(response.headers.get("Content-Length") or 0)
        total = done + length
        step = f"{part.stem} from {url.split('/')[2]}"
        with writing(part), part.open("ab" if done else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                report(step, done, total)
        if length and done < total:
            raise ConnectionError(f"stopped after {done} of {total} bytes")
