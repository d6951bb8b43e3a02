"""Records from folders and from a real MLflow store."""

import itertools
import os

import pytest

from integrand.cli import compare as command
from integrand.comparison.records.load import load_expected, load_folder
from integrand.comparison.records.store import load_mlflow
from integrand.comparison.records.traces import Traces
from integrand.errors import TrackingError, UsageError


def write(folder, run, name="record.json"):
    path = folder / run.run_id / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(run.to_json(), encoding="utf-8")


def test_folder_at_any_depth_without_history(tmp_path, make_run):
    run = make_run(history={"train/loss": [[0, 0, 0.1, 2.0]]})
    write(tmp_path / "a" / "b", run)
    (found,) = load_folder(tmp_path)
    assert (found.run_id, found.history, found.metrics) == (run.run_id, {}, run.metrics)
    traces = Traces()
    load_folder(tmp_path, traces=traces)
    # epoch from 1, seconds, value
    assert traces.series(run.run_id, "train/loss").tolist() == [[1.0, 0.1, 2.0]]


def test_folder_of_named_records_and_other_json(tmp_path, make_run):
    """`integrand-runs/records` holds one file per run id; other JSON beside them is not an error."""
    run = make_run()
    (tmp_path / f"{run.run_id}.json").write_text(run.to_json())
    (tmp_path / "notes.json").write_text('{"a": 1}')
    assert [r.run_id for r in load_folder(tmp_path)] == [run.run_id]


def test_of_two_copies_the_one_written_at_the_end_counts(tmp_path, make_run):
    run = make_run()
    write(tmp_path / "x", run)
    run.status, run.ended = "RUNNING", None
    write(tmp_path / "a", run)
    write(tmp_path / "z", run)
    (found,) = load_folder(tmp_path)
    assert found.status == "FINISHED"


def test_broken_record_is_named(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(TrackingError, match="is not a run record"):
        load_folder(tmp_path)


def test_empty_folder(tmp_path):
    with pytest.raises(UsageError, match="holds no run record"):
        load_folder(tmp_path)


def test_plan(tmp_path):
    assert load_expected(tmp_path / "plan.json") == []
    (tmp_path / "plan.json").write_text('{"cells": [{"key": "k", "experiment": "e", "seed": 3}]}')
    (found,) = load_expected(tmp_path / "plan.json")
    assert (found.run_key, found.label, found.seed) == ("k", "e", 3)
    (tmp_path / "plan.json").write_text("[]")
    with pytest.raises(TrackingError, match="plan"):
        load_expected(tmp_path / "plan.json")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A real sqlite store: an experiment of finished, failed and recordless runs, and an empty one."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    from integrand.record import RunRecord

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("exp", artifact_location=(folder / "art").as_uri())
    client.create_experiment("other", artifact_location=(folder / "art2").as_uri())

    def add(family, seed, status, acc, record_status="FINISHED"):
        tags = {
            "family": family,
            "seed": str(seed),
            "data": "digits",
            "suite": "exp",
            "run_key": f"{family}{seed}",
        }
        run_id = client.create_run(experiment, tags=tags, run_name=f"{family}-{seed}").info.run_id
        if acc is not None:
            client.log_metric(run_id, "final/test_acc", acc)
            record = RunRecord(
                run_id, status=record_status, family=family, seed=seed, metrics={"final/test_acc": acc},
                data={"name": "digits", "digest": "sha256:a"},
            )  # fmt: skip
            client.log_text(run_id, record.to_json(), "record.json")
        client.set_terminated(run_id, status)
        return run_id

    # collects the seeds of a cell of a suite, and is no run of its own
    client.create_run(experiment, tags={"role": "suite-parent"}, run_name="resnet")
    ids = {
        (family, seed): add(family, seed, "FINISHED", 0.8 + 0.01 * seed)
        for family, seed in itertools.product(("resnet", "neural-ode"), range(2))
    }
    ids["crashed"] = add("resnet", 2, "FAILED", None)
    # killed after it wrote a record that said it was still running
    ids["killed"] = add("neural-ode", 2, "KILLED", 0.5, "RUNNING")
    return uri, ids


def test_store_by_experiment(store):
    uri, ids = store
    runs = {r.run_id: r for r in load_mlflow("exp", tracking_uri=uri)}
    assert runs.keys() == set(ids.values())
    assert runs[ids["killed"]].status == "KILLED"
    crashed = runs[ids["crashed"]]
    assert (crashed.status, crashed.family, crashed.seed) == ("FAILED", "resnet", 2)
    assert crashed.data["name"] == "digits"
    assert crashed.ended is not None


def test_store_by_filter_and_by_id(store):
    uri, ids = store
    found = load_mlflow(filter_string="tags.family = 'resnet' and status = 'FINISHED'", tracking_uri=uri)
    assert {r.run_id for r in found} == {ids["resnet", 0], ids["resnet", 1]}
    (one,) = load_mlflow(run_ids=[ids["crashed"][:12]], tracking_uri=uri)
    assert one.run_id == ids["crashed"]


def test_store_from_the_environment(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store[0])
    assert len(load_mlflow("exp")) == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"experiment": "exq"}, "did you mean exp"),
        ({"experiment": "other"}, "no run found"),
        ({"experiment": "exp", "filter_string": "tags.x == oops"}, "does not understand the filter"),
        ({"experiment": "exp", "run_ids": ["zz"]}, "no runs have an id"),
    ],
)
def test_store_errors_help(store, arguments, says):
    with pytest.raises(UsageError, match=says):
        load_mlflow(**arguments, tracking_uri=store[0])


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(TrackingError, match="no tracking store"):
        load_mlflow("exp", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_text("hello" * 1000)
    with pytest.raises(TrackingError, match="not a database"):
        load_mlflow("exp", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


def test_command_on_a_store_lists_what_it_cannot_use(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.run(["--experiment", "exp", "--tracking-uri", store[0]]) == 0
    out = capsys.readouterr().out
    assert "resnet, seed 2 (resnet-2): failed" in out
    assert "neural-ode, seed 2 (neural-ode-2): killed" in out
    assert (tmp_path / "compare" / "exp" / "table.md").exists()


def test_command_reports_what_the_suite_planned(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = tmp_path / "integrand-runs" / "suites" / "exp" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text('{"cells": [{"key": "never", "experiment": "x/resnet", "seed": 5}]}')
    command.run(["--experiment", "exp", "--tracking-uri", store[0]])
    assert "x/resnet, seed 5: missing: planned by the suite" in capsys.readouterr().out


def test_a_teacher_is_looked_up_in_the_store(store):
    """Also where it is not among the runs asked for; one that the store does not have stays a file."""
    from mlflow.tracking import MlflowClient

    from integrand.record import RunRecord

    client = MlflowClient(tracking_uri=store[0])
    experiment = client.create_experiment("taught")
    teacher = store[1]["resnet", 0]
    run_id = client.create_run(experiment).info.run_id
    paths = {"teacher": f"/a/{teacher}/checkpoints/best.ckpt", "other": f"/a/{'e' * 32}/best.ckpt"}
    record = RunRecord(run_id, family="flow", config={"model": {"init_args": paths}})
    client.log_text(run_id, record.to_json(), "record.json")
    (found,) = load_mlflow("taught", tracking_uri=store[0])
    assert found.checkpoints == {teacher: "resnet-0"}


def test_evaluations_recorded_before_records_named_the_checkpoint(store):
    """Their tag names the run; a failed fit under a suite's parent run is no evaluation for that."""
    from mlflow.tracking import MlflowClient

    from integrand.record import RunRecord

    client = MlflowClient(tracking_uri=store[0])
    experiment = client.create_experiment("children", artifact_location="file:" + store[0][10:] + "-art3")
    found = {}
    for name, metrics in (("evaluation", {"test/acc": 0.5, "final/test_acc": 0.5}), ("fit", {})):
        run_id = client.create_run(experiment, tags={"mlflow.parentRunId": "cafe"}).info.run_id
        client.log_text(run_id, RunRecord(run_id, family="resnet", metrics=metrics).to_json(), "record.json")
        client.set_terminated(run_id, "FINISHED" if metrics else "FAILED")
        found[run_id] = name
    loaded = {found[r.run_id]: r.evaluates for r in load_mlflow("children", tracking_uri=store[0])}
    assert loaded == {"evaluation": {"run_id": "cafe", "epoch": None}, "fit": {}}
