"""The store opens safely, quickly, and with errors that help."""

import subprocess
import sys
import time

import pytest

from integrand.errors import TrackingError
from integrand.tracking import MLflowTracker
from integrand.tracking.store.opening import open_store
from integrand.tracking.store.runs import check_store, checkpoint, config_path, find_run
from integrand.tracking.store.uris import redact, resolve_uri

# the spool, the sender and the store as the tracker uses them, without seconds of importing Lightning
SPOOLER = """
import sys, time
from integrand.tracking.spool import operations
from integrand.tracking.request import RunRequest
from integrand.tracking.session import Session
writer, points = sys.argv[1], int(sys.argv[2])
session = Session(RunRequest("many", f"writer-{writer}", None, None, None, {}, 0.5))
for step in range(points):
    session.spool.append(operations.metrics({"loss": step / 7, "acc": float(writer)}, step, time.time()))
session.spool.append(operations.status("FINISHED"))
assert session.flush(120)
session.close()
"""

WRITER = """
import sys
from integrand.tracking import MLflowTracker
writer, points = sys.argv[1], int(sys.argv[2])
tracker = MLflowTracker(experiment="many", run_name=f"writer-{writer}")
for step in range(points):
    tracker.log_metrics({"loss": step / 7, "acc": float(writer)}, step)
tracker.end("FINISHED")
"""


def start_writers(directory, count, points, script=WRITER):
    return [
        subprocess.Popen(
            [sys.executable, "-c", script, str(i), str(points)],
            cwd=directory,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


@pytest.mark.slow
def test_four_processes_open_a_fresh_store_at_once(tmp_path, monkeypatch):
    """Without the lock 11 of 12 such processes died, and most of the databases stayed broken."""
    monkeypatch.chdir(tmp_path)
    for writer in start_writers(tmp_path, 4, 3):
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    client = open_store()
    runs = client.search_runs([client.get_experiment_by_name("many").experiment_id])
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert sorted(r.data.metrics["acc"] for r in runs) == [0, 1, 2, 3]


@pytest.mark.slow
def test_eight_writers_lose_nothing(workdir):
    for writer in start_writers(workdir, 8, 1000, SPOOLER):
        _, errors = writer.communicate(timeout=240)
        assert writer.returncode == 0, errors
    client = open_store()
    runs = client.search_runs([client.get_experiment_by_name("many").experiment_id])
    assert len(runs) == 8
    for run in runs:
        for key in ("loss", "acc"):
            steps = [p.step for p in client.get_metric_history(run.info.run_id, key)]
            assert steps == list(range(1000))


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://127.0.0.1:9", "does not answer (connection refused)"),
        ("sqlite:////dev/null/mlflow.db", "/dev/null is not a folder"),
        ("file:./mlruns", "no longer writes runs into a folder"),
    ],
)
def test_unusable_store_is_one_quick_error(workdir, tiny, uri, says, monkeypatch):
    def wait(*_):
        raise AssertionError("MLflow's own retries would go on for minutes")

    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", wait)
    with pytest.raises(TrackingError) as caught:
        tiny.fit(tracking_uri=uri)
    assert says in caught.value.message
    assert caught.value.remedy
    assert check_store(uri) == str(caught.value)


def test_something_else_than_a_database(workdir):
    (workdir / "text.db").write_text("this is no database, but long enough to look like one\n" * 50)
    problem = check_store(f"sqlite:///{workdir}/text.db")
    assert "not a database" in problem


def test_check_creates_nothing(tmp_path):
    assert check_store(f"sqlite:///{tmp_path}/new.db") is None
    assert list(tmp_path.iterdir()) == []


def test_unwritable_artifact_directory_is_one_error_and_the_run_stays(workdir, tiny, client):
    (workdir / "file").write_text("")
    with pytest.raises(TrackingError, match=r"artifact directory .* cannot be written") as caught:
        tiny.fit(artifact_dir=str(workdir / "file"))
    assert "artifact_dir" in caught.value.remedy
    (run,) = client.search_runs([client.get_experiment_by_name("integrand").experiment_id])
    assert run.info.status == "FAILED"
    assert "cannot be written" in run.data.tags["error"]


def test_store_that_dies_after_the_start_does_not_reach_the_training(
    workdir, tiny, client, monkeypatch, caplog
):
    """Every call of the client fails from the first batch on; then the store returns, and sync sends the rest."""
    from mlflow.tracking import MlflowClient

    from integrand.tracking.spool import sync

    def dead(*args, **kwargs):
        raise ConnectionError("the server is gone")

    with monkeypatch.context() as away:
        for name in ("log_batch", "set_terminated", "update_run", "log_inputs"):
            away.setattr(MlflowClient, name, dead)
        trainer = tiny.fit(flush_every=0.05, exit_seconds=0.5)
    run_id = trainer.logger.run_id
    assert trainer.state.finished
    assert "training goes on" in caplog.text
    assert "integrand sync" in caplog.text
    assert client.get_run(run_id).info.status == "RUNNING"
    (result,) = sync.sync()
    assert (result.state, result.killed) == ("sent", False)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert [p.step for p in client.get_metric_history(run_id, "val/acc")] == [5, 11]
    assert find_run("latest").run_id == run_id


def test_finding_runs(workdir, client):
    ids = []
    for name in ("first", "second"):
        tracker = MLflowTracker(run_name=name)
        ids.append(tracker.run_id)
        tracker.end("FINISHED")
        time.sleep(0.002)  # MLflow orders by milliseconds
    assert find_run(ids[0][:10]).run_id == ids[0]
    assert find_run("second").run_id == ids[1]
    assert find_run("latest", experiment="integrand").run_id == ids[1]
    with pytest.raises(TrackingError, match="no run 'third'") as caught:
        find_run("third")
    assert "second" in caught.value.remedy
    with pytest.raises(TrackingError, match="no experiment 'nope'"):
        find_run("latest", experiment="nope")
    run = find_run(ids[0])
    with pytest.raises(TrackingError, match="no best checkpoint"):
        checkpoint(run)
    with pytest.raises(TrackingError, match="no configuration"):
        config_path(run)


def test_deleted_experiment_is_named_with_its_way_back(workdir, client):
    experiment = client.create_experiment("gone")
    client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match="'gone' has been deleted") as caught:
        _ = MLflowTracker(experiment="gone").experiment
    assert "restore" in caught.value.remedy


def test_uris(workdir, monkeypatch):
    assert resolve_uri() == f"sqlite:///{workdir}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert resolve_uri() == "http://server:5000"
    assert resolve_uri("sqlite:///x.db") == f"sqlite:///{workdir}/x.db"
    assert redact("postgresql://user:secret@host:5432/db") == "postgresql://***@host:5432/db"
    assert redact("sqlite:///a.db") == "sqlite:///a.db"


def test_looking_up_runs_imports_no_torch():
    code = "import sys, integrand.tracking.store.runs, integrand.tracking.spool.sync, integrand.cli.sync; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_replay_over_stored_points_adds_only_what_is_new(workdir, client):
    """The real store, with a batch that overlaps with what it has: a crash before the note of it."""
    from integrand.tracking.spool import operations
    from integrand.tracking.spool.delivery import Delivery

    run_id = client.create_run(client.create_experiment("batches", "x")).info.run_id
    points = [
        operations.metrics({"a": step / 3, "b": float("nan")}, step, step / 100) for step in range(1500)
    ]
    delivery = Delivery(client, run_id, None)
    delivery.send(points[:1000])
    delivery.send(points)
    assert delivery.refused == []
    for key in ("a", "b"):
        history = client.get_metric_history(run_id, key)
        assert [p.step for p in history] == list(range(1500))
        assert [p.timestamp for p in history] == [p["t"] for p in points]
    assert client.get_run(run_id).data.metrics["a"] == 1499 / 3


def test_a_store_whose_making_was_cut_short_is_made_anew(tmp_path):
    """MLflow makes its tables one by one, and a file with some of them never opens again."""
    script = """
import os, sys
from mlflow.store.db import utils
made = utils._initialize_tables
def cut(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE spans (a INTEGER)")
    os.kill(os.getpid(), 9)
utils._initialize_tables = cut
from integrand.tracking.store.opening import open_store
open_store(sys.argv[1])
"""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run([sys.executable, "-c", script, uri], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert len(open_store(uri).search_experiments()) == 1
    assert not list(tmp_path.glob(".*.partial*"))
