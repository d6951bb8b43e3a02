"""A run made again is the same run bit for bit, and where it is not, that is said."""

import math

import pytest
import torch

from integrand.cli.reproduce import differences, drift
from integrand.record import RunRecord


def test_differences_name_the_series_and_the_gap():
    old = {
        "a": [(0, 1.0), (1, math.nan)],
        "b": [(0, 1.0)],
        "c": [(0, 1.0)],
        "d": [(0, 1.0)],
        "test/x": [(0, 1.0)],
    }
    assert not list(differences(old, old))
    new = {"a": [(0, 1.0), (1, math.nan)], "b": [(0, 1.5)], "c": [(1, 1.0)]}
    assert [line.partition(":")[0] for line in differences(old, new)] == ["b", "c", "d"]
    assert "0.5" in next(iter(differences(old, new)))


def test_what_ends_a_fit_counts_as_it_was_said_last():
    """A run that was gone on with has ended twice."""
    once = {"best/val_loss": [(9, 0.5)], "val/loss": [(4, 0.7), (9, 0.5)]}
    twice = {"best/val_loss": [(4, 0.7), (9, 0.5)], "val/loss": [(4, 0.7), (9, 0.5)]}
    assert not list(differences(twice, once))
    assert len(list(differences(twice, {**once, "best/val_loss": [(9, 0.6)]}))) == 1
    assert len(list(differences(twice, {**once, "val/loss": [(9, 0.5)]}))) == 1


def test_drift_names_code_libraries_data_and_device():
    old = RunRecord("a", data={"digest": "x"}, provenance={"versions": {"torch": "1"}, "git_commit": "c"})
    assert not list(drift(old, old))
    new = RunRecord("b", data={"digest": "y"}, provenance={"versions": {"torch": "2"}, "git_commit": "d"})
    assert [line.split()[0] for line in drift(old, new)] == ["data", "git_commit", "torch"]
    assert list(drift(None, new))


@pytest.mark.slow
def test_through_the_program(program, small):
    assert program("fit", *small).returncode == 0
    (run,) = program.runs()
    result = program("reproduce", run.info.run_id[:8])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "bit for bit" in result.stdout
    assert program("fit", "--resume", run.info.run_id, "--trainer.max_epochs", "3").returncode == 0
    result = program("reproduce", run.info.run_id[:8])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "epoch 3/3" in result.stdout + result.stderr
    program.client.log_metric(run.info.run_id, "train/loss", 7.0, step=999)
    result = program("reproduce", "latest")
    assert result.returncode == 3, result.stdout + result.stderr
    assert "train/loss: 4 points then, 3 now" in result.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_with_deterministic_algorithms(program, small):
    on_it = ["--trainer.accelerator", "gpu", "--trainer.devices", "1", "--trainer.deterministic", "true"]
    fitted = program.cold("fit", *small, *on_it)
    assert fitted.returncode == 0, fitted.stderr
    result = program.cold("reproduce", "latest")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "bit for bit" in result.stdout
