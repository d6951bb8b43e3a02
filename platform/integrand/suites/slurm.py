"""The SLURM launcher: cells as tasks of a job array, watched through the queue and files that they leave."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from . import slurm_queue
from .code import code_digest
from .launcher import Observer, Outcome, Task
from .slurm_queue import Job
from .slurm_script import Batch, SlurmOptions, batches
from .stopping import StopRequest

ARRAY_SIZE = 1000
"""Tasks of one array at most; SLURM's own limit is 1001 unless its administrator raised it."""


@dataclass
class _Handed:
    """A task that SLURM has."""

    task: Task
    batch: Batch
    attempt: int
    started: bool = False
    gone: float | None = None
    """Since when it is neither in the queue nor has left word of its end."""


class SlurmLauncher:
    """Hands tasks to SLURM as job arrays and watches them.

    The jobs belong to SLURM: they go on when this process ends, and the next `launch` watches those that are
    still there instead of submitting them again. What a task left is read from files, never from accounting.

    Args:
        folder: The suite's folder, which the nodes see under the same path.
        options: What a cell asks for.
        jobs: Tasks at a time; None leaves that to SLURM.
        retries: New tries of a cell that failed or was killed.
        leave: Whether jobs go on when this process is told to stop; else they are cancelled.
        poll: Seconds between looks at the queue.
        patience: Seconds that a task may be gone from the queue without word; shared file systems are late.
    """

    adopts = True

    def __init__(
        self,
        folder: Path,
        options: SlurmOptions,
        jobs: int | None = None,
        retries: int = 1,
        leave: bool = True,
        poll: float = 5.0,
        patience: float = 60.0,
    ) -> None:
        slurm_queue.require()
        options.lines()
        self.folder = folder
        self.options = options
        self.jobs = jobs
        self.retries = retries
        self.leave = leave
        self.poll = poll
        self.patience = patience
        self._stop = StopRequest()
        self._handed: dict[str, _Handed] = {}

    @property
    def stop_signal(self) -> int | None:
        """The signal that stopped the last `launch`, None where nothing did."""
        return self._stop.signal

    def launch(self, tasks: Iterable[Task], observer: Observer) -> list[Outcome]:
        """Run every task; see `Launcher.launch`."""
        room = len(tasks) if isinstance(tasks, Sized) else self.jobs or 1
        waiting, outcomes = iter(tasks), list[Outcome]()
        self._handed = {}
        with self._stop.watched():
            while True:
                if self._stop.signal is not None:
                    return outcomes + self._stopped(observer)
                fresh = list(islice(waiting, room - len(self._handed)))
                if fresh:
                    self._hand_over(fresh)
                if not self._handed:
                    self._close_batches()
                    return outcomes
                for outcome in self._look(observer):
                    outcomes.append(outcome)
                    observer.ended(outcome)
                observer.tick()
                self._pause(bool(self._handed))

    # ------------------------------------------------------------------ handing over

    def _hand_over(self, tasks: Sequence[Task]) -> None:
        """Submit tasks, except those of which an earlier launch left a job."""
        still_there = slurm_queue.held(self.folder)
        by_key = {key: batch for batch in batches(self.folder) for key in batch.keys()}  # noqa: SIM118 - no mapping
        for task in tasks:
            if task.key in still_there:
                self._handed[task.key] = _Handed(task, by_key[task.key], 1)
        new = [task for task in tasks if task.key not in still_there]
        for chunk in _chunks(new):
            self._submit(chunk, 1, len(new))

    def _submit(self, tasks: Sequence[Task], attempt: int, of: int) -> None:
        batch = Batch(self.folder / "slurm" / f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}")
        # several arrays share what may run at a time
        most = None if self.jobs is None or self.jobs >= of else max(1, self.jobs * len(tasks) // of)
        script = batch.write(tasks, self.options, self.retries, most, code_digest(), alone=attempt > 1)
        try:
            slurm_queue.submit(script)
        except BaseException:
            batch.close()
            raise
        for task in tasks:
            self._handed[task.key] = _Handed(task, batch, attempt)

    # ------------------------------------------------------------------ watching

    def _look(self, observer: Observer) -> Iterator[Outcome]:
        found = slurm_queue.jobs()
        queue = self._by_batch(found)
        for key, handed in list(self._handed.items()):
            job = queue[handed.batch.folder].get(key)
            if not handed.started and handed.batch.state(key):
                handed.started = True
                observer.started(handed.task, handed.attempt)
            outcome = self._outcome(handed, job, known=found is not None)
            if outcome is None:
                continue
            del self._handed[key]
            # without word of an end the whole task died, not only the cell in it
            dead = outcome.state == "failed" and not handed.batch.end(key)
            if dead and handed.attempt <= self.retries:
                observer.retried(handed.task, outcome.error)
                self._submit([handed.task], handed.attempt + 1, 1)
            else:
                yield outcome

    def _by_batch(self, found: Sequence[Job] | None) -> dict[Path, dict[str, Job]]:
        """The jobs in the queue by the folder of their array and by run key."""
        return {
            batch.folder: {} if found is None else slurm_queue.of_batch(batch, found)
            for batch in {h.batch.folder: h.batch for h in self._handed.values()}.values()
        }

    def _outcome(self, handed: _Handed, job: Job | None, known: bool) -> Outcome | None:
        """How a task ended; None while it has not, or while nothing is known."""
        end = handed.batch.end(handed.task.key)
        active = job is not None and job.active
        # a task that is queued again has left word of an earlier end
        if end and not (active and end["state"] == "interrupted"):
            return Outcome(
                handed.task,
                end["state"],
                float(end["seconds"]),
                int(end["attempts"]),
                end["returncode"],
                end["error"],
            )
        if active or not known:
            handed.gone = None
            return None
        handed.gone = handed.gone or time.monotonic()
        if time.monotonic() - handed.gone < self.patience:
            return None
        return self._without_word(handed, job)

    @staticmethod
    def _without_word(handed: _Handed, job: Job | None) -> Outcome:
        """The outcome of a task that ended and left no word of it."""
        if (job is not None and job.state == "CANCELLED") or (job is None and not handed.started):
            return Outcome(handed.task, "interrupted", 0.0, handed.attempt, None, "cancelled")
        how = f"{job.state.lower().replace('_', ' ')} on {job.node}" if job else "gone from the queue"
        return Outcome(
            handed.task, "failed", 0.0, handed.attempt, None, f"its SLURM task died without a word ({how})"
        )

    def _pause(self, busy: bool) -> None:
        until = time.monotonic() + (self.poll if busy else 0.0)
        while self._stop.signal is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    # ------------------------------------------------------------------ stopping

    def _stopped(self, observer: Observer) -> list[Outcome]:
        reason = signal.Signals(self._stop.signal or signal.SIGINT).name
        if self.leave:
            observer.leaving(reason, f"{len(self._handed)} jobs go on in SLURM")
            return []
        observer.stopping(reason)
        self._cancel()
        outcomes = []
        deadline = time.monotonic() + self.patience
        while self._handed and time.monotonic() < deadline and self._stop.count < 2:
            found = slurm_queue.held(self.folder)
            for key in [k for k in self._handed if k not in found]:
                handed = self._handed.pop(key)
                outcome = self._outcome(handed, None, known=False)
                outcome = outcome or Outcome(
                    handed.task, "interrupted", 0.0, handed.attempt, None, "cancelled"
                )
                outcomes.append(outcome)
                observer.ended(outcome)
            time.sleep(min(self.poll, 1.0))
        return outcomes

    def _cancel(self) -> None:
        held = slurm_queue.held(self.folder)
        slurm_queue.cancel([job.id for key, job in held.items() if key in self._handed])

    def _close_batches(self) -> None:
        """Arrays of which nothing is left need no look any more."""
        found = slurm_queue.jobs()
        for batch in batches(self.folder):
            if found is not None and not batch.closed:
                left = slurm_queue.of_batch(batch, found).values()
                if not any(job.active for job in left):
                    batch.close()


def _chunks(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    for i in range(0, len(tasks), ARRAY_SIZE):
        yield tasks[i : i + ARRAY_SIZE]
