"""Runs commands; says how each ended. The one interface behind which other engines can stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LOST_RETRIES = 2
"""How often a cell whose process was lost by no error of its own is begun again: where its worker or node is
gone, or where it was killed, as for want of memory."""


@dataclass(frozen=True)
class Task:
    """A command to run.

    Args:
        key: Identifies it.
        label: Names it to people.
        command: Program and arguments.
        log: Where its output goes.
        limit: Seconds after which it hangs for certain and is killed; None waits for ever.
    """

    key: str
    label: str
    command: tuple[str, ...]
    log: Path
    limit: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Args:
        task: The task.
        state: `finished`, `failed`, or `interrupted` by the user.
        seconds: Wall time of the last attempt.
        attempts: Number of attempts.
        returncode: Exit code of the last attempt, -n after signal n; None where it could not be started.
        error: What went wrong, in one line.
    """

    task: Task
    state: str
    seconds: float
    attempts: int
    returncode: int | None
    error: str = ""


class Observer(Protocol):
    """Sees what a launcher does, while it does it."""

    def started(self, task: Task, attempt: int) -> None:
        """A process of the task was started."""

    def retried(self, task: Task, error: str) -> None:
        """The task failed or died and goes back to the end of the queue."""

    def ended(self, outcome: Outcome) -> None:
        """The task is over."""

    def tick(self) -> None:
        """Time passed."""

    def stopping(self, reason: str) -> None:
        """The launcher was told to stop and ends its processes."""

    def leaving(self, reason: str, what: str) -> None:
        """The launcher was told to stop and leaves its tasks to their engine: `what` goes on."""


class Launcher(Protocol):
    """An engine that runs tasks.

    Attributes:
        adopts: Whether `launch` watches tasks that the engine still has of an earlier one, rather than to
            start them again.
    """

    adopts: bool

    @property
    def stop_signal(self) -> int | None:
        """The signal that stopped the last `launch`, None where nothing did."""

    def launch(self, tasks: Iterable[Task], observer: Observer) -> list[Outcome]:
        """Run every task; one that fails never stops the others.

        Args:
            tasks: Taken one by one as slots become free, so that a task may depend on how earlier ones ended.
            observer: Sees what happens.

        Returns:
            The outcome of every task that was started, in the order in which they ended. Fewer outcomes than
            tasks, or an interrupted one, mean that the user stopped the launcher.
        """


_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_ERROR = re.compile(r"^(integrand: error: |[\w.]*(Error|Exception|Interrupt|Exit)\b)")


def _last_lines(log: Path, tail: int) -> list[str]:
    """The lines in the last bytes of a log that are not blank; none where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - tail))
            text = _ESCAPES.sub(b"", file.read()).decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def last_error(log: Path, tail: int = 20_000) -> str:
    """The last line of a log that reads like an error, or else its last line; at most 300 characters."""
    lines = [line for line in _last_lines(log, tail) if not line.startswith("=== attempt")]
    errors = [line for line in lines if _ERROR.match(line)]
    line = (errors or lines or [""])[-1].removeprefix("integrand: error: ")
    return line if len(line) <= 300 else f"{line[:299]}…"
