"""glibc's allocator, told at start-up to keep the memory that it frees."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

SWITCH = "INTEGRAND_MALLOC"
"""Environment variable; `default` leaves the allocator as it is."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_SETTINGS = ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Keep freed memory in the process instead of handing it back to the kernel.

    A solve frees and takes states of the same size again and again. From about a megabyte on glibc gives each
    back and gets it again, zeroed page by page: half of what a solver adds to a field of small images.

    Nothing is changed outside Linux with glibc, where `INTEGRAND_MALLOC=default`, or where glibc's own
    variables (`MALLOC_…_`, `GLIBC_TUNABLES` with malloc in it) say something already.

    Args:
        environment: The process's variables.

    Returns:
        Whether the allocator took the settings.
    """
    chosen = any(k.startswith("MALLOC_") for k in environment) or "malloc" in environment.get(
        "GLIBC_TUNABLES", ""
    )
    if sys.platform != "linux" or chosen or environment.get(SWITCH) == "default":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none
        return False
    taken = [mallopt(name, value) == 1 for name, value in _SETTINGS]
    return all(taken)
