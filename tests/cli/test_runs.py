"""Going on with a recorded run: test, resume, predict; and how runs end when something goes wrong."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from integrand.cli.suite_tables import make_console
from integrand.record import RunRecord


def fit(program, small, *more):
    result = program("fit", *small, *more)
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    return run


def last_line(result):
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def trained(program, small):
    return fit(program, small)


def test_test_and_predict_land_in_the_run_and_another_solver_in_a_child(program, trained):
    run_id = trained.info.run_id
    assert program("test", "--run", run_id[:8]).returncode == 0
    (run,) = program.runs()
    assert run.data.metrics["final/test_acc"] == run.data.metrics["test/acc"]
    assert run.info.status == "FINISHED"

    assert program("predict", "--run", "latest").returncode == 0
    (run,) = program.runs()
    rows = list(csv.DictReader((program.artifacts(run) / "predictions.csv").open()))
    assert len(rows) == 360  # the test split of the digits
    assert sum(float(v) for k, v in rows[0].items() if k.startswith("p(")) == pytest.approx(1, abs=1e-4)

    # the same weights under another solver, which takes nothing over from the run's own: a measurement of
    # its own, shown under the run
    other = ["--model.solver", "Midpoint", "--model.solver.step_size", "0.1"]
    result = program("test", "--run", run_id, *other)
    assert result.returncode == 0, result.stderr
    (child,) = [r for r in program.runs() if r.info.run_id != run_id]
    assert child.data.tags["mlflow.parentRunId"] == run_id
    assert child.data.metrics["solver/test_nfe_forward"] == 20
    # what pairs the two in a comparison
    record = RunRecord.read(program.artifacts(child) / "record.json")
    assert record.evaluates == {"run_id": run_id, "epoch": run.data.metrics["best/epoch"]}
    (own,) = [r for r in program.runs() if r.info.run_id == run_id]
    assert RunRecord.read(program.artifacts(own) / "record.json").evaluates == record.evaluates
    assert run.data.metrics["solver/test_nfe_forward"] == 8


def test_a_checkpoint_alone_is_enough_to_test(program, trained):
    checkpoint = program.artifacts(trained) / "checkpoints/best.ckpt"
    result = program("test", "--ckpt_path", str(checkpoint))
    assert result.returncode == 0, result.stderr
    other = next(r for r in program.runs() if r.info.run_id != trained.info.run_id)
    assert other.data.metrics["solver/test_nfe_forward"] == 8


def test_the_last_checkpoint_of_a_run_is_a_measurement_of_its_own(program, trained):
    """Papers report the last epoch; by default the best is tested, and its figures must stay."""
    run_id = trained.info.run_id
    result = program("test", "--run", run_id, "--ckpt_path", "last")
    assert result.returncode == 0, result.stderr
    (child,) = [r for r in program.runs() if r.info.run_id != run_id]
    assert child.data.tags["mlflow.parentRunId"] == run_id
    last = torch.load(program.artifacts(trained) / "checkpoints/last.ckpt", weights_only=False)["epoch"]
    record = RunRecord.read(program.artifacts(child) / "record.json")
    assert record.evaluates == {"run_id": run_id, "epoch": last}
    result = program("test", "--run", run_id, "--ckpt_path", "best")
    assert result.returncode == 0, result.stderr
    assert len(program.runs()) == 2  # what is the default lands in the run


def test_resume_lands_in_the_same_run(program, trained):
    run_id = trained.info.run_id
    result = program("fit", "--resume", run_id, "--trainer.max_epochs", "4")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.info.run_id == run_id
    assert run.info.status == "FINISHED"
    steps = [m.step for m in program.client.get_metric_history(run_id, "train/loss_step")]
    assert steps == sorted(set(steps)), "a step recorded twice"
    assert len(steps) == 4 * 2


def test_what_a_killed_fit_had_not_sent_is_enough_to_go_on(program, small):
    """Its configuration lay in the spool still, and the store had only its name."""
    late = ["--trainer.logger.flush_every", "10000", "--trainer.logger.flush_points", "1000000"]
    with program.begun("fit", *small, *late, "--trainer.max_epochs", "100000") as process:
        deadline = time.monotonic() + 120
        while not list(program.folder.glob("mlartifacts/*/*/artifacts/checkpoints/last.ckpt")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    (run,) = program.runs()
    assert not (program.artifacts(run) / "config").exists()
    result = program("fit", "--resume", "--trainer.max_epochs", "100", "--trainer.max_steps", "1")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.info.status == "FINISHED"
    assert (program.artifacts(run) / "config/fit.yaml").exists()


def test_nan_loss_ends_failed_with_one_line_and_keeps_what_was_recorded(program, small):
    result = program("fit", *small, "--model.optimizer", "SGD", "--model.optimizer.lr", "1e30")
    assert result.returncode == 1
    assert last_line(result).startswith("integrand: error: ")
    assert "→" in last_line(result)
    (run,) = program.runs()
    assert run.info.status == "FAILED"
    assert "train/loss_step" in run.data.metrics
    assert (program.artifacts(run) / "record.json").exists()


def test_unreachable_store_is_one_line_before_training(program, small):
    begin = time.monotonic()
    result = program("fit", *small, env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert result.returncode == 1
    assert "127.0.0.1:9" in last_line(result)
    assert "→" in last_line(result)
    assert "epoch 1/" not in result.stdout
    # not a benchmark: MLflow's own retries would take minutes
    assert time.monotonic() - begin < 120


def test_artifact_directory_that_cannot_be_written_is_one_line(program, small):
    (program.folder / "file").write_text("in the way")
    result = program("fit", *small, "--trainer.logger.artifact_dir", "file/artifacts")
    assert result.returncode == 1
    assert "file/artifacts" in last_line(result)
    assert "epoch 1/" not in result.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_killed(program, small, number, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "integrand", "fit", *small, "--trainer.max_epochs", "100000"],
        cwd=program.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a shell's background jobs ignore SIGINT; this process must not inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stdout:
        if line.startswith("epoch 2/"):  # the first epoch is recorded as a whole by now
            break
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == code
    (run,) = program.runs()
    assert run.info.status == "KILLED"
    assert "train/loss" in run.data.metrics


@pytest.mark.slow
def test_two_processes_make_one_run(program, small):
    result = program("fit", *small, "--trainer", "configs/trainer/ddp_cpu.yaml", "--test_after_fit", "true")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    assert run.info.status == "FINISHED"
    # 128 images for each process: one batch an epoch; evaluations of both are averaged per batch
    assert run.data.metrics["solver/nfe_forward"] == 8
    assert "final/test_acc" in run.data.metrics


def test_what_asks_for_colours_is_no_terminal(monkeypatch):
    """As a notebook does: a live display would leave every one of its lines there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not make_console().is_terminal
