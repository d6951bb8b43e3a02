"""Forks the warm servers that killed suites and sweeps ask for: `python -m warm_servers SOCKET`.

A suite starts its server, and a last cell, as a new process, which imports for seconds; a campaign of hundreds of suites has
no time for that. The server made here is the program's own, in a process and a session of its own as always, and it ends as
it would; the last cell is forked as the others are. All figures are one and the same, and the package's files are read once:
to draw is half of a small fit, to read most of a suite that has little left to do.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

PLACE = "CAMPAIGN_SERVERS"
"""Names the socket to victims."""
SIZE = 1 << 20
MODULE, PROGRAM = ["-m", "integrand.cli.warm_server"], ["-m", "integrand"]
LATER = ("integrand.cli.suite", "integrand.cli.sweep", "integrand.suites.study", "optuna")
"""What suites and sweeps import on their way."""


class Popen(subprocess.Popen):
    """As always, but for a warm server and for the program, where somebody forks them."""

    def __new__(cls, args, *others, **settings):
        """Instead of a new process, one that is asked for."""
        if PLACE in os.environ and list(args[1:3]) == MODULE:
            return Borrowed(int(args[3]), settings["env"])
        if PLACE in os.environ and list(args[1:3]) == PROGRAM:
            return forked(args, settings["env"], settings["stdout"])
        return super().__new__(cls)


def forked(command, environment, output):
    """The program as a fork of a server, which ends with this process."""
    from integrand.suites.warm import WarmServer

    with open(os.devnull) as nothing:  # noqa: PTH123  # a descriptor is wanted
        return WarmServer(environment).start(command, environment, (nothing.fileno(), output, output))


class Borrowed:
    """A server that another process has forked, with the ways of `Popen` that are asked for."""

    def __init__(self, descriptor, environment):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SIZE)
            asked.connect(os.environ[PLACE])
            socket.send_fds(asked, [json.dumps([dict(environment), os.getcwd()]).encode()], [descriptor])  # noqa: PTH109
            self.pid = int(asked.recv(20))
        self._handle = os.pidfd_open(self.pid)

    def wait(self, timeout=None):
        """Until it is gone; how it ended is nobody's business."""
        select.select([self._handle], [], [], timeout)
        return 0


def serve(listener):
    """Fork until the end comes from outside; in a child, the descriptor that it is to serve."""
    while True:
        asked, _ = listener.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        message, (descriptor,), *_ = socket.recv_fds(asked, SIZE, 1)
        pid = os.fork()
        if pid == 0:
            listener.close()
            asked.close()
            os.setsid()
            environment, folder = json.loads(message)
            os.environ.update(environment)
            os.chdir(folder)
            sys.path[0] = folder
            return descriptor
        os.close(descriptor)
        with contextlib.suppress(BrokenPipeError), asked:  # killed meanwhile: the server sees it as well
            asked.sendall(str(pid).encode())


def know_the_code():
    """What suites compute from the package's own files, which are the same for all."""
    from integrand.suites.code import code_digest, sources

    code_digest()
    for file in sources().files.values():
        for name in ("imports", "classes", "defined"):
            getattr(file, name)


def draw_no_figures():
    """One picture for all."""
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    Figure(figsize=(0.1, 0.1)).savefig(buffer, format="png")

    def store(figure, file, **settings):
        (file.write if hasattr(file, "write") else Path(file).write_bytes)(buffer.getvalue())

    Figure.savefig = store


def main(path):
    """Import, listen, be a server in every child and the program in every child of those."""
    from integrand.cli import warm_server

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.argv[1:] = []  # for those who look at it while they are imported
    ending = warm_server.Ending()
    warm_server.preload()
    for name in LATER:
        with contextlib.suppress(ImportError):  # of an extra
            importlib.import_module(name)
    know_the_code()
    draw_no_figures()
    gc.collect()
    gc.freeze()  # as the program's own server does: no collection in a child looks at all that again
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path + ".new")
        listener.listen(64)
        Path(path + ".new").rename(path)
        descriptor = serve(listener)
    if warm_server.Server(socket.socket(fileno=descriptor)).serve():
        ending.run()
    else:
        ending.code = 0


if __name__ == "__main__":
    main(sys.argv[1])
