"""Forked `integrand` processes against processes of their own: nothing but the imports may differ.

That they compute the same bits is shown in tests/cli/test_fit.py.
"""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from mlflow import MlflowClient

from integrand.suites.launcher import Task
from integrand.suites.local import LocalLauncher
from integrand.suites.resources import slot_environment
from integrand.suites.warm import PROGRAM, ServerLost, Starter, WarmServer, is_supported

pytestmark = pytest.mark.skipif(not is_supported(), reason="forked processes are watched through pidfds")

FIT = ["fit", "--model", "NoBlock", "--data", "Digits", "--data.train_limit", "256"]
PROBE = """
import json, os, random, signal, sys, threading
from pathlib import Path

import numpy as np
import torch

from integrand.modules import ResNet
from integrand.tracking.store.opening import quiet_mlflow

import __main__

quiet_mlflow()  # the probe's own process has not opened a store yet

Path("seen.json").write_text(json.dumps({
    "same": {
        "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "folder": os.getcwd(),
        "main": [__main__.__name__, __main__.__spec__.name, __main__.__file__],
        # KMP_: set by scikit-learn when it is imported, which that process has not done either
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("KMP_")},
        "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "signals": {n.name: str(signal.getsignal(n)) for n in signal.valid_signals() if isinstance(n, signal.Signals)},
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads(), threading.active_count()],
        "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if n in "012"),
        "inherited": sum("socket:" in os.readlink(f"/proc/self/fd/{n}") for n in map(str, range(3, 64))
                         if os.path.exists(f"/proc/self/fd/{n}")),
        "cuda": torch.cuda.is_initialized(),
    },
    "drawn": [torch.rand(1).item(), np.random.rand(), random.random()],
}))


class Net(ResNet):
    '''A probe.

    Args:
        spec: Data.
        **kwargs: See ResNet.
    '''

    family = "probe"
"""


@pytest.fixture(scope="module")
def environment():
    # two numbers, of which torch's own start takes one
    given = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}
    return slot_environment({**os.environ, **given}, 2, None)


@pytest.fixture(scope="module")
def starter():
    with Starter(warm=True) as starter:
        yield starter


@pytest.fixture
def start(starter, environment, tmp_path, monkeypatch):
    """Start `integrand` warm in the folder of the test; its output goes to a file."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        with (tmp_path / "out").open("wb") as out:
            return starter.start([*PROGRAM, *arguments], environment, out.fileno())

    return start


def test_it_is_what_a_process_of_its_own_is(starter, environment, tmp_path, monkeypatch):
    seen = []
    for name in ("warm", "again", "cold"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "probe.py").write_text(PROBE)
        monkeypatch.chdir(folder)
        command = [*PROGRAM, "fit", "--model", "probe.Net", "--data", "Digits", "--print_config"]
        with (folder / "out").open("wb") as out:
            if name == "cold":
                process = Starter(warm=False).start(command, environment, out.fileno())
                assert isinstance(process, subprocess.Popen)
            else:
                process = starter.start(command, environment, out.fileno())
                assert not isinstance(process, subprocess.Popen)
        assert process.wait(120) == 0, (folder / "out").read_text()
        seen.append(json.loads((folder / "seen.json").read_text().replace(str(folder), "FOLDER")))
    warm, again, cold = seen
    assert warm["same"] == cold["same"]
    assert (tmp_path / "warm/out").read_text() == (tmp_path / "cold/out").read_text()
    # a fork copies the states of the generators: two of them must not draw the same
    assert all(a != b for a, b in zip(warm["drawn"], again["drawn"], strict=True))


def test_how_it_ends_is_told_as_of_any_process(start, tmp_path):
    assert start("--version").wait(60) == 0
    assert (tmp_path / "out").read_text().startswith("integrand ")
    assert start("fitt").wait(60) == 2
    assert "integrand: error: unknown command 'fitt'" in (tmp_path / "out").read_text()
    (tmp_path / "broken.py").write_text("raise SystemExit('a word')")
    assert start("fit", "--model", "broken.Net", "--data", "Digits", "--print_config").wait(60) == 1
    assert (tmp_path / "out").read_text() == "a word\n"


ENDING = """
import atexit, threading
from integrand.modules import ResNet


class Dismantled:
    def __del__(self):
        print("dismantled")


class Net(ResNet):
    "A net."
    kept = Dismantled()


atexit.register(print, "handled")
threading.Thread(target=lambda: (threading.main_thread().join(), print("waited for"))).start()
print("buffered", end=" ")
"""


def test_it_ends_in_order_and_leaves_the_memory_that_it_shares_alone(start, tmp_path):
    """To take an interpreter apart copies every page of it, which costs more than a short command does."""
    (tmp_path / "probe.py").write_text(ENDING)
    assert start("fit", "--model", "probe.Net", "--data", "Digits", "--print_config").wait(120) == 0
    said = (tmp_path / "out").read_text()
    assert said.startswith("buffered ")
    assert said.endswith("waited for\nhandled\n")


def wait_for(text, path, process):
    deadline = time.monotonic() + 240
    while text not in path.read_text():
        assert process.poll() is None, path.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_signals_reach_it(start, tmp_path, number, code):
    process = start(*FIT, "--trainer.max_epochs", "100000")
    wait_for("epoch 2/", tmp_path / "out", process)
    assert psutil.Process(process.pid).name() == "integrand"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(120) == code
    deadline = time.monotonic() + 60
    while psutil.pid_exists(process.pid):  # the server reaps it as soon as it hears that its end is known
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()  # of a process that has ended: nothing, as with Popen
    (run,) = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_runs(["1"])
    assert run.info.status == ("RUNNING" if code < 0 else "KILLED")


def test_a_launcher_loses_its_server_and_goes_on_without(tmp_path, watcher, monkeypatch, caplog):
    """Nobody can say how a process ends whose parent is gone: it is ended, and tried again as its own."""
    monkeypatch.chdir(tmp_path)
    arguments = [*FIT, "--trainer.max_epochs", "100000"]
    tasks = [Task(k, k, (*PROGRAM, *arguments), tmp_path / f"{k}.log") for k in ("a", "b")]
    orphans = []

    def tick():
        logs = [t.log for t in tasks if t.log.exists()]
        if not orphans and any("epoch 2/" in log.read_text() for log in logs):
            servers = [p for p in psutil.Process().children() if "warm_server" in " ".join(p.cmdline())]
            (server,) = [p for p in servers if p.children()]  # the other one is the module's
            orphans.extend(server.children())
            server.kill()
        elif orphans and all("=== attempt 2" in log.read_text() for log in logs):
            assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in orphans)
            # the killed server is a zombie as long as nobody has asked how it ended
            alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
            assert [p.cmdline()[1:4] for p in alive].count(["-m", "integrand", "fit"]) == 2
            raise KeyboardInterrupt

    watcher.tick = tick
    with pytest.raises(KeyboardInterrupt):
        LocalLauncher(2, retries=1, device_names=(), num_cores=2).launch(tasks, watcher)
    assert len(orphans) == 2
    assert watcher.named("retried") == ["a", "b"]
    assert "further cells start as processes of their own" in caplog.text


def test_what_cannot_be_warm_is_cold(tmp_path, environment, watcher, monkeypatch):
    """A CUDA device does not survive a fork; other programs, and single tasks, need no server."""
    assert not LocalLauncher(2, device_names=("GPU-1",), num_cores=2).warm
    other = Task("a", "a", (sys.executable, "-c", "import os; print(os.getppid())"), tmp_path / "a.log")
    ours = Task("b", "b", (*PROGRAM, "--version"), tmp_path / "b.log")
    monkeypatch.setattr("integrand.suites.warm.WarmServer", None)
    for warm, tasks in ((True, [ours]), (True, [other, other]), (False, [other, ours])):
        LocalLauncher(1, device_names=(), num_cores=1, warm=warm).launch(tasks, watcher)
    assert other.log.read_text() == f"{os.getpid()}\n"
    assert ours.log.read_text().startswith("integrand ")


def test_a_server_that_cannot_start_is_told(environment, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('not this one')")
    server = WarmServer({**environment, "PYTHONPATH": str(tmp_path)})
    with open(os.devnull, "r+b") as nothing, pytest.raises(ServerLost):  # noqa: PTH123
        server.start([*PROGRAM, "--version"], environment, (nothing.fileno(),) * 3)
    server.close()
