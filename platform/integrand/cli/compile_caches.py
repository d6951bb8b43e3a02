"""Folders of compiled code in a cache that several users share."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def keep_apart(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take a folder of one's own where that of the cache belongs to another user.

    Compilers make folders that only their user may write, and end with an error in those of another; what
    another user has compiled would be run, too.

    Args:
        environment: The process's variables; changed.
    """
    for name in _VARIABLES:
        folder = Path(environment.get(name) or os.devnull)
        if folder.is_dir() and folder.stat().st_uid != os.getuid():
            environment[name] = f"{folder}-{os.getuid()}"
