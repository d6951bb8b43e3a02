"""Who writes a run, and whether that process still lives."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

from ..store import names

ALONE = "INTEGRAND_ALONE"
"""Set by an engine that knows that no other process works on what it starts: whoever did is dead."""
CELL = "INTEGRAND_CELL"
"""Set for a cell of a suite by the engine that runs it, and that starts it again where need be."""
BEAT_SECONDS = 60.0
"""How often a running process renews its sign of life in the store."""
SILENT_SECONDS = 300.0
"""Without one for so long, a process on another host counts as dead."""


def identity() -> dict[str, str]:
    """Tags that identify this process: host (hashed), boot, process id and its start.

    The host is a digest of host name, machine id and process namespace: equal only where process ids can be
    compared, and telling nobody the machine's name.
    """
    return {
        names.PROCESS_BEAT: beat(),
        names.PROCESS_JOB: job(),
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


def beat() -> str:
    """A sign of life: now, in seconds since the epoch."""
    return str(round(time.time()))


def job() -> str:
    """What processes that were started together share on all hosts; empty outside SLURM and torchrun."""
    slurm = [os.environ.get(f"SLURM_{name}", "") for name in ("CLUSTER_NAME", "JOB_ID", "STEP_ID")]
    if slurm[1]:
        return "/".join(["slurm", *slurm, os.environ.get("SLURM_RESTART_COUNT", "0")])
    elastic = os.environ.get("TORCHELASTIC_RUN_ID", "")
    if elastic:
        # the id is "none" unless the user names the job; its address tells jobs apart
        parts = (elastic, *(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT")))
        return "/".join(["torchrun", *parts, os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")])
    return ""


def is_at_work(tags: dict[str, str], started: float | None = None) -> bool:
    """Whether the process that these tags of a RUNNING run describe still works on it.

    On this host that is known for certain. Of another host's process it is believed while its last sign of
    life is younger than `SILENT_SECONDS`; runs of older versions gave one only when they started.

    Args:
        tags: Tags of the run.
        started: When the run was started, in seconds since the epoch.
    """
    if tags.get(names.PROCESS_HOST) == host():
        return not is_dead(tags)
    last = tags.get(names.PROCESS_BEAT, "")
    seen = float(last) if last.isdigit() else started or 0.0
    return time.time() - seen < SILENT_SECONDS


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
