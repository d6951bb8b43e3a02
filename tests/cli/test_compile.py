"""`--model.compile true` through the command line, with the compiler that users get."""

import pytest

FIT = [
    "fit", "--model", "DiffusionModel", "--model.process", "VP", "--seed_everything", "3",
    "--model.backbone", "UNet", "--model.backbone.channels", "8", "--model.backbone.multipliers", "[1,2]",
    "--model.backbone.blocks", "1", "--data", "Digits", "--data.normalise", "symmetric", "--data.batch_size", "64",
    "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "4", "--trainer.limit_val_batches", "1",
]  # fmt: skip


@pytest.mark.slow  # inductor takes tens of seconds for a network
def test_a_compiled_fit_learns_the_same_and_can_be_tested_and_sampled(program):
    for compiled in ("false", "true"):
        result = program(*FIT, "--model.compile", compiled, timeout=900)
        assert result.returncode == 0, result.stderr
    runs = {run.data.params["model.compile"].lower(): run for run in program.runs()}
    losses = [runs[name].data.metrics["val/loss"] for name in ("true", "false")]
    # eight steps in float32, sums in another order
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    of_run = ["--run", runs["true"].info.run_id]
    for command in (["test", *of_run], ["sample", *of_run, "--n", "4", "--nfe", "3"]):
        result = program(*command, timeout=900)
        assert result.returncode == 0, result.stderr
