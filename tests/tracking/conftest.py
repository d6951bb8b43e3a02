"""A store that is made once and copied, and the tiny training."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

TINY = Path(__file__).with_name("tiny.py")


def _load_tiny():
    # importlib import mode puts no test folder on the path, and pickling needs the module to be findable
    if "tiny" not in sys.modules:
        spec = importlib.util.spec_from_file_location("tiny", TINY)
        module = importlib.util.module_from_spec(spec)
        sys.modules["tiny"] = module
        spec.loader.exec_module(module)
    return sys.modules["tiny"]


@pytest.fixture(scope="session")
def tiny():
    return _load_tiny()


@pytest.fixture
def workdir(tmp_path, monkeypatch, fresh_database):
    """An empty working directory with an empty store."""
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(workdir):
    from integrand.tracking.store.opening import open_store

    return open_store()


@pytest.fixture
def only_run(client):
    """Returns the single run of the store."""

    def find(experiment="integrand"):
        found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        assert len(found) == 1, [r.info.run_name for r in found]
        return found[0]

    return find


def _heed_signals():
    """A test runner in the background or under nohup ignores these, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start_training(workdir):
    """Starts the tiny training as a process of its own."""
    started = []

    def start(*arguments, **kwargs):
        process = subprocess.Popen(
            [sys.executable, str(TINY), *arguments],
            cwd=workdir,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_signals,
            **kwargs,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Server:
    """MLflow's own server in a process of its own."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri, self.process = folder, f"http://127.0.0.1:{self.port}", None

    def start(self):
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)),
                *("--backend-store-uri", f"sqlite:///{self.folder}/server.db"),
                *("--artifacts-destination", f"{self.folder}/server-artifacts", "--serve-artifacts"),
            ],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        raise AssertionError("the server did not start")

    def kill(self):
        # the server is a group of processes
        os.killpg(self.process.pid, 9)
        self.process.wait()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = Server(tmp_path)
    server.start()
    yield server
    if server.process.poll() is None:
        server.kill()
