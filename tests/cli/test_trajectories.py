"""Series through the program: forecasts, classes, training on derivatives, and what does not fit."""

import csv

import pytest

from integrand.record import RunRecord

SMALL = ["--data.trajectories", "4", "--data.val_trajectories", "2", "--data.test_trajectories", "2"]
QUICK = ["--trainer.max_epochs", "2"]


def test_a_family_of_images_forecasts_trajectories(program):
    result = program("fit", "--model", "HeavyBallNeuralODE", "--data", "Pendulum", *SMALL, *QUICK)
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.data.tags["task"] == "forecasting"
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert record.monitor == {"name": "val/mse", "mode": "min"}
    assert record.data["spec"]["kind"] == "series"
    assert record.data["spec"]["question"]["kind"] == "forecast"

    assert program("test", "--run", "latest").returncode == 0
    run = program.client.get_run(run.info.run_id)
    names = ("mse", "mae", "nrmse", "valid_time", "energy_error")
    assert all(run.data.metrics[f"final/test_{name}"] >= 0 for name in names)
    assert run.data.metrics["solver/test_nfe_forward"] > 0
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert {f"figures/{name}_test.png" for name in ("forecast", "phase", "energy", "horizon")} <= set(
        record.figures
    )

    assert program("predict", "--run", "latest").returncode == 0
    rows = list(csv.DictReader((program.artifacts(run) / "predictions.csv").open()))
    assert set(rows[0]) == {"index", "time", "q", "p", "true(q)", "true(p)"}
    assert len(rows) == 2 * 200  # two trajectories of twice the training span
    errors = [(float(row[c]) - float(row[f"true({c})"])) ** 2 for row in rows for c in "qp"]
    assert sum(errors) / len(errors) == pytest.approx(run.data.metrics["final/test_mse"], rel=1e-3)


def test_training_on_derivatives_forecasts_all_the_same(program):
    arguments = ["--model", "NeuralODE", "--data", "Spring", "--data.learn", "derivatives"]
    result = program("fit", *arguments, *SMALL, *QUICK, "--test_after_fit", "true")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    # one evaluation of the field at each observation, and none repeated behind it
    assert run.data.metrics["solver/nfe_forward"] == 1
    assert run.data.metrics["solver/test_nfe_forward"] > 1
    assert "train/mse" not in run.data.metrics
    assert run.data.metrics["final/test_energy_error"] >= 0


def test_a_family_of_images_classifies_series(program):
    result = program("fit", "--model", "ResNet", "--model.channels", "8", "--data", "JapaneseVowels", *QUICK)
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.data.tags["task"] == "classification"
    assert 0 <= run.data.metrics["best/val_acc"] <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--model", "ResNet", "--data", "Pendulum", "--data.sampling", "random"],
            "is a map of one step of sampling, but the series of pendulum have times of their own",
        ),
        (
            ["--model", "NeuralODE", "--model.channels", "5", "--data", "Pendulum"],
            "channels=5, but the state is the observation, which has 2",
        ),
        (
            ["--model", "STEER", "--data", "Pendulum"],
            "STEER answers classes and targets, but pendulum asks for a forecast",
        ),
        (
            ["--model", "HeavyBallNeuralODE", "--data", "Pendulum", "--data.learn", "derivatives"],
            "has no rate of the observed state to compare with",
        ),
        (
            ["--model", "NeuralODE", "--data", "Pendulum", "--data.context", "300"],
            "nothing is left to ask for after 300 given",
        ),
        (
            ["--model", "NeuralODE", "--data", "Pendulum", "--data.horizon", "101"],
            "has 101 observations: 1 given leave 100 to ask for, not 101 → set data.horizon to 100 or less",
        ),
        (["--model", "NeuralODE", "--data", "OrnsteinUhlenbeck"], "asks for a density"),
    ],
)
def test_what_does_not_fit_is_one_line(program, arguments, said):
    result = program("fit", *arguments, "--trainer.logger", "false", "--trainer.max_epochs", "1")
    assert result.returncode == 2
    line = program.refusal(result)
    assert said in line
    assert "→" in line
