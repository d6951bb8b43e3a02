"""The SLURM launcher on a real SLURM, with commands of a second: what is retried, queued again, cancelled."""

import contextlib
import os
import signal
import sys
import textwrap
import threading

import psutil
import pytest

from integrand.suites import engines, slurm_queue
from integrand.suites.journal import Journal
from integrand.suites.launcher import Task
from integrand.suites.slurm import SlurmLauncher
from integrand.suites.slurm_script import SlurmOptions

pytestmark = pytest.mark.cluster


class Watcher:
    """Remembers what the launcher says."""

    def __init__(self):
        self.events = []

    def started(self, task, attempt):
        self.events.append(("started", task.key, attempt))

    def retried(self, task, error):
        self.events.append(("retried", task.key, error))

    def ended(self, outcome):
        self.events.append(("ended", outcome.task.key, outcome.state))

    def stopping(self, reason):
        self.events.append(("stopping", reason))

    def leaving(self, reason, what):
        self.events.append(("leaving", reason, what))

    def tick(self):
        pass


@pytest.fixture
def here(slurm, tmp_path, monkeypatch):
    """This process speaks to the test's SLURM."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    (tmp_path / "suite").mkdir()
    return tmp_path


def make(here, key, code):
    command = (sys.executable, "-c", textwrap.dedent(code))
    return Task(key, f"cell {key}", command, here / "suite" / f"{key}.log")


def launcher(here, **options):
    settings = {"retries": 1, "poll": 0.5, "patience": 3.0} | options
    further = settings.pop("options", SlurmOptions())
    return SlurmLauncher(here / "suite", further, settings.pop("jobs", None), **settings)


def run_in_thread(engine, tasks, watcher):
    """Watch the launcher from outside; signals then do not reach it."""
    found = []
    thread = threading.Thread(target=lambda: found.extend(engine.launch(tasks, watcher)), daemon=True)
    thread.start()
    return thread, found


def processes_of(slurm, marker):
    """Processes of this cluster with a word on their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("SLURM_CONF") == slurm.environment["SLURM_CONF"]
            if (
                ours
                and process.pid != os.getpid()
                and any(marker in w for w in process.info["cmdline"] or ())
            ):
                found.append(process)
    return found


FAIL_ONCE = """
import os, pathlib, signal, sys
mark = pathlib.Path({mark!r})
if not mark.exists():
    mark.touch(); print("first", flush=True); {end}
print("alone", os.environ.get("INTEGRAND_ALONE"))
"""


def test_an_array_with_failures_a_killed_cell_and_pretended_gpus(here, slurm):
    see_gpu = "import os; print('gpu', os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])"
    killed = FAIL_ONCE.format(mark=str(here / "m"), end="os.kill(os.getpid(), signal.SIGKILL)")
    tasks = [
        make(here, "k", killed),
        make(here, "a", see_gpu),
        make(here, "b", "raise ValueError('broken')"),
        make(here, "u", "raise SystemExit(2)"),
    ]
    watcher = Watcher()
    outcomes = launcher(here, options=SlurmOptions(gres="gpu:1", mem="100M", time="5")).launch(tasks, watcher)
    found = {o.task.key: (o.state, o.attempts, o.returncode, o.error) for o in outcomes}
    assert found == {
        "k": ("finished", 2, 0, ""),
        "a": ("finished", 1, 0, ""),
        "b": ("failed", 2, 1, "exit code 1: ValueError: broken"),
        "u": ("failed", 1, 2, "exit code 2"),
    }
    assert (here / "suite/k.log").read_text() == "first\n=== attempt 2 ===\nalone 1\n"
    assert tasks[1].log.read_text() in {f"gpu {i} 1\n" for i in range(2)}
    assert {e[1] for e in watcher.events if e[0] == "started"} == set("kabu")
    assert engines.held(here / "suite") == {}


def test_a_task_that_dies_whole_is_submitted_again(here, slurm, wait_until):
    """Also the program that watches the cell is killed: nobody is left who could write how it ended."""
    sleeper = FAIL_ONCE.format(mark=str(here / "m"), end="import time; time.sleep(300)")
    watcher = Watcher()
    thread, found = run_in_thread(launcher(here), [make(here, "d", sleeper)], watcher)
    wait_until((here / "m").exists, slurm.words)
    for process in processes_of(slurm, "integrand.suites.slurm_task"):
        process.kill()
    thread.join(90)
    assert [(o.state, o.attempts) for o in found] == [("finished", 1)]
    ((_, _, error),) = [e for e in watcher.events if e[0] == "retried"]
    assert "its SLURM task died without a word" in error
    assert (here / "suite/d.log").read_text() == "first\nalone 1\n"


def test_a_lost_node(here, slurm, wait_until):
    """The daemon of a node and all its processes vanish; SLURM gives the task to the other node."""
    code = FAIL_ONCE.format(mark=str(here / "m"), end="import time; time.sleep(300)")
    watcher = Watcher()
    thread, found = run_in_thread(launcher(here), [make(here, "n", code)], watcher)
    wait_until((here / "m").exists, slurm.words)
    (held,) = engines.held(here / "suite").values()
    job = held.job.split()[-1]
    node = next(j.node for j in slurm_queue.jobs() if j.id == job)
    slurm.lose(node)
    (program,) = processes_of(slurm, "integrand.suites.slurm_task")
    # in this order none of them can tell SLURM; the first is slurmstepd, whose environment cannot be read
    for process in [program.parent(), program, *processes_of(slurm, str(here / "m"))]:
        process.kill()
    try:
        wait_until(lambda: slurm.now(job), slurm.words, 150)
        thread.join(120)
        assert [(o.state, o.attempts) for o in found] == [("finished", 1)]
        assert not [e for e in watcher.events if e[0] == "retried"], "the task stays in the queue"
        assert (here / "suite/n.log").read_text() == "first\nalone 1\n"
    finally:
        slurm.start_node(node)
        wait_until(lambda: set(slurm.ask("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, slurm.words)


STUBBORN_TIME = """
import os, pathlib, signal, sys, time
mark = pathlib.Path({mark!r})
if mark.exists():
    print("goes on", os.environ.get("INTEGRAND_ALONE"), os.environ.get("SLURM_NTASKS")); sys.exit()
def save(*_):
    print("saved", flush=True); sys.exit(138)
signal.signal(signal.SIGUSR1, save)
mark.touch()
time.sleep(300)
"""


def test_when_its_time_is_up_a_cell_saves_itself_and_is_queued_again(here, slurm, wait_until):
    task = make(here, "t", STUBBORN_TIME.format(mark=str(here / "m")))
    watcher = Watcher()
    thread, found = run_in_thread(launcher(here), [task], watcher)
    wait_until((here / "m").exists, slurm.words)
    (held,) = engines.held(here / "suite").values()
    job = held.job.split()[-1]
    # as SLURM does by --signal=B:USR1@90, which is in the script
    slurm.ask("scancel", "--signal=USR1", "--batch", job, check=True)
    wait_until(lambda: slurm.now(job), slurm.words)
    thread.join(90)
    assert [(o.state, o.attempts) for o in found] == [("finished", 1)]
    assert task.log.read_text() == "saved\ngoes on 1 None\n"


def test_jobs_outlive_their_launcher_and_the_next_one_watches_them(here, slurm, wait_until):
    gate = here / "gate"
    code = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.2)\nprint('once')"
    tasks = [make(here, key, code) for key in "xy"]
    watcher = Watcher()
    first = launcher(here)
    timer = threading.Timer(4.0, signal.raise_signal, [signal.SIGINT])
    timer.start()
    assert first.launch(tasks, watcher) == []
    assert first.stop_signal == signal.SIGINT
    assert watcher.events[-1] == ("leaving", "SIGINT", "2 jobs go on in SLURM")
    assert set(engines.held(here / "suite")) == {"x", "y"}
    gate.touch()
    outcomes = launcher(here).launch(tasks, Watcher())
    assert {o.task.key: o.state for o in outcomes} == {"x": "finished", "y": "finished"}
    assert [t.log.read_text() for t in tasks] == ["once\n", "once\n"]


def test_never_more_than_jobs_at_a_time(here, slurm):
    """--array=…%1: the second starts after the first has ended."""
    code = "import time; t = time.time(); time.sleep(1); print(t, time.time())"
    tasks = [make(here, key, code) for key in "pq"]
    launcher(here, jobs=1).launch(tasks, Watcher())
    (a, b), (c, d) = sorted([float(x) for x in t.log.read_text().split()] for t in tasks)
    assert a < b <= c < d


CANCELLED = """
import signal, sys, time
def end(*_):
    # as a fit does: both SLURM and the task tell it, and the second time Python may have let go of its handlers
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(300)
"""


def test_cancelled_cells_are_interrupted_and_say_so_where_nobody_watched(here, slurm, wait_until):
    code = CANCELLED
    task = make(here, "c", code)
    watcher = Watcher()
    thread, found = run_in_thread(launcher(here), [task], watcher)
    wait_until(lambda: task.log.exists() and task.log.read_text() == "up\n", slurm.words)
    assert engines.cancel(here / "suite", ["c"]) == ""
    thread.join(60)
    assert [(o.state, o.returncode) for o in found] == [("interrupted", 143)]
    assert Journal(here / "suite").last_ends()["c"]["state"] == "interrupted"


def test_what_slurm_refuses_is_told_in_its_words(here, slurm):
    from integrand.errors import IntegrandError

    with pytest.raises(IntegrandError, match="invalid partition"):
        launcher(here, options=SlurmOptions(partition="nowhere")).launch([make(here, "r", "pass")], Watcher())
    assert engines.held(here / "suite") == {}
