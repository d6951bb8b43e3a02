"""Victims of the campaign: real commands in folders of their own, and the tally that docs/reliability.md shows."""

import collections
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import torch

from integrand.suites.warm import PROGRAM, WarmServer

SEED = int(os.environ.get("INTEGRAND_SEED") or 0)
KILLS = int(os.environ.get("INTEGRAND_KILLS") or 50)
"""Of fits, of suites, of sweeps and of `sync`, by each story."""
INPUTS = int(os.environ.get("INTEGRAND_INPUTS") or 100_000)
"""Fuzzed inputs, of all readers together."""
INJECT = str(Path(__file__).with_name("inject"))

sys.path.append(INJECT)
import warm_servers  # noqa: E402  # of that folder

TALLY = collections.defaultdict(collections.Counter)
_UNTIMED = ("train/loss", "val/loss", "train/lr", "basics/nfe", "cost/parameters")


def pytest_terminal_summary(terminalreporter):
    """The figures, to be copied into docs/reliability.md."""
    if not TALLY:
        return
    terminalreporter.section(f"reliability, seed {SEED}")
    for name, counts in sorted(TALLY.items()):
        terminalreporter.line(f"{name}: " + ", ".join(f"{k} {v}" for k, v in counts.items()))


def pytest_sessionfinish(session):
    """A process among several leaves its figures to the first."""
    if (left := getattr(session.config, "workeroutput", None)) is not None:
        left["tally"] = {name: dict(counts) for name, counts in TALLY.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take up those of another process."""
    for name, counts in getattr(node, "workeroutput", {}).get("tally", {}).items():
        TALLY[name].update(counts)
    keep()


def keep():
    """Write the figures to where INTEGRAND_TALLY says."""
    if path := os.environ.get("INTEGRAND_TALLY"):
        Path(path).write_text(json.dumps(TALLY, indent=1, sort_keys=True))


@pytest.fixture
def tally():
    """The figures; kept after every test, to be added up, where one process runs them all."""
    yield TALLY
    if "PYTEST_XDIST_WORKER" not in os.environ:
        keep()


STORIES = {
    "at random": signal.SIGKILL,
    "at changes of files": None,
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
}
"""How a command is ended, and by which signal; None is SIGKILL, which it sends itself."""


def pytest_generate_tests(metafunc):
    if "story" in metafunc.fixturenames:
        metafunc.parametrize("story", STORIES)


@pytest.fixture(scope="session")
def environment(clock):
    """That of all victims: hooks on the path, one thread, whose sums are always the same, and warm servers to be had."""
    paths = filter(None, (INJECT, os.environ.get("PYTHONPATH")))
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "INTEGRAND_OFFLINE": "1",
    }
    with tempfile.TemporaryDirectory() as folder:  # a short name, as sockets must have
        place = Path(folder) / "servers"
        forks = subprocess.Popen([sys.executable, "-m", "warm_servers", place], env=found)
        deadline = clock() + 600
        while not place.exists():
            assert forks.poll() is None
            assert clock() < deadline
            time.sleep(0.1)
        yield {**found, warm_servers.PLACE: str(place)}
        forks.kill()
        forks.wait()


@pytest.fixture(scope="session")
def server(environment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", warm_servers.Popen)
        patch.setenv(warm_servers.PLACE, environment[warm_servers.PLACE])
        server = WarmServer(environment)
    yield server
    server.close()


class Pace:
    """What a command needs that nobody disturbs: less, the more often it was killed before.

    Args:
        seconds: How long the first one takes.
        **changes: How often its processes of `integrand WORD` change the file system, by word.
    """

    def __init__(self, seconds, **changes):
        self._known = {0: (seconds, changes)}

    def after(self, kills):
        """Seconds and changes of one that was killed so often before."""
        return self._known[max(n for n in self._known if n <= kills)]

    def learn(self, kills, seconds, changes):
        """One has come to its end, before it was to be killed."""
        self._known[kills] = (seconds, changes)


class Victim:
    """Commands in one folder.

    Args:
        folder: Where; a store without runs is put there.
        server: What forks them.
        database: An empty store.
        environment: That of all commands.
    """

    def __init__(self, folder, server, database, environment):
        folder.mkdir()
        shutil.copy(database, folder / "mlflow.db")
        self.notes = folder.with_name(f"{folder.name}-notes")
        self.notes.mkdir()
        self.folder, self.server = folder, server
        self.environment = {**environment, "CAMPAIGN_NOTES": str(self.notes)}

    @contextlib.contextmanager
    def start(self, *command, **variables):
        with (self.folder / "out").open("w") as out, open(os.devnull) as nothing:  # noqa: PTH123
            streams = (nothing.fileno(), out.fileno(), out.fileno())
            environment = {**self.environment, **variables}
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

    def changes(self, command):
        """How often the last `integrand COMMAND` changed the file system."""
        return int((self.notes / f"changes-{command}").read_text())

    def disturbed(self, command, story, rng, pace, kills=0, spared=()):
        """The exit code of a command that a story ends, and how many processes that killed.

        Args:
            command: Its words.
            story: One of `STORIES`.
            rng: Says when.
            pace: What it needs.
            kills: How often it was killed before.
            spared: Words of whose processes none is killed at a change of files.
        """
        killed = self.notes / "killed"
        killed.unlink(missing_ok=True)
        number, variables = STORIES[story], {}
        seconds, changes = pace.after(kills)
        if number is None:
            word = rng.choice(sorted(changes.keys() - set(spared)))
            variables["CAMPAIGN_KILL_AT"] = f"{word} {rng.randint(1, changes[word])}"
        began = time.monotonic()
        with self.start(*command, **variables) as process:
            if number is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05 + seconds * rng.random() ** 2)  # most happens early
                process.send_signal(number)
            code = process.wait(600)
        if code == 0 and not killed.exists():
            pace.learn(kills, time.monotonic() - began, {word: self.changes(word) for word in changes})
        if number is None:
            return code, len(killed.read_text()) if killed.exists() else 0
        ended = code in (-number, 128 + number)
        assert ended or code in (0, 1, 75), self.said
        return code, int(ended)

    def at_work(self):
        """The processes that were started here, and by those."""
        return [process for process in psutil.process_iter() if self._is_here(process)]

    def left_alone(self, seconds=300):
        """Wait until nothing that was started here is at work."""
        deadline = time.monotonic() + seconds
        while self.at_work():
            assert time.monotonic() < deadline, "still at work"
            time.sleep(0.3)

    def _is_here(self, process):
        with contextlib.suppress(psutil.Error):
            return process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE
        return False

    @property
    def said(self):
        return (self.folder / "out").read_text()

    @functools.cached_property
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
                series[name] = sorted(((p.step, p.value) for p in points), key=lambda point: point[0])
        return weights, series


@pytest.fixture(scope="session")
def victim(tmp_path_factory, server, fresh_database, environment):
    root = tmp_path_factory.mktemp("victims")
    numbers = iter(range(10**6))
    return lambda: Victim(root / str(next(numbers)), server, fresh_database, environment)


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
def pace():
    return Pace


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
