"""What a Ray worker does for a cell, and the board on which it tells the driver; imported on every node."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from .attempts import Attempts, cell_environment
from .code import code_digest
from .launcher import Outcome, Task

SEND_SECONDS = 0.5
"""How often a worker sends what a cell has printed."""


class Board:
    """An actor on the driver's node: workers write, the driver reads; it goes when the driver goes."""

    def __init__(self) -> None:
        self._events: list[tuple[str, str, Any]] = []
        self._starts: dict[str, int] = {}
        self._stopping = False

    def begin(self, key: str, host: str) -> int:
        """A worker takes up a task; how many did before, whose workers were lost."""
        before = self._starts.get(key, 0)
        self._starts[key] = before + 1
        self._events.append((key, "begun", (before + 1, host)))
        return before

    def write(self, key: str, text: bytes) -> bool:
        """Output of a cell; whether it is to end."""
        if text:
            self._events.append((key, "output", text))
        return self._stopping

    def read(self) -> list[tuple[str, str, Any]]:
        """What was written since the last look: `(key, "begun", (start, host))`, `(key, "output", bytes)`."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """All cells are to end in order."""
        self._stopping = True


def run_cell(board: Any, fields: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run one cell on this node.

    Args:
        board: Handle of the `Board`.
        fields: `key`, `label`, `command`, `limit` of the task.
        settings: `code` digest, `cwd`, `environment` of the driver, `cpus`, `retries`, `grace`.

    Returns:
        `state`, `seconds`, `attempts`, `returncode` and `error` of the outcome.
    """
    import ray

    host = socket.gethostname()
    before = ray.get(board.begin.remote(fields["key"], host))
    task = Task(fields["key"], fields["label"], tuple(fields["command"]), Path(os.devnull), fields["limit"])
    if problem := _misfit(task, settings, host):
        return _plain(Outcome(task, "failed", 0.0, before + 1, None, problem))
    reader, writer = os.pipe()
    attempts = Attempts(
        task,
        {**cell_environment(int(settings["cpus"])), **settings["environment"]},
        int(settings["retries"]),
        lambda: _writing(writer),
        failures=before,
        alone=before > 0,  # Ray starts a task again only after it has lost its worker
        grace=float(settings["grace"]),
        cwd=settings["cwd"],
    )
    done = threading.Event()
    sender = threading.Thread(target=_send, args=(board, task.key, reader, attempts, done), daemon=True)
    sender.start()
    try:
        outcome = attempts.run()
    finally:
        attempts.kill()
        os.close(writer)
        done.set()
        sender.join(timeout=30.0)
    return _plain(outcome)


def _misfit(task: Task, settings: Mapping[str, Any], host: str) -> str:
    """Why this node cannot run the cell as the driver means it; empty where it can."""
    if settings["code"] != code_digest():
        return f"Integrand on {host} is not that of the driver: install the same version on all nodes"
    for path in (settings["cwd"], task.command[0]):
        if not Path(path).exists():
            return f"{host} has no {path}: nodes need the driver's folders and Python at the same places"
    return ""


def _writing(descriptor: int) -> IO[bytes]:
    return os.fdopen(os.dup(descriptor), "wb")


def _send(board: Any, key: str, reader: int, attempts: Attempts, done: threading.Event) -> None:
    """Send output now and then; end the cell where the driver wants that, or has gone."""
    import ray

    os.set_blocking(reader, False)
    while True:
        last = done.wait(SEND_SECONDS)
        text = _drained(reader)
        try:
            stop = ray.get(board.write.remote(key, text))
        except ray.exceptions.RayError:
            stop = True  # the driver is gone, and nobody waits for this cell
        if stop and attempts.told is None:
            attempts.tell(signal.SIGTERM)
        if last:
            os.close(reader)
            return


def _drained(reader: int) -> bytes:
    parts = []
    try:
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "seconds": outcome.seconds,
        "attempts": outcome.attempts,
        "returncode": outcome.returncode,
        "error": outcome.error,
    }
