"""What this machine offers to runs that share it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
BYTES_PER_JOB = 1.5e9
"""Resident memory of a small run on the CPU with torch, Lightning and MLflow loaded, with room to spare."""


def cores() -> int:
    """Processor cores that this process may use, by affinity and by the container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(affinity, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        return affinity


def devices(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """CUDA devices as CUDA_VISIBLE_DEVICES names them, found without importing torch."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(d.strip() for d in visible.split(",") if d.strip() and d.strip() != "-1")
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    # by UUID: CUDA may number the devices in another order than nvidia-smi
    return tuple(line.strip() for line in listed.splitlines() if line.startswith("GPU-"))


def default_jobs(num_devices: int, num_cores: int, free_memory: float | None = None) -> int:
    """Runs at a time where the user names no number: one per device, else per core, as memory allows."""
    if num_devices:
        return num_devices
    free = psutil.virtual_memory().available if free_memory is None else free_memory
    return max(1, min(num_cores, int(free / BYTES_PER_JOB)))


def slot_environment(environment: Mapping[str, str], threads: int, device: str | None) -> dict[str, str]:
    """The environment of a run that shares the machine.

    Args:
        environment: What it would inherit.
        threads: Cores it may use; a smaller number that the user set stays. `OMP_NUM_THREADS` alone stands
            for all, as it does for a run outside a suite.
        device: The CUDA device it owns, None without CUDA.
    """
    result = {k: v for k, v in environment.items() if k not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    common = environment.get("OMP_NUM_THREADS", "")
    for name in _THREAD_VARIABLES:
        given = environment.get(name) or common
        result[name] = str(min(threads, int(given)) if given.isdigit() and int(given) else threads)
    result["PYTHONUNBUFFERED"] = "1"  # a killed run's last words reach its log
    if device is not None:
        result["CUDA_VISIBLE_DEVICES"] = device
    return result
