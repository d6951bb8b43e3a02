"""The local launcher: a pool of slots over child processes, each slot with its cores and its device."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import IO

from ..tracking.processes.exits import describe_exit
from .attempts import NO_RETRY
from .launcher import Observer, Outcome, Task, last_error
from .resources import cores, devices, slot_environment
from .stopping import StopRequest
from .warm import Process, Starter

POLL_SECONDS = 0.05


@dataclass
class _Child:
    """A running process."""

    task: Task
    attempt: int
    slot: int
    process: Process
    log: IO[bytes]
    start: float = field(default_factory=time.monotonic)
    told: float | None = None
    """When it was told to end because its time was up."""


class LocalLauncher:
    """Runs tasks as child processes of this one.

    Each child leads a process group of its own, so that Ctrl-C in the terminal reaches only this process.
    It then ends its children in order: SIGTERM, and SIGKILL after `grace` seconds or at a second Ctrl-C.

    Where no CUDA device is shared out, commands of `integrand` are forked from one process in which
    everything is imported; see `warm`.

    Args:
        jobs: Processes at a time; each computes with its share of the cores, also where fewer are left.
        retries: How often a task that failed or was killed is started again, after all others. One that says
            that its command line is wrong (exit code 2) or that another process works on it (75) is not, nor
            one that was killed because it hung.
        device_names: CUDA devices to share out, one per slot in turn; None finds them.
        num_cores: Cores to share out; None finds them.
        grace: Seconds that children have to end after SIGTERM.
        environment: What children inherit; None takes this process's environment.
        warm: Whether children may be forked; else each is a process from its first instruction on.
    """

    adopts = False

    def __init__(
        self,
        jobs: int,
        retries: int = 1,
        device_names: Sequence[str] | None = None,
        num_cores: int | None = None,
        grace: float = 30.0,
        environment: Mapping[str, str] | None = None,
        warm: bool = True,
    ) -> None:
        self.jobs = jobs
        self.retries = retries
        self.device_names = tuple(devices() if device_names is None else device_names)
        self.num_cores = cores() if num_cores is None else num_cores
        self.grace = grace
        self.environment = dict(os.environ if environment is None else environment)
        self.warm = warm and not self.device_names
        self._stop_request = StopRequest()

    @property
    def stop_signal(self) -> int | None:
        """The signal that stopped the last `launch`, None where nothing did."""
        return self._stop_request.signal

    def launch(self, tasks: Iterable[Task], observer: Observer) -> list[Outcome]:
        """Run every task; see `Launcher.launch`."""
        slots = max(1, min(self.jobs, len(tasks) if isinstance(tasks, Sized) else self.jobs))
        # of the jobs, not of the tasks that are left: sums of other threads have other last digits
        threads = max(1, self.num_cores // self.jobs)
        # one task gains nothing: its server would import what it imports
        several = not isinstance(tasks, Sized) or len(tasks) > 1
        pool = _Pool(_Queue(tasks), list(range(slots)), observer)
        with self._stop_request.watched(), Starter(self.warm and several) as starter:
            try:
                while True:
                    self._fill(pool, starter, threads)
                    if self._stop_request.signal is not None:
                        observer.stopping(signal.Signals(self._stop_request.signal).name)
                        self._stop(pool)
                        break
                    self._collect(pool)
                    self._end_hanging(pool.running)
                    observer.tick()
                    if not pool.running and pool.waiting.is_empty():
                        break
                    if pool.running:
                        time.sleep(POLL_SECONDS)
            finally:
                for child in pool.running:  # an observer raised: leave no process behind
                    _kill(child)
        return pool.outcomes

    def _fill(self, pool: _Pool, starter: Starter, threads: int) -> None:
        """Start waiting tasks in the free slots."""
        while pool.free and not self._stop_request.count and (following := pool.waiting.take()) is not None:
            task, attempt = following
            try:
                child = self._start(starter, task, attempt, pool.free[0], threads)
            except OSError as error:
                pool.end(Outcome(task, "failed", 0.0, attempt, None, f"cannot be started: {error}"))
                continue
            pool.free.pop(0)
            pool.running.append(child)
            pool.observer.started(task, attempt)

    def _collect(self, pool: _Pool) -> None:
        """Take in the children that have ended, and queue again those that get another try."""
        for child in [c for c in pool.running if c.process.poll() is not None]:
            pool.running.remove(child)
            pool.free.append(child.slot)
            outcome = self._outcome(child)
            if self._retry(child, outcome):
                pool.observer.retried(child.task, outcome.error)
                pool.waiting.put_back(child.task, child.attempt + 1)
            else:
                pool.end(outcome)

    def _start(self, starter: Starter, task: Task, attempt: int, slot: int, threads: int) -> _Child:
        device = self.device_names[slot % len(self.device_names)] if self.device_names else None
        task.log.parent.mkdir(parents=True, exist_ok=True)
        log = task.log.open("ab" if attempt > 1 else "wb")
        try:
            if attempt > 1:
                log.write(f"=== attempt {attempt} ===\n".encode())
                log.flush()
            environment = slot_environment(self.environment, threads, device)
            process = starter.start(task.command, environment, log.fileno())
        except OSError:
            log.close()
            raise
        return _Child(task, attempt, slot, process, log)

    def _retry(self, child: _Child, outcome: Outcome) -> bool:
        if outcome.state != "failed" or child.told is not None:
            return False
        return outcome.returncode not in NO_RETRY and outcome.attempts <= self.retries

    def _end_hanging(self, running: Sequence[_Child]) -> None:
        """SIGTERM to children whose time is up, SIGKILL to those that ignore it."""
        now = time.monotonic()
        for child in running:
            if child.told is not None:
                if now - child.told > self.grace and child.process.poll() is None:
                    _kill(child)
            elif child.task.limit is not None and now - child.start > child.task.limit:
                child.told = now
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()

    def _outcome(self, child: _Child, interrupted: bool = False) -> Outcome:
        child.log.close()
        seconds = time.monotonic() - child.start
        code = child.process.returncode
        if code == 0:  # also when it ended before the signal reached it
            return Outcome(child.task, "finished", seconds, child.attempt, code)
        error = describe_exit(code)
        if child.told is not None:
            return Outcome(
                child.task, "failed", seconds, child.attempt, code, f"hung: {error} after {seconds:.0f} s"
            )
        if not interrupted and (line := last_error(child.task.log)):
            error = f"{error}: {line}"
        return Outcome(
            child.task, "interrupted" if interrupted else "failed", seconds, child.attempt, code, error
        )

    def _stop(self, pool: _Pool) -> None:
        """End all children; a second signal ends the patience."""
        for child in pool.running:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        deadline = time.monotonic() + self.grace
        while any(c.process.poll() is None for c in pool.running):
            if time.monotonic() > deadline or self._stop_request.count > 1:
                break
            time.sleep(POLL_SECONDS)
        outcomes = []
        while pool.running:
            child = pool.running.pop()
            _kill(child)
            outcomes.append(self._outcome(child, interrupted=True))
        for outcome in outcomes:
            pool.end(outcome)


class _Queue:
    """Tasks with the number of their attempt: first those of a source, taken when wanted, then retries."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._source = iter(tasks)
        self._next: Task | None = None
        self._again: deque[tuple[Task, int]] = deque()

    def take(self) -> tuple[Task, int] | None:
        """The next task, None where there is none now."""
        task, self._next = self._next or next(self._source, None), None
        if task is not None:
            return task, 1
        return self._again.popleft() if self._again else None

    def put_back(self, task: Task, attempt: int) -> None:
        """A task that is to be tried once more."""
        self._again.append((task, attempt))

    def is_empty(self) -> bool:
        """Whether nothing is left; looks one task ahead."""
        if self._next is None:
            self._next = next(self._source, None)
        return self._next is None and not self._again


@dataclass
class _Pool:
    """The state of one `launch`."""

    waiting: _Queue
    free: list[int]
    """Slots without a child."""
    observer: Observer
    running: list[_Child] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def end(self, outcome: Outcome) -> None:
        """A task needs no further attempt."""
        self.outcomes.append(outcome)
        self.observer.ended(outcome)


def _kill(child: _Child) -> None:
    """Kill a child with its whole process group: workers and ranks that it started too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()
    child.log.close()
