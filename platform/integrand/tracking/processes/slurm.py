"""What a run must know of the SLURM job it is in: its key, its earlier starts, and how to be queued again."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping

from ...errors import UsageError
from . import process

_INTERACTIVE = ("bash", "interactive")
"""Names of jobs in which people type: Lightning leaves them alone too."""


def in_job(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a task of a SLURM job that nobody types in."""
    return "SLURM_JOB_ID" in environment and environment.get("SLURM_JOB_NAME", "") not in _INTERACTIVE


def restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the job was queued again and has been started anew."""
    return in_job(environment) and int(environment.get("SLURM_RESTART_COUNT") or 0) > 0


def job_key(environment: Mapping[str, str] = os.environ) -> str:
    """What identifies this command in this job over all its starts, on all its processes; empty outside."""
    if not in_job(environment):
        return ""
    names = ("SLURM_CLUSTER_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    job = [environment.get(name, "") for name in names]
    job = job if job[1] else [job[0], environment["SLURM_JOB_ID"]]
    text = "\n".join([*job, *sys.argv[1:]])
    return f"slurm-{environment['SLURM_JOB_ID']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def prepare() -> None:
    """Before anything waits for the other processes of the job: can they find each other?

    Raises:
        UsageError: The program was not started by srun, or the first node has no address here.
    """
    if not in_job():
        return
    if restarted():
        # SLURM has ended the earlier start of the job, so whoever wrote its run is gone
        os.environ[process.ALONE] = "1"
    if int(os.environ.get("SLURM_NTASKS") or 1) < 2:
        return
    if "SLURM_STEP_ID" not in os.environ:
        raise UsageError(
            f"this is none of the {os.environ['SLURM_NTASKS']} tasks of the job, and would wait for ever",
            "start it with srun: srun integrand fit …",
        )
    first = os.environ.get("MASTER_ADDR") or first_node(os.environ.get("SLURM_NODELIST", "127.0.0.1"))
    try:
        socket.getaddrinfo(first, None)
    except OSError as error:
        raise UsageError(
            f"the job's first node, {first}, has no address on {socket.gethostname()} ({error.strerror})",
            "export MASTER_ADDR with an address of it that all nodes reach",
        ) from error


def first_node(nodes: str) -> str:
    """The first of SLURM's list of nodes: `n1` of `n[1-2],m3`."""
    head = re.match(r"([^,\[]+)(?:\[(\w+))?", nodes)
    return nodes if head is None else f"{head[1]}{head[2] or ''}"


def requeue() -> str:
    """Queue this job again, from its first process only.

    Returns:
        What SLURM says against it; empty where it did, or where it is not this process's part.
    """
    if not in_job() or int(os.environ.get("SLURM_PROCID") or 0) > 0 or os.environ.get(process.CELL):
        return ""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{index}" if array and index else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"scontrol requeue {job}: {error}"
    return (" ".join(done.stderr.split()) or f"exit code {done.returncode}") if done.returncode else ""
