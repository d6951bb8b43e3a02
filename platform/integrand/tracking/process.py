"""Who writes a run, and whether that process still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

from . import names


def identity() -> dict[str, str]:
    """Tags that identify this process: host (hashed), boot, process id and its start.

    The host is a digest of host name, machine id and process namespace: equal only where process ids can be
    compared, and telling nobody the machine's name.
    """
    return {
        names.PROCESS_HOST: host(),
        names.PROCESS_BOOT: _boot(),
        names.PROCESS_ID: str(os.getpid()),
        names.PROCESS_START: _start(os.getpid()) or "",
    }


def host() -> str:
    """The digest of this host."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    parts = (socket.gethostname(), _text("/etc/machine-id"), namespace)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def is_dead(tags: dict[str, str]) -> bool:
    """Whether the process that these tags describe ran on this host and is gone for certain."""
    if tags.get(names.PROCESS_HOST) != host() or not tags.get(names.PROCESS_START):
        return False
    if tags.get(names.PROCESS_BOOT) != _boot():
        return True
    return _start(int(tags[names.PROCESS_ID])) != tags[names.PROCESS_START]


def _start(pid: int) -> str | None:
    """Start of process `pid` in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5))."""
    text = _text(f"/proc/{pid}/stat")
    # the command, field 2, may hold spaces and brackets; fields are counted from its last bracket
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] == "Z":
        return None
    return fields[19]


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
