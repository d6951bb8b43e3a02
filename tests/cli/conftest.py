"""One recorded run, made through the real program, that many tests look at."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from integrand.suites.warm import PROGRAM, WarmServer

SMALL = [
    *("--data", "Digits", "--data.train_limit", "256", "--model.channels", "4"),
    *("--model.solver", "TorchDiffEq", "--model.solver.method", "rk4", "--model.solver.num_steps", "2"),
    *("--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"),
]


NOTHING = Path(os.devnull)


class Program:
    """`integrand` as a user runs it, in a folder of its own.

    It is forked from a process that has imported everything, which `test_warm` shows to be the same program;
    `cold` runs it from its first instruction on.

    Args:
        folder: Its working directory.
        server: What forks it.
    """

    def __init__(self, folder, server):
        self.folder = Path(folder)
        self.server = server

    def __call__(self, *arguments, env=None, timeout=300):
        command = [*PROGRAM, *arguments]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, NOTHING.open() as nothing:
            streams = (nothing.fileno(), out.fileno(), err.fileno())
            process = self.server.start(command, self._environment(env), streams, self.folder)
            try:
                code = process.wait(timeout)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            said = [file.read().decode() for file in (out, err) if file.seek(0) == 0]
        return subprocess.CompletedProcess(command, code, *said)

    @staticmethod
    def refusal(result):
        """The one line of an error, after the one that says what has begun."""
        *begun, line = result.stderr.strip().splitlines()
        assert len(begun) <= 1
        assert all(text.endswith(" …") for text in begun)
        return line

    @contextlib.contextmanager
    def begun(self, *arguments, env=None):
        """A process that goes on beside the test, and is killed at its end."""
        with NOTHING.open("r+") as nothing:
            streams = (nothing.fileno(),) * 3
            process = self.server.start([*PROGRAM, *arguments], self._environment(env), streams, self.folder)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    def cold(self, *arguments, env=None, timeout=300):
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self._environment(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def _environment(self, more):
        return {**os.environ, "INTEGRAND_OFFLINE": "1", **(more or {})}

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self, experiment="integrand"):
        client = self.client
        found = client.get_experiment_by_name(experiment)
        return client.search_runs([found.experiment_id]) if found else []

    def artifacts(self, run):
        return Path(run.info.artifact_uri.removeprefix("file://"))


@pytest.fixture
def small():
    """Options of a run that takes seconds."""
    return SMALL


@pytest.fixture(scope="session")
def warm_server():
    """One for all tests of a worker; a process of its own, so it does not matter what has run here before."""
    server = WarmServer(os.environ)
    yield server
    server.close()


@pytest.fixture
def program(tmp_path, fresh_database, warm_server):
    """The program in a folder with an empty store."""
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    return Program(tmp_path, warm_server)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, warm_server):
    """A run of `integrand fit` with a test at its end, as the first thing that ever happens in a folder."""
    program = Program(tmp_path_factory.mktemp("fitted"), warm_server)
    result = program.cold("fit", *SMALL, "--test_after_fit", "true")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    return program, run, result
