"""The local launcher on real processes: order, failures, kills, interrupts and what children inherit."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from integrand.suites.launcher import Task, last_error
from integrand.suites.local import LocalLauncher
from integrand.suites.resources import default_jobs, devices, slot_environment
from integrand.tracking.processes.exits import describe_exit, died_of_signal


def launcher(jobs=2, **options):
    return LocalLauncher(jobs, **({"device_names": (), "num_cores": 4, "grace": 10.0} | options))


def states(outcomes):
    return {o.task.key: o.state for o in outcomes}


def test_a_failing_task_does_not_stop_the_others(task, watcher):
    tasks = [task("a", "print('fine')"), task("b", "raise ValueError('broken')"), task("c", "print('fine')")]
    outcomes = launcher(retries=0).launch(tasks, watcher)
    assert states(outcomes) == {"a": "finished", "b": "failed", "c": "finished"}
    (failed,) = [o for o in outcomes if o.state == "failed"]
    assert failed.error == "exit code 1: ValueError: broken"
    assert (failed.returncode, failed.attempts) == (1, 1)
    assert tasks[0].log.read_text() == "fine\n"
    assert watcher.named("started") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("end", "error"),
    [("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"), ("sys.exit(1)", "exit code 1")],
)
def test_a_failure_is_retried_after_all_others(task, watcher, tmp_path, end, error):
    fail_once = f"""
import os, pathlib, signal, sys
mark = pathlib.Path({str(tmp_path / "mark")!r})
if not mark.exists():
    mark.touch(); print("first", flush=True); {end}
print("second")
"""
    tasks = [task("k", fail_once), task("a", "pass"), task("u", "raise SystemExit(2)")]
    outcomes = launcher(1, retries=1).launch(tasks, watcher)
    assert [(o.task.key, o.state, o.attempts) for o in outcomes] == [
        ("a", "finished", 1),
        ("u", "failed", 1),  # exit code 2: the command line itself is wrong
        ("k", "finished", 2),
    ]
    assert [e for e in watcher.events if e[0] == "retried"] == [("retried", "k", f"{error}: first")]
    assert (tmp_path / "logs" / "k.log").read_text() == "first\n=== attempt 2 ===\nsecond\n"


def test_tasks_are_taken_when_a_slot_is_free(task, watcher):
    """A sweep's next trial depends on how the earlier ones ended."""
    ended_before = []

    def source():
        for i in range(4):
            ended_before.append(len(watcher.named("ended")))
            yield task(str(i), "pass")

    outcomes = launcher(1).launch(source(), watcher)
    assert len(outcomes) == 4
    assert ended_before == [0, 1, 2, 3]


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "STUBBORN"])
def test_a_task_that_hangs_is_killed_and_the_others_run(task, watcher, code):
    hanging = task("h", textwrap.dedent(STUBBORN) if code == "STUBBORN" else code)
    hanging = Task(hanging.key, hanging.label, hanging.command, hanging.log, limit=0.5)
    outcomes = launcher(1, retries=3, grace=0.3).launch([hanging, task("a", "pass")], watcher)
    assert [(o.task.key, o.state, o.attempts) for o in outcomes] == [("h", "failed", 1), ("a", "finished", 1)]
    assert outcomes[0].error.startswith("hung: ended by SIG")


def test_children_compute_with_the_threads_of_their_slot(task, watcher):
    """What torch makes of the environment, not only what stands in it."""
    code = "import torch; print(torch.get_num_threads())"
    tasks = [task("a", code), task("b", code)]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    launcher(2, num_cores=2, environment=environment).launch(tasks, watcher)
    assert {t.log.read_text() for t in tasks} == {"1\n"}


def test_the_last_task_computes_with_the_threads_of_the_others(task, watcher):
    """A cell that is gone on with alone has the sums, to the last digit, that it had beside another."""
    last = task("a", "import torch; print(torch.get_num_threads())")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    launcher(2, num_cores=2, environment=environment).launch([last], watcher)
    assert last.log.read_text() == "1\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP": "4", "MKL": "4"}),
        ({"OMP_NUM_THREADS": "1"}, {"OMP": "1", "MKL": "1"}),
        ({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}, {"OMP": "1", "MKL": "2"}),
        ({"MKL_NUM_THREADS": "8"}, {"OMP": "4", "MKL": "4"}),
        ({"OMP_NUM_THREADS": "0"}, {"OMP": "4", "MKL": "4"}),
    ],
)
def test_threads_that_the_user_sets_stay(given, expected):
    found = slot_environment(given, 4, None)
    assert {name: found[f"{name}_NUM_THREADS"] for name in expected} == expected


def test_retries_end(task, watcher):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    (outcome,) = launcher(retries=2).launch([task("k", code)], watcher)
    assert (outcome.state, outcome.attempts, outcome.returncode) == ("failed", 3, -signal.SIGSEGV)
    assert outcome.error.startswith("ended by SIGSEGV")


def test_an_exit_code_of_a_handled_signal_counts_as_a_kill(task, watcher):
    (outcome,) = launcher(retries=1).launch([task("k", "raise SystemExit(143)")], watcher)
    assert (outcome.attempts, outcome.error) == (2, "ended by SIGTERM")


def test_a_command_that_does_not_exist_fails_alone(task, watcher, tmp_path):
    missing = Task("m", "m", ("/does/not/exist",), tmp_path / "m.log")
    outcomes = launcher(1).launch([missing, task("a", "pass")], watcher)
    assert states(outcomes) == {"m": "failed", "a": "finished"}
    assert "cannot be started" in outcomes[0].error


def test_never_more_than_jobs_at_a_time_and_slots_own_devices(task, watcher, tmp_path):
    code = f"""
import os, pathlib, time
folder = pathlib.Path({str(tmp_path)!r})
device = folder / ("device" + os.environ["CUDA_VISIBLE_DEVICES"])
device.mkdir()          # fails if another process holds the device
time.sleep(0.2)
device.rmdir()
print(os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"])
"""
    tasks = [task(str(i), code) for i in range(6)]
    outcomes = launcher(
        2, device_names=("0", "1"), num_cores=5, environment=dict(os.environ, OMP_NUM_THREADS="9")
    ).launch(tasks, watcher)
    assert set(states(outcomes).values()) == {"finished"}
    assert {t.log.read_text() for t in tasks} == {"2 2\n"}  # 5 cores // 2 slots
    level, most = 0, 0
    for event in watcher.events:
        level += {"started": 1, "ended": -1}[event[0]]
        most = max(most, level)
    assert most == 2


def test_an_observer_that_raises_leaves_no_process(task, watcher, tmp_path):
    pid_file = tmp_path / "pid"
    code = f"""
import os, time, pathlib
pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
time.sleep(60)
"""

    def raise_once_running():
        if pid_file.exists() and pid_file.read_text():
            raise RuntimeError("display broke")

    watcher.tick = raise_once_running
    with pytest.raises(RuntimeError, match="display"):
        launcher().launch([task("a", code)], watcher)
    assert not alive(int(pid_file.read_text()))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # a zombie waits for a parent that is gone with the test
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


SCRIPT = """
import sys
from pathlib import Path
from integrand.suites.launcher import Task
from integrand.suites.local import LocalLauncher

class Printer:
    def started(self, task, attempt): print("started", task.key, flush=True)
    def retried(self, task, error): print("retried", task.key, flush=True)
    def ended(self, outcome): print("ended", outcome.task.key, outcome.state, flush=True)
    def tick(self): pass
    def stopping(self, reason): print("stopping", reason, flush=True)

folder = Path(sys.argv[1])
code = sys.argv[2]
tasks = [Task(k, k, (sys.executable, "-c", code, str(folder / k)), folder / (k + ".log")) for k in "abcd"]
launcher = LocalLauncher(2, retries=1, device_names=(), num_cores=2, grace=float(sys.argv[3]))
outcomes = launcher.launch(tasks, Printer())
print("left", len(outcomes), launcher.stop_signal, flush=True)
"""

POLITE = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1]).write_text("cleaned up"); sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def start_and_wait(folder, code, grace):
    """A launcher in a process of its own, with two of its four children ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), textwrap.dedent(code), str(grace)],
        stdout=subprocess.PIPE,
        text=True,
        # a test runner in the background may ignore SIGINT, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while sum("ready" in p.read_text() for p in folder.glob("*.log")) < 2:
        assert time.monotonic() < deadline, "the children did not start"
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_children_in_order_and_starts_no_more(tmp_path, number):
    process = start_and_wait(tmp_path, POLITE, 20)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert out.splitlines()[:3] == ["started a", "started b", f"stopping {number.name}"]
    assert sorted(out.splitlines()[3:5]) == ["ended a interrupted", "ended b interrupted"]
    assert out.splitlines()[5] == f"left 2 {int(number)}"
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "cleaned up"


@pytest.mark.parametrize(("grace", "signals"), [(0.3, 1), (60.0, 2)])
def test_stubborn_children_are_killed_after_the_grace_or_at_the_second_signal(tmp_path, grace, signals):
    process = start_and_wait(tmp_path, STUBBORN, grace)
    process.send_signal(signal.SIGINT)
    assert [process.stdout.readline().split()[0] for _ in range(3)] == ["started", "started", "stopping"]
    if signals == 2:
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert sorted(out.splitlines()[:2]) == ["ended a interrupted", "ended b interrupted"]


def test_exits_in_words():
    assert died_of_signal(1) is None
    assert died_of_signal(0) is None
    assert died_of_signal(128) is None
    assert died_of_signal(-9) == died_of_signal(137) == 9
    assert describe_exit(2) == "exit code 2"
    assert describe_exit(137) == "ended by SIGKILL"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nintegrand: error: no such family → see x\n", "no such family → see x"),
        ("Traceback:\n  File x\nValueError: bad\n", "ValueError: bad"),
        ("torch.OutOfMemoryError: CUDA\nsome later chatter\n", "torch.OutOfMemoryError: CUDA"),
        ("epoch 1\repoch 2\r\x1b[31mepoch 3\x1b[0m", "epoch 3"),
        ("", ""),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_last_error(tmp_path, text, line):
    (tmp_path / "log").write_text(text)
    assert last_error(tmp_path / "log") == line


def test_last_error_of_no_log(tmp_path):
    assert last_error(tmp_path / "nothing") == ""


def test_devices_from_the_environment():
    assert devices({"CUDA_VISIBLE_DEVICES": "3, GPU-1"}) == ("3", "GPU-1")
    assert devices({"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert devices({"CUDA_VISIBLE_DEVICES": "-1"}) == ()


def test_slot_environment():
    found = slot_environment({"FORCE_COLOR": "1", "A": "b"}, 4, None)
    assert (found["OPENBLAS_NUM_THREADS"], found["A"]) == ("4", "b")
    assert "FORCE_COLOR" not in found
    assert "CUDA_VISIBLE_DEVICES" not in found


def test_default_jobs():
    assert default_jobs(4, 64) == 4
    assert default_jobs(0, 8, free_memory=64e9) == 8
    assert default_jobs(0, 8, free_memory=3.1e9) == 2
    assert default_jobs(0, 8, free_memory=1e6) == 1
