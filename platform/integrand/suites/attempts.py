"""Runs one task where an engine has put it: starts it, watches it, tries it again, says how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

import psutil

from integrand.tracking.processes import process

from ..tracking.processes.exits import describe_exit
from .launcher import Outcome, Task, last_error

POLL_SECONDS = 0.2
GRACE_SECONDS = 30.0
NO_RETRY = (2, 75)
"""Exit codes after which the same command would end the same way: typed wrong, or run by another process."""


@dataclass
class Attempts:
    """The tries of a task on this node.

    Args:
        task: The task; its log is not touched here.
        environment: What its process gets.
        retries: New tries after failures.
        open_log: Opens where the output of the next try goes.
        begin: Told the number of every try before it starts.
        failures: How many tries have failed before, on any node.
        alone: Whether an engine knows that no other process works on the task: an unfinished run of it is
            gone on with although its process was on another host.
        grace: Seconds between SIGTERM and SIGKILL.
        cwd: Its working directory; None for this process's.
    """

    task: Task
    environment: Mapping[str, str]
    retries: int
    open_log: Callable[[], IO[bytes]]
    begin: Callable[[int], None] = lambda attempt: None
    failures: int = 0
    alone: bool = False
    grace: float = GRACE_SECONDS
    cwd: str | None = None
    told: int | None = None
    """The signal by which `tell` ended the task."""

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._killed_at: float | None = None
        self._hung = False

    def run(self) -> Outcome:
        """Run the task until it ends well, has failed too often, or was told to end."""
        while True:
            outcome = self._once(self.failures + 1)
            if outcome.state != "failed" or self._hung or outcome.returncode in NO_RETRY:
                return outcome
            self.failures += 1
            if self.failures > self.retries or outcome.returncode is None:
                return outcome
            self.alone = True  # its process was this one's child

    def tell(self, number: int) -> None:
        """Pass a signal on to the task; called by a signal handler, or by the engine's own interruption."""
        self.told = self.told or number
        self._killed_at = time.monotonic() + self.grace
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """End the task's processes at once."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid)
            for child in [*family.children(recursive=True), family]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.wait()

    def _once(self, attempt: int) -> Outcome:
        environment = dict(self.environment)
        environment.pop(process.ALONE, None)
        if self.alone:
            environment[process.ALONE] = "1"
        start = time.monotonic()
        self.begin(attempt)
        with self.open_log() as log:
            if attempt > 1:
                log.write(f"=== attempt {attempt} ===\n".encode())
                log.flush()
            try:
                self._process = subprocess.Popen(
                    self.task.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=self.cwd,
                )
            except OSError as problem:
                return Outcome(self.task, "failed", 0.0, attempt, None, f"cannot be started: {problem}")
            if self.told is not None:  # the signal came before there was a process
                self.tell(self.told)
            code = self._wait(start)
        seconds = time.monotonic() - start
        if code == 0:
            return Outcome(self.task, "finished", seconds, attempt, 0)
        error = describe_exit(code)
        if self._hung:
            return Outcome(
                self.task, "failed", seconds, attempt, code, f"hung: {error} after {seconds:.0f} s"
            )
        if self.told is not None:
            return Outcome(self.task, "interrupted", seconds, attempt, code, error)
        return Outcome(self.task, "failed", seconds, attempt, code, error)

    def _wait(self, start: float) -> int:
        assert self._process is not None
        while (code := self._process.poll()) is None:
            now = time.monotonic()
            if self._killed_at is not None and now > self._killed_at:
                self.kill()
            elif self.task.limit is not None and not self._hung and now - start > self.task.limit:
                self._hung = True
                self._killed_at = now + self.grace
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGTERM)
            time.sleep(POLL_SECONDS)
        return code


def with_last_error(outcome: Outcome) -> Outcome:
    """The outcome of a failed task with the last error of its log; where the log is."""
    from dataclasses import replace

    if outcome.state != "failed" or outcome.error.startswith("hung") or outcome.returncode is None:
        return outcome
    line = last_error(outcome.task.log)
    return replace(outcome, error=f"{outcome.error}: {line}") if line else outcome


def cell_environment(threads: int) -> dict[str, str]:
    """This process's environment for a cell: its threads, and no sign of an engine for Lightning to follow.

    A cell is one program; with SLURM's variables Lightning would wait for the other tasks of the job.
    """
    from .resources import slot_environment

    environment = slot_environment(os.environ, threads, None)
    environment[process.CELL] = "1"
    for name in ("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_STEP_ID"):
        environment.pop(name, None)
    # Lightning's remark on an srun that was not used: here it is not needed
    ours = "ignore:The `srun` command is available"
    environment["PYTHONWARNINGS"] = ",".join(filter(None, (environment.get("PYTHONWARNINGS"), ours)))
    return environment
