"""What a task of the job array runs: `python -m integrand.suites.slurm_task FOLDER`, one cell per index."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO

from integrand.tracking.processes import slurm

from .attempts import Attempts, cell_environment, with_last_error
from .code import code_digest
from .launcher import Outcome, Task
from .slurm_script import Batch

SAVE_SECONDS = 60.0
"""How long a cell may take to save itself when its time is up."""


def main(argv: Sequence[str]) -> int:
    """Run the cell of this task and note how it ended.

    SIGUSR1, which SLURM sends before the end of the task's time, makes the cell save itself; then the task is
    queued again, and goes on in the same run. SIGTERM (scancel, preemption) ends the cell in order.

    Args:
        argv: The folder of the batch.

    Returns:
        0 where the cell is finished or the task was queued again, else 1.
    """
    batch, index = Batch(Path(argv[0])), int(os.environ["SLURM_ARRAY_TASK_ID"])
    content, task = batch.read(), batch.task(index)
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    batch.forget_end(task.key)
    before = batch.state(task.key)
    attempts = Attempts(
        task,
        cell_environment(int(os.environ.get("SLURM_CPUS_PER_TASK") or 1)),
        int(content["retries"]),
        lambda: _append(task.log),
        lambda attempt: _begin(batch, task, attempt),
        failures=int(before.get("failures", 0)),
        # SLURM starts a task again only after it has ended the earlier one
        alone=bool(content["alone"]) or restarts > 0,
    )

    def told(number: int, frame: FrameType | None) -> None:
        attempts.grace = SAVE_SECONDS if number == signal.SIGUSR1 else 15.0
        attempts.tell(number)

    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, told)
    if content["code"] != code_digest():
        error = f"the code on {socket.gethostname()} is not that with which the suite was submitted"
        return _end(batch, Outcome(task, "failed", 0.0, 1, None, f"{error}; run the suite again"))
    if restarts:
        _say(f"{task.label}: start {restarts + 1} of the task")
    outcome = attempts.run()
    batch.note_state(task.key, failures=attempts.failures)
    if outcome.state == "interrupted" and attempts.told == signal.SIGUSR1:
        _say(f"{task.label}: its time is up; it is queued again")
        problem = slurm.requeue()
        if not problem:
            return 0
        outcome = replace(outcome, error=f"its time was up, and it cannot be queued again: {problem}")
    return _end(batch, with_last_error(outcome))


def _begin(batch: Batch, task: Task, attempt: int) -> None:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    job = f"{os.environ.get('SLURM_ARRAY_JOB_ID', '')}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    batch.note_state(task.key, started=time.time(), host=socket.gethostname(), job=job, failures=attempt - 1)


def _end(batch: Batch, outcome: Outcome) -> int:
    batch.note_end(outcome)
    _say(f"{outcome.task.label}: {outcome.state} {outcome.error}".rstrip())
    return 0 if outcome.state == "finished" else 1


def _append(log: Path) -> IO[bytes]:
    return log.open("ab")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
