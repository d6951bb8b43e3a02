"""Which source code this is, whether or not it lies in a repository."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of `integrand`."""


def source_digest(root: Path = PACKAGE, left_out: Collection[str] = (), more: Iterable[Path] = ()) -> str:
    """Digest of the package's Python files.

    Args:
        root: Its folder.
        left_out: Folders of the package that do not count.
        more: Files that count beside.
    """
    digest = hashlib.sha256()
    files = list(more)
    for folder, subfolders, found in os.walk(root, followlinks=True):
        if Path(folder) == root:
            subfolders[:] = [s for s in subfolders if s not in left_out]
        files += [Path(folder) / name for name in found if name.endswith(".py")]
    for file in sorted(f for f in files if f.is_file()):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
