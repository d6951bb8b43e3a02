"""What a run leaves behind, looked at in the store as a user would."""

import json
import math
import statistics

import pytest
import torch

from integrand import quantities
from integrand.errors import NonFiniteLossError
from integrand.record import RunRecord
from integrand.tracking.spool import folders
from integrand.tracking.store.runs import checkpoint, find_run, read_record

STEPS = 12  # 2 epochs of 96 samples in batches of 16


@pytest.fixture
def fitted(workdir, tiny):
    return tiny.fit()


def artifacts_of(run):
    from pathlib import Path

    root = Path(run.info.artifact_uri)
    return root, {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def test_a_plain_fit_leaves_everything(fitted, only_run, client):
    run = only_run()
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("tiny-tiny-s0-")
    root, artifacts = artifacts_of(run)
    assert artifacts >= {
        "record.json",
        "provenance.json",
        "provenance/environment.txt",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "figures/loss.png",
        "figures/nfe.png",
        "figures/confusion_val.png",
        "figures/trajectories.png",
        "figures/descriptions.json",
    }
    assert not any("=" in path for path in artifacts)
    assert not [name for name in run.data.metrics if quantities.find(name) is None]
    assert run.data.tags["family"] == "tiny"
    assert run.data.tags["solver"] == "stand-in"
    assert run.inputs.dataset_inputs[0].dataset.name == "tiny"
    assert not list(folders.spool_root().iterdir())  # all of it has been sent
    descriptions = json.loads((root / "figures/descriptions.json").read_text())
    assert "48 val samples" in descriptions["figures/confusion_val.png"]


def test_metrics_are_those_of_the_training(fitted, only_run, client):
    run = only_run()
    metrics = run.data.metrics
    logged = {k: v.item() for k, v in fitted.callback_metrics.items()}
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert metrics[name] == pytest.approx(logged[name], abs=0)
        assert metrics["final/" + name.replace("/", "_")] == metrics[name]
    history = client.get_metric_history(run.info.run_id, "val/acc")
    scores = [p.value for p in history]
    best = scores.index(max(scores))
    assert metrics["best/val_acc"] == max(scores)
    assert metrics["best/epoch"] == best
    losses = [p.value for p in client.get_metric_history(run.info.run_id, "val/loss")]
    assert metrics["best/val_loss"] == losses[best]  # of the same epoch, not the smallest of all
    steps = client.get_metric_history(run.info.run_id, "train/loss_step")
    assert [p.step for p in steps] == [1, 3, 5, 7, 9, 11]
    assert metrics["cost/parameters"] == sum(p.numel() for p in fitted.model.parameters())
    assert metrics["cost/flops_forward_per_sample"] == 2 * (4 * 8 + 8 * 3)  # two matrix products


def test_solver_metrics_are_sums_over_solves_and_means_over_batches(fitted, only_run, client):
    """The stand-in solves twice: NFE 10 + step and 1; the backward pass adds 7 evaluations and 5 products."""
    run = only_run()
    per_step = [11 + step for step in range(STEPS)]
    points = client.get_metric_history(run.info.run_id, "solver/nfe_forward_step")
    assert [(p.step, p.value) for p in points] == [(s, per_step[s]) for s in (1, 3, 5, 7, 9, 11)]
    epochs = [p.value for p in client.get_metric_history(run.info.run_id, "solver/nfe_forward")]
    assert epochs == [sum(per_step[:6]) / 6, sum(per_step[6:]) / 6]
    metrics = run.data.metrics
    assert metrics["solver/nfe_forward_total"] == sum(per_step)
    assert metrics["solver/nfe_backward_total"] == 7 * STEPS
    assert metrics["solver/nfe_backward"] == 7
    assert metrics["solver/vjps"] == 5
    assert (metrics["solver/accepted"], metrics["solver/rejected"]) == (4, 1)
    assert (metrics["solver/min_step"], metrics["solver/max_step"]) == (0.1, 0.9)
    assert metrics["solver/val_nfe_forward"] == 11 + STEPS


def test_times_per_epoch_and_step_leave_the_first_epoch_out(workdir, tiny, only_run, client):
    """The first epoch warms up: from the second on each figure is the median of the epochs after it."""
    tiny.fit(epochs=4)
    run_id = only_run().info.run_id

    def series(name):
        return [point.value for point in client.get_metric_history(run_id, f"cost/{name}")]

    epochs = series("epoch_seconds")
    assert len(set(epochs)) == 4, "clocks of nanoseconds: no two epochs are alike"
    settled = [statistics.median(epochs[1 : n + 1] or epochs[:1]) for n in range(4)]
    assert series("seconds_per_epoch") == settled
    # 6 steps of 16 samples an epoch
    assert series("seconds_per_step") == pytest.approx([seconds / 6 for seconds in settled])
    rates = [96 / seconds for seconds in epochs]
    assert series("samples_per_second") == pytest.approx(
        [statistics.median(rates[1 : n + 1] or rates[:1]) for n in range(4)]
    )


def test_record_holds_the_whole_run(fitted, only_run, client):
    run = only_run()
    record = read_record(client, run.info.run_id)
    assert RunRecord.read(folders.record_path(run.info.run_id)) == record
    assert (record.status, record.family, record.solver, record.gradient) == (
        "FINISHED",
        "tiny",
        "stand-in",
        "adjoint",
    )
    assert record.seed == 0
    assert record.monitor == {"name": "val/acc", "mode": "max"}
    assert record.data["n_train"] == 96
    assert record.data["spec"]["question"]["names"] == ["a", "b", "c"]
    assert record.started < record.ended
    assert record.metrics["final/val_acc"] == run.data.metrics["final/val_acc"]
    assert record.cost["parameters"] == run.data.metrics["cost/parameters"]
    assert set(record.cost) >= {
        "seconds_per_epoch",
        "seconds_per_step",
        "samples_per_second",
        "peak_memory_mb",
    }
    points = record.history["val/loss"]
    assert [p[0] for p in points] == [5, 11]
    assert [p[1] for p in points] == [0, 1]
    assert 0 < points[0][2] < points[1][2]
    assert "figures/loss.png" in record.figures
    assert record.provenance["versions"]["torch"] == torch.__version__
    assert record.provenance["seed"] == 0


def test_test_after_fit_lands_in_the_same_run(fitted, tiny, only_run, client):
    fitted.test(fitted.lightning_module, tiny.TinyData(), ckpt_path="best", verbose=False)
    run = only_run()
    assert run.info.status == "FINISHED"
    record = read_record(client, run.info.run_id)
    assert record.metrics["final/test_acc"] == run.data.metrics["test/acc"]
    assert record.metrics["final/val_acc"] == run.data.metrics["final/val_acc"]
    assert record.history["val/loss"]
    assert "figures/confusion_test.png" in record.figures


def test_test_in_a_later_process_continues_the_run(fitted, tiny, only_run, client):
    from integrand.tracking import MLflowTracker

    run_id = only_run().info.run_id
    before = client.get_run(run_id).data.metrics
    tracker = MLflowTracker(run_id=run_id[:8])
    trainer = tiny.make_trainer(tracker)
    path = checkpoint(find_run(run_id), "best")
    trainer.test(tiny.TinyModule(), tiny.TinyData(), ckpt_path=str(path), verbose=False)
    run = only_run()
    assert run.info.status == "FINISHED"
    changed = {k for k, v in run.data.metrics.items() if before.get(k) != v}
    assert changed == {"test/acc", "test/loss", "final/test_acc", "final/test_loss"} | {
        k for k in run.data.metrics if k.startswith("solver/test_")
    }
    record = read_record(client, run_id)
    assert record.metrics["final/val_acc"] == before["final/val_acc"]
    assert record.metrics["final/test_acc"] == run.data.metrics["test/acc"]
    assert [p[0] for p in record.history["val/loss"]] == [5, 11]


def test_store_and_record_agree_after_every_test(fitted, tiny, only_run, client):
    """MLflow shows the value of the highest step: a test after a test must not lie below the first."""
    from integrand.tracking import MLflowTracker

    fitted.test(fitted.lightning_module, tiny.TinyData(), ckpt_path="best", verbose=False)
    run_id = only_run().info.run_id
    losses = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        trainer = tiny.make_trainer(MLflowTracker(run_id=run_id))
        trainer.test(tiny.TinyModule(), tiny.TinyData(), verbose=False)
        losses.append(trainer.callback_metrics["test/loss"].item())
        stored, record = client.get_run(run_id).data.metrics, read_record(client, run_id)
        assert stored["test/loss"] == stored["final/test_loss"] == losses[-1]
        assert {k: stored[k] for k in record.metrics} == record.metrics
    assert losses[0] != losses[1]


def test_separate_validation_does_not_touch_the_series_of_the_fit(fitted, tiny, only_run, client):
    from integrand.tracking import MLflowTracker

    run_id = only_run().info.run_id
    before = client.get_run(run_id).data.metrics
    trainer = tiny.make_trainer(MLflowTracker(run_id=run_id))
    trainer.validate(tiny.TinyModule(), tiny.TinyData(), verbose=False)
    run = only_run()
    assert run.data.metrics["val/acc"] == before["val/acc"]
    assert len(client.get_metric_history(run_id, "val/acc")) == 2
    assert "validate/acc" in run.data.metrics


def test_resumed_fit_equals_an_uninterrupted_one(workdir, tiny, client):
    """Bit for bit: weights, and each recorded value, although data order and dropout are random."""
    whole = tiny.fit(epochs=4, every=1, experiment="whole")
    first = tiny.fit(epochs=2, every=1, experiment="parts")
    run_id = first.logger.run_id
    last = checkpoint(find_run(run_id), "last")
    # whatever has been drawn in between must not matter
    torch.rand(17)
    second = tiny.fit(epochs=4, every=1, ckpt_path=str(last), run_id=run_id)
    assert second.logger.run_id == run_id
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert client.get_run(run_id).info.status == "FINISHED"
    for key in (
        "train/loss_step",
        "train/loss",
        "val/acc",
        "solver/nfe_forward_step",
        "solver/nfe_forward_total",
    ):
        expected = [(p.step, p.value) for p in client.get_metric_history(whole.logger.run_id, key)]
        found = [(p.step, p.value) for p in client.get_metric_history(run_id, key)]
        assert found == expected, key
    record = read_record(client, run_id)
    reference = read_record(client, whole.logger.run_id)
    assert [p[0] for p in record.history["val/acc"]] == [p[0] for p in reference.history["val/acc"]]
    assert record.metrics["best/val_acc"] == reference.metrics["best/val_acc"]


def test_repeated_steps_of_a_resumed_fit_are_recorded_once(workdir, tiny, client):
    """A run that died in its third epoch goes on from the end of the second: six steps are made twice."""
    with pytest.raises(RuntimeError, match="made to fail"):
        tiny.fit(epochs=4, every=1, model=tiny.TinyModule(fail_at=16))
    (run,) = client.search_runs([client.get_experiment_by_name("integrand").experiment_id])
    run_id = run.info.run_id
    assert run.info.status == "FAILED"
    tiny.fit(epochs=4, every=1, run_id=run_id, ckpt_path="last")
    steps = [p.step for p in client.get_metric_history(run_id, "train/loss_step")]
    assert steps == list(range(24))
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    record = read_record(client, run_id)
    assert record.error is None
    assert [p[0] for p in record.history["train/loss_step"]] == list(range(24))
    # what does not change is said once
    for key in ("train/lr", "cost/parameters"):
        assert [p.step for p in client.get_metric_history(run_id, key)] == [0], key


def test_crash_ends_failed_with_its_traceback(workdir, tiny, only_run, client):
    with pytest.raises(RuntimeError, match="made to fail"):
        tiny.fit(every=1, model=tiny.TinyModule(fail_at=8))
    run = only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "made to fail"
    root, artifacts = artifacts_of(run)
    assert "RuntimeError: made to fail" in (root / "error/traceback.txt").read_text()
    assert "checkpoints/last.ckpt" in artifacts
    assert len(client.get_metric_history(run.info.run_id, "train/loss_step")) == 8
    record = read_record(client, run.info.run_id)
    assert record.status == "FAILED"
    assert record.error == {"type": "RuntimeError", "message": "made to fail"}
    assert "final/val_acc" in record.metrics  # of the one epoch that it finished


def test_data_that_fails_to_load_ends_failed(workdir, tiny, only_run):
    class Broken(tiny.TinyData):
        def setup(self, stage):
            raise OSError("no such data")

    from integrand.tracking import MLflowTracker

    trainer = tiny.make_trainer(MLflowTracker())
    with pytest.raises(OSError, match="no such data"):
        trainer.fit(tiny.TinyModule(), Broken())
    assert only_run().info.status == "FAILED"
    assert only_run().data.tags["error"] == "no such data"


def test_nan_loss_stops_before_it_reaches_the_weights(workdir, tiny, only_run):
    model = tiny.TinyModule(nan_at=7)
    with pytest.raises(NonFiniteLossError, match="nan in epoch 1, step 7") as caught:
        tiny.fit(model=model)
    assert "lr" in caught.value.remedy
    assert all(torch.isfinite(p).all() for p in model.parameters())
    run = only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error_type"] == "NonFiniteLossError"


def test_checkpoint_says_what_it_belongs_to_and_loads_as_plain_data(fitted, only_run):
    run_id = only_run().info.run_id
    contents = torch.load(checkpoint(find_run(run_id), "best"), weights_only=True)["integrand"]
    assert contents["run_id"] == run_id
    assert contents["family"] == "tiny"
    assert contents["spec"]["question"]["number"] == 3


def test_infinities_are_recorded_as_nan(workdir, client):
    from integrand.tracking import MLflowTracker

    tracker = MLflowTracker()
    tracker.log_metrics({"a": math.inf, "b": math.nan, "c [0]": 1.0}, step=0)
    tracker.end("FINISHED")
    metrics = client.get_run(tracker.run_id).data.metrics
    assert math.isnan(metrics["a"])
    assert math.isnan(metrics["b"])
    assert metrics["c _0_"] == 1.0


def test_run_names_differ_under_one_seed(workdir, client):
    from lightning.pytorch import seed_everything

    from integrand.tracking import MLflowTracker

    names = set()
    for _ in range(2):
        seed_everything(0, verbose=False)
        tracker = MLflowTracker()
        names.add(client.get_run(tracker.run_id).info.run_name)
        tracker.end("FINISHED")
    assert len(names) == 2


def test_child_run_and_suite_tags(workdir, client):
    from integrand.tracking import MLflowTracker

    tracker = MLflowTracker(suite="s", run_key="k", parent_run_id="p" * 32, tags={"note": "n"})
    tags = client.get_run(tracker.run_id).data.tags
    tracker.end("FINISHED")
    assert (tags["suite"], tags["run_key"], tags["note"]) == ("s", "k", "n")
    assert tags["mlflow.parentRunId"] == "p" * 32
