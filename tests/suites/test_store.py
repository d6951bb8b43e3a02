"""Which recorded run counts for a cell."""

import time
from types import SimpleNamespace

import pytest

from integrand.suites.store import choose, stored_cells
from integrand.tracking.processes import process
from integrand.tracking.store import names


def mlflow_run(key, status, start=0, seconds=5.0, **tags):
    end = None if status == "RUNNING" else start + 1000 * seconds
    info = SimpleNamespace(run_id=f"{key}-{status}-{start}", status=status, start_time=start, end_time=end)
    return SimpleNamespace(info=info, data=SimpleNamespace(tags={names.RUN_KEY: key} | tags, metrics={}))


def test_a_finished_run_wins_over_later_failures():
    runs = [mlflow_run("k", "FINISHED", 10), mlflow_run("k", "FAILED", 20), mlflow_run("k", "KILLED", 5)]
    chosen = choose(runs)["k"]
    assert (chosen.state, chosen.run_id, chosen.seconds) == ("finished", "k-FINISHED-10", 5.0)
    assert choose(runs[::-1]) == choose(runs)


def test_the_latest_failure_is_shown_with_its_message():
    runs = [
        mlflow_run("k", "FAILED", 20, **{names.ERROR_MESSAGE: "new"}),
        mlflow_run("k", "FAILED", 10, **{names.ERROR_MESSAGE: "old"}),
    ]
    assert choose(runs)["k"].error == "failed: new"


def test_interrupted_runs_can_go_on_and_pruned_ones_cannot():
    interrupted = choose([mlflow_run("k", "FAILED", 20), mlflow_run("k", "KILLED", 10)])["k"]
    assert (interrupted.state, interrupted.error) == ("interrupted", "killed")
    pruned = mlflow_run("k", "KILLED", **{names.STOPPED_BY: "pruner"})
    assert choose([pruned])["k"].state == "pruned"


def test_a_run_over_budget_says_how_much_it_was():
    tags = {names.STOPPED_BY: "nfe", names.STOP_LIMIT: "2e+06", names.STOP_REASON: "all used"}
    cell = choose([mlflow_run("k", "FINISHED", 10, **tags), mlflow_run("k", "KILLED", 20)])["k"]
    assert (cell.state, cell.stopped, cell.error) == ("over budget", ("nfe", 2e6), "all used")


def test_the_time_between_two_processes_of_a_run_is_not_its_own():
    run = mlflow_run("k", "FINISHED", seconds=9000.0, **{names.RESUMED: "1"})
    run.data.metrics = {"cost/fit_seconds": 12.0}
    assert choose([run])["k"].seconds == 12.0


def test_running_only_while_its_process_lives():
    alive = mlflow_run("a", "RUNNING", 1, **process.identity())
    dead = mlflow_run("d", "RUNNING", 1, **process.identity() | {names.PROCESS_START: "1"})
    states = {key: cell.state for key, cell in choose([alive, dead]).items()}
    assert states == {"a": "running", "d": "interrupted"}


def test_another_hosts_process_is_believed_while_it_gives_signs_of_life():
    other = process.identity() | {names.PROCESS_HOST: "other"}
    now = time.time()
    signs = {
        "fresh": other,
        "silent": other | {names.PROCESS_BEAT: str(round(now - process.SILENT_SECONDS - 5))},
        "older version": {k: v for k, v in other.items() if k != names.PROCESS_BEAT},
    }
    states = {k: choose([mlflow_run("k", "RUNNING", 1, **tags)])["k"].state for k, tags in signs.items()}
    assert states == {"fresh": "running", "silent": "interrupted", "older version": "interrupted"}
    just_started = mlflow_run("k", "RUNNING", 1000 * now - 5000, **signs["older version"])
    assert choose([just_started])["k"].state == "running"


def test_runs_outside_a_suite_do_not_count():
    run = mlflow_run("k", "FINISHED")
    run.data.tags = {}
    assert choose([run]) == {}


def test_a_real_store(tmp_path, monkeypatch):
    from integrand.tracking.store.opening import open_store

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert stored_cells("s", uri) == {}
    assert list(tmp_path.iterdir()) == [], "looking must not create a store"
    assert stored_cells("s", uri, create=True) == {}
    client = open_store(uri)
    experiment = client.create_experiment("s")
    for key in ("x", "y"):
        run_id = client.create_run(experiment, tags={names.RUN_KEY: key}).info.run_id
        client.set_terminated(run_id, "FINISHED" if key == "x" else "FAILED")
    assert {k: c.state for k, c in stored_cells("s", uri).items()} == {"x": "finished", "y": "failed"}


def test_a_store_that_is_none(tmp_path):
    from integrand.errors import TrackingError

    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(TrackingError):
        stored_cells("s", f"sqlite:///{tmp_path}/mlflow.db")
