"""SLURM's commands: sbatch, squeue, scancel, scontrol. No accounting: sacct may be absent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from integrand.errors import IntegrandError, UsageError

from .slurm_script import Batch, batches

_SECONDS = 60.0
"""How long a command may take: a busy controller answers late."""
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "REVOKED", "TIMEOUT",
}  # fmt: skip
"""States of jobs that have ended."""


@dataclass(frozen=True)
class Job:
    """A task of an array in the queue.

    Args:
        id: `JOB_INDEX`.
        state: SLURM's state.
        reason: Why it waits, or ended so; `None` where there is nothing to say.
        node: Where it runs or ran.
        name: Name of the array.
    """

    id: str
    state: str
    reason: str
    node: str
    name: str

    @property
    def active(self) -> bool:
        """Whether it waits, runs or is about to end."""
        return self.state not in ENDED

    @property
    def index(self) -> int:
        """Index in the array."""
        return int(self.id.rpartition("_")[2])


def require() -> None:
    """Raises:
    UsageError: This machine does not submit to SLURM.
    """
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"--launcher slurm needs {', '.join(missing)} on the PATH",
            "run it on the cluster's login node, or take --launcher local or ray",
        )


def submit(script: Path) -> str:
    """Submit a batch script.

    Returns:
        The id of the job.

    Raises:
        IntegrandError: SLURM refuses it; its own words are in the message.
    """
    try:
        done = _run(["sbatch", "--parsable", str(script)])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IntegrandError(
            f"sbatch cannot be run: {error}", "sinfo shows whether the cluster answers"
        ) from error
    if done.returncode != 0:
        words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise IntegrandError(
            f"SLURM refuses the job: {words}",
            "see --partition, --time, --gres, --mem, --cpus, --slurm-option; sinfo lists partitions",
        )
    return done.stdout.strip().split(";")[0]


def jobs() -> list[Job] | None:
    """All jobs of this user, for a while also ended ones; None if SLURM does not answer."""
    line = "%i|%T|%r|%N|%j"
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--format={line}"]
    try:
        done = _run(command)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return [Job(*row.split("|", 4)) for row in done.stdout.splitlines() if row.count("|") >= 4]


def of_batch(batch: Batch, found: Iterable[Job]) -> dict[str, Job]:
    """The jobs of an array by run key."""
    keys = batch.keys()
    mine = [job for job in found if job.name == batch.name and job.id.rpartition("_")[2].isdigit()]
    return {keys[job.index]: job for job in mine if job.index < len(keys)}


def held(folder: Path) -> dict[str, Job]:
    """What SLURM still has of a suite: jobs that have not ended, by run key.

    Args:
        folder: The suite's folder.
    """
    open_batches = [batch for batch in batches(folder) if not batch.closed]
    if not open_batches or shutil.which("squeue") is None:
        return {}
    found = jobs()
    if found is None:
        return {}
    result: dict[str, Job] = {}
    for batch in open_batches:
        mine = {key: job for key, job in of_batch(batch, found).items() if job.active}
        result |= mine
    return result


def cancel(ids: Sequence[str]) -> str:
    """Cancel jobs; what SLURM says against it, empty where nothing."""
    if not ids:
        return ""
    try:
        done = _run(["scancel", *ids])
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return " ".join(done.stderr.split()) if done.returncode else ""


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
