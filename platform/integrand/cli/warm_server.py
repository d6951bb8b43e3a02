"""Holds every import and forks one `integrand` process per request: a child begins where imports have ended.

`python -m integrand.cli.warm_server FD`, started by `suites.warm.WarmServer`. Nothing is computed here and no
store is opened, so that a child inherits no threads, no connections and no drawn random numbers: it differs
from a process of its own only in who did the imports. The environment is that of the children, because
libraries size their thread pools while they are imported.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..imports import freeze, import_torchmetrics, uncollected
from ..suites.warm import HEADER_BYTES, STREAMS

TITLE = "integrand"
"""A child's name in `ps`; its command line is this server's."""

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# what a run imports only on its way, beside what the training command names at its top
_LATER = (
    "alembic.autogenerate",
    "alembic.command",
    "matplotlib.backends.backend_agg",
    "mlflow.store.artifact.local_artifact_repo",
    "mlflow.store.db.utils",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking.fluent",
    "sklearn.datasets",
)


def preload() -> None:
    """Import what a run needs."""
    from integrand.tracking.store.opening import quiet_mlflow

    quiet_mlflow()
    import_torchmetrics()
    import integrand.datamodules
    import integrand.modules

    from . import training

    integrand.modules.load_all()
    integrand.datamodules.load_all()
    for name in _LATER:
        with contextlib.suppress(ImportError):  # another version's name: the run imports it by itself
            importlib.import_module(name)
    training.rehearse()
    _draw()


def _draw() -> None:
    """Draw a figure, so that the fonts are found."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    figure.add_subplot(xlabel="$x$", ylabel="y").plot([0, 1])
    figure.savefig(io.BytesIO(), format="png")


class Server:
    """Forks on request and tells how every child ended.

    A child is reaped only when the client has heard of its end: until then its process id cannot name
    another process.

    Args:
        connection: The client's other end; the server ends when it is closed.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.selector = selectors.DefaultSelector()
        self.selector.register(connection, selectors.EVENT_READ)
        self.handlers = {number: signal.getsignal(number) for number in _IGNORED}
        self.start_folder = str(Path.cwd())
        self.environment = dict(os.environ)
        for number in _IGNORED:  # a group's signal is for the client, which ends its children in order
            signal.signal(number, signal.SIG_IGN)

    def serve(self) -> bool:
        """Answer until the client is gone.

        Returns:
            Whether this is a child, which has become what a new process would be.
        """
        while True:
            for key, _ in self.selector.select():
                if key.data is not None:
                    self._report(key)
                    continue
                header, streams = _receive(self.connection)
                if not header:
                    return False
                request = json.loads(_read(self.connection, int.from_bytes(header, "big")))
                if "reap" in request:
                    os.waitpid(request["reap"], 0)
                elif self._fork(request, streams):
                    return True

    def _fork(self, request: Mapping[str, Any], streams: list[int]) -> bool:
        """Whether this is the child."""
        begun, begin = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(begun)
            self._become(request, streams)
            os.close(begin)
            return True
        for descriptor in (begin, *streams):
            os.close(descriptor)
        os.read(begun, 1)  # its end: from here on signals reach the child as they should
        os.close(begun)
        self.selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
        self._send(started=pid)
        return False

    def _become(self, request: Mapping[str, Any], streams: list[int]) -> None:
        os.setsid()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for key in list(self.selector.get_map().values()):
            os.close(key.fd)
        self.selector.close()
        for signal_number, handler in self.handlers.items():
            signal.signal(signal_number, handler)
        imported = {k: v for k, v in os.environ.items() if self.environment.get(k) != v}
        os.environ.clear()
        os.environ.update({**imported, **request["environment"]})  # libraries set variables at import
        os.chdir(request["folder"])
        if sys.path and sys.path[0] == self.start_folder:
            sys.path[0] = request["folder"]
        sys.argv = ["integrand", *request["arguments"]]
        sys.orig_argv = [sys.executable, "-m", *sys.argv]
        Path("/proc/self/comm").write_text(TITLE, encoding="ascii")
        _fresh_generators()

    def _report(self, key: selectors.SelectorKey) -> None:
        self.selector.unregister(key.fileobj)
        os.close(key.fd)
        ended = os.waitid(os.P_PID, key.data, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # it waits
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self._send(ended=key.data, code=code)

    def _send(self, **message: int) -> None:
        text = json.dumps(message).encode()
        with contextlib.suppress(BrokenPipeError):  # the client is gone, which the next read says
            self.connection.sendall(len(text).to_bytes(HEADER_BYTES, "big") + text)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A header and the descriptors that came with it; no bytes at the end of the connection."""
    room = socket.CMSG_SPACE(STREAMS * array.array("i").itemsize)
    header, ancillary, _, _ = connection.recvmsg(HEADER_BYTES, room)
    streams = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            streams.frombytes(data[: len(data) - len(data) % streams.itemsize])
    if header and len(header) < HEADER_BYTES:
        header += _read(connection, HEADER_BYTES - len(header))
    return header, list(streams)


def _read(connection: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size:
        piece = connection.recv(size - len(text))
        if not piece:
            raise EOFError("the client went away in the middle of a request")
        text += piece
    return text


def _fresh_generators() -> None:
    """Seed the generators that a fork copies; Python's own is seeded anew by every fork."""
    import numpy as np
    import torch

    torch.seed()
    np.random.seed()  # noqa: NPY002  # the global one is what libraries draw from
    # what torch itself takes at its start: MKL's number where it computes with MKL
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    given = os.environ.get("MKL_NUM_THREADS") if has_mkl else None
    threads = given or os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) != torch.get_num_threads():
        torch.set_num_threads(int(threads))


class Ending:
    """The end of a server and of its children, without the interpreter's dismantling of everything imported.

    That would write to, and so copy, each page that a child shares with its server: most of what a short
    command costs. Threads are waited for, exit handlers run and streams are flushed as ever. To be made
    before the imports, so that the handlers of what is imported come before this one.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        """With what to end; where it is None the interpreter ends as it does."""
        atexit.register(self._leave)

    def run(self) -> None:
        """Be the program."""
        try:
            runpy.run_module("integrand", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            self.code = end.code if isinstance(end.code, int) else None
            raise

    def _leave(self) -> None:
        if self.code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)


def main(descriptor: int) -> None:
    """Serve the client behind an inherited socket, and be the program in every child."""
    ending = Ending()
    server = Server(socket.socket(fileno=descriptor))
    with uncollected():
        preload()
    if threading.active_count() > 1:
        raise SystemExit("something that was imported has started a thread, which no fork survives")
    gc.collect()
    freeze()  # children share these pages as long as no collection writes into them
    if server.serve():
        ending.run()
    else:
        ending.code = 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
