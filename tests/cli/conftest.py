"""One recorded run, made through the real program, that many tests look at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = [
    *("--data", "Digits", "--data.train_limit", "256", "--model.channels", "4"),
    *("--model.solver", "TorchDiffEq", "--model.solver.method", "rk4", "--model.solver.num_steps", "2"),
    *("--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"),
]


class Program:
    """`integrand` as a user runs it, in a folder of its own."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, *arguments, env=None, timeout=300):
        return subprocess.run(
            [sys.executable, "-m", "integrand", *arguments],
            cwd=self.folder,
            env={**os.environ, "INTEGRAND_OFFLINE": "1", **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

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


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A run of `integrand fit` with a test at its end."""
    program = Program(tmp_path_factory.mktemp("fitted"))
    result = program("fit", *SMALL, "--test_after_fit", "true")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    return program, run, result
