"""Results from elsewhere: frames, W&B's CSV, experiments that somebody else recorded, several experiments."""

import shutil

import mlflow
import pandas as pd
import pytest

import integrand
from integrand.cli import compare as command
from integrand.comparison.analysis import compare, compare_selected
from integrand.comparison.measures import choose_metric
from integrand.comparison.records.frames import records_of
from integrand.comparison.records.load import Selection
from integrand.errors import UsageError


@pytest.fixture
def frame(three_families):
    """The three families as a table."""
    rows = [
        {"family": r.family, "seed": r.seed, "final/test_acc": r.metrics["final/test_acc"], "note": "x"}
        for r in three_families
    ]
    return pd.DataFrame(rows)


def test_a_frame_gives_the_statistics_of_the_recorded_runs(frame, three_families):
    found = integrand.compare(frame, "final/test_acc")
    expected = compare(three_families, choose_metric(three_families, "final/test_acc"))
    assert {r.group.label: r.quality for r in found.parts[0].rows} == {
        r.group.label: r.quality for r in expected.parts[0].rows
    }
    assert found.parts[0].tests == expected.parts[0].tests


def test_columns_are_named_where_they_are_called_otherwise(frame):
    renamed = frame.rename(columns={"family": "net", "seed": "trial", "final/test_acc": "gap"})
    with pytest.raises(UsageError, match="does not say what is compared"):
        integrand.compare(renamed, "gap", mode="min")
    with pytest.raises(UsageError, match="no column 'nett', did you mean net"):
        integrand.compare(renamed, "gap", group="nett")
    with pytest.raises(UsageError, match="whether a larger or a smaller"):
        integrand.compare(renamed, "gap", group="net", seed="trial")
    found = integrand.compare(renamed, "gap", group="net", seed="trial", mode="min")
    assert found.parts[0].rows[0].group.label == "no-block"
    assert [len(row.group.runs) for row in found.parts[0].rows] == [4, 4, 4]
    both = integrand.compare(renamed, "gap", group=["net", "note"], seed="trial", mode="min")
    assert {row.group.label for row in both.parts[0].rows} >= {"resnet note=x"}


def test_an_export_of_wandb(frame, tmp_path):
    table = frame.rename(columns={"family": "model", "final/test_acc": "test/acc"})
    table.insert(0, "Name", [f"run-{i}" for i in range(len(table))])
    table.insert(1, "State", ["finished"] * (len(table) - 1) + ["crashed"])
    table.to_csv(tmp_path / "export.csv", index=False)
    found = integrand.compare(tmp_path / "export.csv", "test/acc")
    assert {row.group.label: len(row.group.runs) for row in found.parts[0].rows} == {
        "neural-ode": 4,
        "resnet": 4,
        "no-block": 3,
    }
    (crashed,) = [o for o in found.left_out if o.kind == "failed"]
    assert (crashed.label, crashed.seed) == ("no-block", 3)


@pytest.mark.parametrize("content", ["", "a\n", '"'])
def test_what_is_no_table_is_told(tmp_path, content):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(UsageError):
        integrand.compare(tmp_path / "x.csv", "acc", group="a")
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        integrand.compare("nothing.csv")


def test_data_sets_are_compared_apart(frame):
    two = pd.concat([frame.assign(data="a"), frame.assign(data="b")])
    assert len(integrand.compare(two, "final/test_acc").parts) == 2
    assert {r.data["name"] for r in records_of(two.rename(columns={"data": "set"}), data="set")} == {"a", "b"}


@pytest.fixture
def store(tmp_path, fresh_database, monkeypatch):
    """Two experiments that somebody has recorded with MLflow alone."""
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    for name, lift in (("first", 0.0), ("second", 0.1)):
        number = client.create_experiment(name)
        for seed in range(3):
            for lr in ("0.1", "0.2"):
                run_id = client.create_run(number).info.run_id
                for key, value in {"model": "mlp", "lr": lr, "seed": str(seed)}.items():
                    client.log_param(run_id, key, value)
                client.log_metric(run_id, "val_acc", 0.5 + lift + float(lr) / 2 + seed / 100)
                client.set_terminated(run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    return uri


def test_an_experiment_of_somebody_else(store):
    found = integrand.compare("first", "val_acc")
    assert {row.group.label: round(row.quality.mean, 3) for row in found.parts[0].rows} == {
        "mlp lr=0.1": 0.56,
        "mlp lr=0.2": 0.61,
    }
    assert all(len(row.group.runs) == 3 for row in found.parts[0].rows)
    mlflow.set_tracking_uri(store)
    searched = integrand.compare(mlflow.search_runs(experiment_names=["first"]), "val_acc")
    assert {r.group.label: r.quality for r in searched.parts[0].rows} == {
        r.group.label: r.quality for r in found.parts[0].rows
    }


@pytest.mark.parametrize(
    "words",
    [
        ["first", "second"],
        ["--experiment", "first", "--experiment", "second"],
        ["--experiment", "first", "second"],
    ],
)
def test_several_experiments(store, words):
    args = command.parser().parse_args([*words, "--metric", "val_acc"])
    found = command.compared(args)
    assert found.title == "first+second"
    assert sum(len(row.group.runs) for row in found.parts[0].rows) == 12
    assert {row.group.label for row in found.parts[0].rows} >= {"mlp lr=0.1 [first]", "mlp lr=0.1 [second]"}


def test_one_of_several_that_does_not_exist_is_named(store):
    with pytest.raises(UsageError, match="no experiment 'secnd'"):
        compare_selected(Selection(("first", "secnd")), "val_acc")
