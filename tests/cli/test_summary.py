"""What a fit says at its end, the list of runs, the best of them, and the way to MLflow's pages."""

import json
import socket

import pytest

from integrand.cli.runs import sorted_by, value_of
from integrand.cli.summary import summary
from integrand.cli.ui import link
from integrand.errors import UsageError
from integrand.record import RunRecord


def record(run_id="abcdef123", **kwargs):
    given = {
        "run_name": "net-set-s0",
        "status": "FINISHED",
        "experiment": "integrand",
        "monitor": {"name": "val/acc", "mode": "max"},
        "metrics": {
            "best/val_acc": 0.91,
            "best/epoch": 1.0,
            "final/val_acc": 0.9,
            "basics/total_epochs": 3.0,
        },
        "cost": {"parameters": 1234.0, "fit_seconds": 5.0},
    }
    return RunRecord(run_id=run_id, **{**given, **kwargs})


def test_the_block_says_how_good_at_what_cost_and_what_next():
    text = summary(record(figures=["figures/a.png"]), "/runs/one", "http://u:secret@host:5000")
    assert "run      net-set-s0  (--run abcdef)  FINISHED" in text
    assert "best     val/acc 91 %, epoch 2 of 3" in text
    assert "cost     1,234 parameters, 5 s" in text
    assert "figures  1 in /runs/one/figures" in text
    assert "host:5000, experiment integrand" in text
    assert "secret" not in text
    assert "next     integrand test --run abcdef" in text
    assert "--resume" not in text


def test_what_was_not_finished_can_go_on_and_what_was_tested_is_predicted():
    text = summary(record(status="KILLED"), None, "sqlite:///a.db")
    assert "integrand fit --resume abcdef" in text
    assert "figures" not in text
    tested = record(metrics={"final/val_acc": 0.9, "final/test_acc": 0.8})
    assert "test/acc 80 %" in summary(tested, None, "sqlite:///a.db")
    assert "integrand predict --run abcdef" in summary(tested, None, "sqlite:///a.db")


def test_a_validation_quantity_is_that_of_the_best_epoch():
    assert value_of(record(), "val/acc") == 0.91
    assert value_of(record(), "final/val_acc") == 0.9
    assert value_of(record(), "fit_seconds") == 5.0
    assert value_of(record(metrics={"val/loss": float("nan")}), "val/loss") is None


def test_the_best_comes_first_whichever_direction_is_better():
    low, high = (record(f"{i}", metrics={"best/val_acc": i, "val/loss": i}) for i in (0.1, 0.9))
    none = record("none", metrics={})
    assert sorted_by([low, none, high], "val/acc") == [high, low, none]
    assert sorted_by([high, none, low], "val/loss") == [low, high, none]
    with pytest.raises(UsageError, match="no run records 'val/acd', did you mean"):
        sorted_by([record(metrics={"val/acc": 1.0})], "val/acd")


def test_the_link_opens_on_training_runs():
    address = link("http://127.0.0.1:5000/", "7")
    assert address == "http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning"


def test_runs_and_the_best_of_them(program, small):
    quick = [*small, "--trainer.max_epochs", "1"]
    done = program("fit", *quick)
    assert done.returncode == 0, done.stderr
    assert "next     integrand test --run" in done.stdout
    assert program("fit", *quick, "--model.optimizer.lr", "1e-9").returncode == 0
    listed = program("runs", "--json", "--sort", "val/loss")
    assert listed.returncode == 0, listed.stderr
    first, second = json.loads(listed.stdout)
    assert first["val/loss"] < second["val/loss"]
    best = program("test", "--run", "best:val/loss")
    assert best.returncode == 0, best.stderr
    metrics = {r.info.run_id: r.data.metrics for r in program.runs()}
    assert "final/test_acc" in metrics[first["run_id"]]
    assert "final/test_acc" not in metrics[second["run_id"]]
    refused = program("test", "--run", "best:val/nothing")
    assert refused.returncode == 2
    assert "'nothing'" in refused.stderr


def test_a_taken_port_is_one_line(program):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = program("ui", "--port", str(taken.getsockname()[1]))
    assert refused.returncode == 2
    assert "cannot be used" in refused.stderr
    assert "--port" in refused.stderr
