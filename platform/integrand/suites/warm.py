"""`integrand` processes that need no start-up: forks of one process in which everything is imported."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

PROGRAM = (sys.executable, "-m", "integrand")
"""How a command begins that a server can run."""

HEADER_BYTES = 8
"""Length of the number, big-endian, that says how long the JSON after it is."""
STREAMS = 3
"""Standard input, output and error go with every request for a process."""

log = logging.getLogger(__name__)


class Process(Protocol):
    """What a launcher asks of a process that it started: the ways of `subprocess.Popen`."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None:
        """Its exit code, -n after signal n; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def terminate(self) -> None:
        """Send SIGTERM."""


class Starter:
    """Starts commands in sessions of their own, those of `integrand` through a server.

    Where a server cannot be had, or is lost, commands start as ordinary processes.

    Args:
        warm: Whether a server may be used.
    """

    def __init__(self, warm: bool) -> None:
        self._warm = warm and is_supported()
        self._server: WarmServer | None = None

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()

    def start(self, command: Sequence[str], environment: Mapping[str, str], output: int) -> Process:
        """Start a command that reads nothing.

        Args:
            command: Program and arguments.
            environment: Its environment. The first one's is that of the server, so all should name the same
                numbers of threads.
            output: Descriptor to which it writes output and errors.

        Raises:
            OSError: It cannot be started.
        """
        if self._warm and tuple(command[: len(PROGRAM)]) == PROGRAM:
            try:
                self._server = self._server or WarmServer(environment)
                with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a descriptor is wanted
                    return self._server.start(command, environment, (nothing.fileno(), output, output))
            except ServerLost as problem:
                log.warning("%s; further cells start as processes of their own", problem)
                self._warm = False
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


class ServerLost(OSError):
    """The server has ended before it started the process."""


def is_supported() -> bool:
    """Whether this system can watch forked processes as it must: Linux from 5.3 on."""
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an older kernel, or a sandbox that forbids it
        return False
    return True


class WarmServer:
    """Starts `integrand` processes by forking; to its user they are like those of `subprocess.Popen`.

    The server imports in the background from here on; the first `start` waits for it. It ends with `close`,
    or with this process. Its children go on, as those of this process would.

    Args:
        environment: The environment in which it imports: that of the processes, as far as libraries read it
            at import (numbers of threads above all). It must not show a CUDA device: CUDA does not survive
            a fork.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._processes: dict[int, WarmProcess] = {}
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "integrand.cli.warm_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        folder: Path | None = None,
    ) -> WarmProcess:
        """Start a process, in a session of its own.

        Args:
            command: `PROGRAM` and the arguments.
            environment: Its environment.
            streams: Descriptors of its standard input, output and error.
            folder: Its working directory; None takes this process's.

        Raises:
            ServerLost: The server has ended.
        """
        request = {
            "arguments": list(command[len(PROGRAM) :]),
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
        }
        try:
            self._send(request, streams)
            while (message := self._receive()) is not None:
                if "started" in message:
                    process = WarmProcess(self, message["started"])
                    self._processes[process.pid] = process
                    return process
        except OSError as problem:
            raise ServerLost(f"the warm server has ended ({problem})") from problem
        raise ServerLost("the warm server has ended")

    def close(self) -> None:
        """End the server; processes that still run are left to themselves."""
        self._socket.close()
        self._server.wait()

    def look(self, timeout: float | None) -> None:
        """Wait up to `timeout` seconds, for ever where None, for the end of any process; note all ends."""
        while self._processes and select.select([self._socket], [], [], timeout)[0]:
            if self._receive() is None:
                self._lost()
            timeout = 0.0

    def _send(self, request: Mapping[str, Any], streams: Sequence[int] = ()) -> None:
        text = json.dumps(request).encode()
        header = len(text).to_bytes(HEADER_BYTES, "big")
        socket.send_fds(self._socket, [header], list(streams))
        self._socket.sendall(text)

    def _receive(self) -> dict[str, int] | None:
        """The server's next message; None where it has ended. Ends of processes are noted."""
        header = self._read(HEADER_BYTES)
        if header is None or (text := self._read(int.from_bytes(header, "big"))) is None:
            return None
        message: dict[str, int] = json.loads(text)
        if "ended" in message:
            self._processes.pop(message["ended"]).end(message["code"])
            with contextlib.suppress(OSError):  # only from here on its number may name another process
                self._send({"reap": message["ended"]})
        return message

    def _read(self, size: int) -> bytes | None:
        text = b""
        while len(text) < size:
            try:
                piece = self._socket.recv(size - len(text))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            text += piece
        return text

    def _lost(self) -> None:
        """The server was killed: nobody can say how its processes will end, so they end here."""
        for process in self._processes.values():
            process.end_unseen()
        self._processes.clear()


class WarmProcess:
    """One process of a server, with the methods of `subprocess.Popen` that a launcher uses.

    Args:
        server: What started it.
        pid: Its process id, also that of its group.
    """

    def __init__(self, server: WarmServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """Its exit code, -n after signal n; None while it runs."""
        self._server = server
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        if self.returncode is None:
            self._server.look(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It runs longer than `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left < 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired(PROGRAM, timeout)
            self._server.look(left)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def end(self, code: int) -> None:
        """Note how it ended."""
        self.returncode = code
        os.close(self._handle)

    def end_unseen(self) -> None:
        """Kill it with its group and wait until it is gone; for a server that can no longer say."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, 0)  # still the process that was started
            os.killpg(self.pid, signal.SIGKILL)
        select.select([self._handle], [], [])
        self.end(-signal.SIGKILL)
