"""Victims of the campaign: real commands in folders of their own, and the tally that docs/reliability.md shows."""

import collections
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from integrand.suites.warm import PROGRAM, WarmServer

SEED = int(os.environ.get("INTEGRAND_SEED") or 0)
KILLS = int(os.environ.get("INTEGRAND_KILLS") or 25)
"""Of each class of fit, a tenth of them of suites and sweeps; docs/reliability.md says for how many its figures are."""
INPUTS = int(os.environ.get("INTEGRAND_INPUTS") or 100_000)
"""Fuzzed inputs, of all readers together."""
INJECT = str(Path(__file__).with_name("inject"))

TALLY = collections.defaultdict(collections.Counter)
_UNTIMED = ("train/loss", "val/loss", "train/lr", "basics/nfe", "cost/parameters")


def pytest_terminal_summary(terminalreporter):
    """The figures, to be copied into docs/reliability.md."""
    if not TALLY:
        return
    terminalreporter.section(f"reliability, seed {SEED}")
    for name, counts in sorted(TALLY.items()):
        terminalreporter.line(f"{name}: " + ", ".join(f"{k} {v}" for k, v in counts.items()))
    if path := os.environ.get("INTEGRAND_TALLY"):
        Path(path).write_text(json.dumps(TALLY, indent=1, sort_keys=True))


@pytest.fixture
def tally(request):
    return TALLY


@pytest.fixture(scope="session")
def server():
    found = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join(filter(None, (INJECT, found)))
    server = WarmServer({**os.environ, "PYTHONPATH": paths})
    yield server
    server.close()


class Victim:
    """Commands in one folder.

    Args:
        folder: Where; a store without runs is put there.
        server: What forks them.
        database: An empty store.
    """

    def __init__(self, folder, server, database):
        folder.mkdir()
        shutil.copy(database, folder / "mlflow.db")
        self.folder, self.server = folder, server

    @contextlib.contextmanager
    def start(self, *command, **variables):
        environment = {**os.environ, "INTEGRAND_OFFLINE": "1", "PYTHONPATH": INJECT, **variables}
        with (self.folder / "out").open("w") as out, open(os.devnull) as nothing:  # noqa: PTH123
            streams = (nothing.fileno(), out.fileno(), out.fileno())
            process = self.server.start([*PROGRAM, *command], environment, streams, self.folder)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    def run(self, *command, **variables):
        """The exit code and the output of a command that nobody disturbs."""
        with self.start(*command, **variables) as process:
            code = process.wait(600)
        return code, self.said

    def disturbed(self, command, number=None, after=None, at=None):
        """Its exit code where a signal comes after so many seconds, or a kill at a change of the file system."""
        with self.start(*command, **({} if at is None else {"CAMPAIGN_KILL_AT": str(at)})) as process:
            if after is not None:
                with contextlib.suppress(subprocess.TimeoutExpired, TimeoutError):
                    process.wait(after)
                if process.poll() is None:
                    os.kill(process.pid, number)
            return process.wait(600)

    @property
    def said(self):
        return (self.folder / "out").read_text()

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self):
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        found = self.client.search_runs(experiments)
        return [run for run in found if "role" not in run.data.tags]

    def finished(self, run):
        """What is compared: weights, and series of values that no clock has touched."""
        path = Path(run.info.artifact_uri.removeprefix("file://")) / "checkpoints/last.ckpt"
        weights = torch.load(path, weights_only=True)["state_dict"]
        series = {}
        for name in run.data.metrics:
            if name.startswith(_UNTIMED):
                points = self.client.get_metric_history(run.info.run_id, name)
                series[name] = [(p.step, p.value) for p in points]
        return weights, series


@pytest.fixture(scope="session")
def victim(tmp_path_factory, server, fresh_database):
    root = tmp_path_factory.mktemp("victims")
    numbers = iter(range(10**6))
    return lambda: Victim(root / str(next(numbers)), server, fresh_database)


@pytest.fixture
def rng(request):
    # of its own for every test, whatever ran before; the seed and the name of the test make it again
    return random.Random(f"{SEED} {request.node.name}")


def same(one, other):
    (weights, series), (others, their_series) = one, other
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name
    assert series == their_series


@pytest.fixture(scope="session")
def bit_equal():
    return same


@pytest.fixture(scope="session")
def kills():
    return KILLS


@pytest.fixture(scope="session")
def campaign_seed():
    return SEED


@pytest.fixture(scope="session")
def inputs():
    return INPUTS


@pytest.fixture(scope="session")
def clock():
    return time.monotonic
