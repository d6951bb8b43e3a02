"""Two processes of one group on this machine, started from a script or through the real program."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def heed_signals():
    """A test runner in the background ignores some signals, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def environment(**more):
    return {**os.environ, "INTEGRAND_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}


def _run_pair(script, *arguments, timeout=600):
    """Run a script of this folder as the two processes of a group; returns what they printed."""
    port = str(free_port())
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / script), *map(str, arguments)],
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **group),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        texts = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(text[-3000:] for text in texts)
    return texts


@pytest.fixture
def run_pair():
    """The function that runs a script of this folder as two processes."""
    return _run_pair


class Program:
    """`integrand` as a user runs it, in a folder of its own."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def start(self, *arguments, prefix=(), **env):
        """Start it; `prefix` comes between the interpreter and the module, such as a launcher."""
        return subprocess.Popen(
            [sys.executable, *prefix, "-m", "integrand", *map(str, arguments)],
            cwd=self.folder,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_signals,
            start_new_session=True,
        )

    def __call__(self, *arguments, timeout=300, **env):
        process = self.start(*arguments, **env)
        try:
            out, errors = process.communicate(timeout=timeout)
        finally:
            end(process)
        return subprocess.CompletedProcess(arguments, process.returncode, out, errors)

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self, experiment="integrand"):
        client = self.client
        found = client.get_experiment_by_name(experiment)
        return client.search_runs([found.experiment_id]) if found else []

    def only_run(self):
        (run,) = self.runs()
        return run

    def artifacts(self, run):
        return Path(run.info.artifact_uri.removeprefix("file://"))


def end(process):
    """Kill what is left of a program and its ranks, which share a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture(scope="session")
def cases():
    """The module that the worker processes import as `cases`."""
    spec = importlib.util.spec_from_file_location("cases", HERE / "cases.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cases"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
