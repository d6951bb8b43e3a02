"""However a process ends, its run says so, with the right exit code."""

import signal
import subprocess
import sys
import time

import pytest

from integrand.cli.sync import run as sync_command
from integrand.tracking import exit_code
from integrand.tracking.processes import process
from integrand.tracking.processes.reaper import reap
from integrand.tracking.spool import folders
from integrand.tracking.spool.reader import SpoolReader
from integrand.tracking.spool.sync import sync
from integrand.tracking.store.runs import read_record


def wait_for_points(process_, count=5, timeout=60):
    """Wait until the spool of the only run holds training steps."""
    root = folders.spool_root()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        assert process_.poll() is None, process_.communicate()[1]
        for path in root.glob("*/points.jsonl") if root.exists() else ():
            if path.read_text().count("loss_step") >= count:
                return path.parent.name
        time.sleep(0.05)
    raise AssertionError("the training did not begin")


@pytest.mark.parametrize(
    ("signum", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),  # through the program: tests/cli
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_signal_ends_killed(start_training, client, signum, code):
    training = start_training("--epochs", "1000", "--pause", "0.02")
    run_id = wait_for_points(training)
    training.send_signal(signum)
    _, errors = training.communicate(timeout=120)
    assert training.returncode == code, errors
    run = client.get_run(run_id)
    assert run.info.status == "KILLED"
    assert signal.Signals(signum).name in run.data.tags["error"]
    record = read_record(client, run_id)
    assert record.status == "KILLED"
    assert len(record.history["train/loss_step"]) >= 5
    steps = [p.step for p in client.get_metric_history(run_id, "train/loss_step")]
    assert steps == list(range(len(steps)))
    assert not list(folders.spool_root().iterdir())


def test_sigkill_loses_nothing_and_is_marked_by_the_next_run(start_training, client, capsys):
    training = start_training("--epochs", "1000", "--pause", "0.02")
    run_id = wait_for_points(training, 20)
    assert sync()[0].state == "running"  # it sends by itself
    training.kill()
    training.wait()
    reader, spooled = SpoolReader(folders.spool_dir(run_id)), []
    reader.offset = 0  # with what has been sent
    for operation in reader.read(1 << 30)[0]:
        spooled += [operation["s"]] if "train/loss_step" in operation.get("v", ()) else []
    assert client.get_run(run_id).info.status == "RUNNING"
    experiment = client.get_run(run_id).info.experiment_id
    assert reap(client, [experiment]) == [run_id]
    run = client.get_run(run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["error_type"] == "ProcessDied"
    assert sync_command([]) == 0
    assert "complete" in capsys.readouterr().out
    assert [p.step for p in client.get_metric_history(run_id, "train/loss_step")] == spooled
    assert reap(client, [experiment]) == []
    assert sync_command([]) == 0
    assert "nothing to send" in capsys.readouterr().out


def test_living_process_is_not_dead_and_a_recycled_id_is():
    tags = process.identity()
    assert not process.is_dead(tags)
    assert process.is_dead({**tags, "process.start": "1"})  # another process with the same id
    assert process.is_dead({**tags, "process.boot": "before"})
    assert not process.is_dead({**tags, "process.host": "elsewhere", "process.start": "1"})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert process.is_dead({**tags, "process.id": str(gone.pid)})


@pytest.mark.slow
def test_process_without_an_end_is_failed(workdir, client):
    """A script that opens a run and stops on its own error, outside any trainer."""
    code = "from integrand.tracking import MLflowTracker as T\nT().log_metrics({'a': 1.0}, 0)\nraise SystemExit(3)"
    done = subprocess.run([sys.executable, "-c", code], cwd=workdir, timeout=60, check=False)
    assert done.returncode == 3
    (run,) = client.search_runs([client.get_experiment_by_name("integrand").experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.metrics["a"] == 1.0


def test_a_ctrl_c_that_lightning_has_caught_is_one():
    caught = SystemExit(1)
    caught.__context__ = KeyboardInterrupt()
    assert exit_code(caught) == 130


def test_exit_codes():
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from integrand.errors import TrackingError, UsageError

    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(SIGTERMException()) == 143  # Python itself would make it 0
    assert exit_code(SystemExit(7)) == 7
    assert exit_code(SystemExit()) == 0
    assert exit_code(UsageError("x")) == 2
    assert exit_code(TrackingError("x")) == 1
    assert exit_code(ValueError("x")) is None  # its traceback is wanted


@pytest.mark.slow
@pytest.mark.parametrize("end", ["finished", "failed", "sigterm"])
def test_two_processes_make_one_run(start_training, client, end):
    arguments = {
        "finished": (),
        "failed": ("--fail-at", "5"),
        "sigterm": ("--epochs", "500", "--pause", "0.02"),
    }
    training = start_training("--devices", "2", *arguments[end])
    if end == "sigterm":
        wait_for_points(training, timeout=120)
        training.terminate()
    _, errors = training.communicate(timeout=120)
    code, status = {"finished": (0, "FINISHED"), "failed": (1, "FAILED"), "sigterm": (143, "KILLED")}[end]
    assert training.returncode == code, errors
    (run,) = client.search_runs([client.get_experiment_by_name("integrand").experiment_id])
    assert run.info.status == status
    if end == "failed":
        # the second process failed; the first saw no more than a closed connection
        assert run.data.tags["error"] == "made to fail (process 1)"
        assert run.data.tags["error_type"] == "RuntimeError"
    if end == "finished":
        # each process has 3 batches an epoch, and its own solves: 11 + step evaluations, and 7 backward
        metrics = run.data.metrics
        assert metrics["solver/nfe_forward_total"] == 2 * sum(11 + s for s in range(6))
        assert metrics["solver/nfe_backward_total"] == 2 * 7 * 6
        assert metrics["solver/nfe_backward"] == 7
        record = read_record(client, run.info.run_id)
        assert record.provenance["world_size"] == 2
