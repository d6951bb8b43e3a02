"""The families of images on vectors, through the program: classes, targets, and what does not fit."""

import csv

import pytest

from integrand.record import RunRecord

QUICK = ["--trainer.max_epochs", "2", "--test_after_fit", "true"]


def test_a_family_of_images_classifies_points_of_the_plane(program):
    arguments = ["--model", "HeavyBallNeuralODE", "--model.channels", "4", "--data", "ConcentricAnnuli"]
    result = program("fit", *arguments, "--data.train_size", "128", "--data.test_size", "64", *QUICK)
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.data.tags["task"] == "classification"
    assert run.data.tags["data"] == "concentric-annuli"
    assert 0 <= run.data.metrics["final/test_acc"] <= 1
    assert run.data.metrics["solver/test_nfe_forward"] > 0
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert record.data["spec"]["kind"] == "vector"
    assert record.monitor == {"name": "val/acc", "mode": "max"}
    assert {"figures/confusion_val.png", "figures/confusion_test.png"} <= set(record.figures)
    assert "figures/trajectories.png" in record.figures


def test_it_answers_with_numbers_in_their_own_units(program):
    result = program("fit", "--model", "ResNet", "--model.channels", "8", "--data", "Diabetes", *QUICK)
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.data.tags["task"] == "regression"
    # progression has a deviation of 77: an error in other units would be about 1
    assert 20 < run.data.metrics["final/test_rmse"] < 200
    assert 0 < run.data.metrics["final/test_mae"] < run.data.metrics["final/test_rmse"]
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert record.monitor == {"name": "val/loss", "mode": "min"}
    assert "figures/predicted_test.png" in record.figures

    assert program("predict", "--run", "latest").returncode == 0
    rows = list(csv.DictReader((program.artifacts(run) / "predictions.csv").open()))
    assert len(rows) == 110
    assert set(rows[0]) == {"index", "progression", "true(progression)"}
    errors = [(float(row["progression"]) - float(row["true(progression)"])) ** 2 for row in rows]
    rmse = (sum(errors) / len(errors)) ** 0.5
    assert rmse == pytest.approx(run.data.metrics["final/test_rmse"], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--model", "NeuralODE", "--data", "TwoMoons"],
            "NeuralODE is a model of outputs given an input, but two-moons asks for a density",
        ),
        (
            ["--model", "ResNet", "--data", "Wine", "--model.downsample", "1"],
            "downsample belongs to images",
        ),
        (
            ["--model", "ResNet", "--data", "Wine", "--model.layout", "SharedLayout"],
            "SharedLayout is for images, but wine holds vectors",
        ),
        (
            ["--model", "NeuralODE", "--data", "Wine", "--model.layout", "VectorState"],
            "channels=32, but the state is the input, which has 13 components",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(program, arguments, said):
    result = program("fit", *arguments, "--trainer.logger", "false")
    assert result.returncode == 2
    line = program.refusal(result)
    assert said in line
    assert "→" in line
