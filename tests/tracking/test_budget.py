"""Budgets end a fit in order and say so; pruning and resumption beside them."""

import json

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback

from integrand.errors import UsageError
from integrand.tracking import MLflowTracker, default_callbacks
from integrand.tracking.callbacks import Budget
from integrand.tracking.processes.exits import Pruned
from integrand.tracking.store import names

STEPS = 6
"""Batches of an epoch of the tiny data."""


@pytest.fixture
def fit(tiny, workdir):
    """A fit of a keyed run with further callbacks; says nothing of how it ended."""

    def run(*callbacks, epochs=3, key="k", test=False, **trainer_args):
        seed_everything(0, workers=True, verbose=False)
        tracker = MLflowTracker(run_key=key, resume=True)
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=tracker,
            callbacks=[*callbacks, *default_callbacks()],
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **trainer_args,
        )
        model = tiny.TinyModule()
        trainer.fit(model, tiny.TinyData(), ckpt_path="last")
        if test:
            trainer.test(model, tiny.TinyData(), ckpt_path="best", verbose=False)
        return trainer

    return run


def evaluations(steps):
    """What the tiny module says it needs for so many steps: 10 + step and 1 forward, 7 backward."""
    return sum(10 + step + 1 + 7 for step in range(steps))


def record_of(run):
    from pathlib import Path

    return json.loads((Path(run.info.artifact_uri.removeprefix("file://")) / "record.json").read_text())


def checkpoint_of(run, which):
    from pathlib import Path

    path = Path(run.info.artifact_uri.removeprefix("file://")) / f"checkpoints/{which}.ckpt"
    return torch.load(path, weights_only=True)


def series(client, run, name):
    return [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]


def test_evaluations_end_a_fit_at_the_end_of_its_step(fit, only_run):
    """In mid-epoch: validated and tested, but one goes on from whole epochs only."""
    trainer = fit(Budget(max_nfe=evaluations(STEPS + 2)), test=True)
    assert trainer.global_step == STEPS + 2
    run = only_run()
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "over budget")
    assert run.data.tags[names.STOPPED_BY] == "nfe"
    wanted = evaluations(STEPS + 2)
    reason = f"{wanted} of {wanted:g} evaluations used in epoch 2 of 3, step {STEPS + 2}"
    assert run.data.tags[names.STOP_REASON] == reason
    assert record_of(run)["stopped"] == {"by": "nfe", "reason": reason, "limit": f"{wanted:g}"}
    assert "final/test_acc" in run.data.metrics
    assert run.data.metrics["best/epoch"] == 0
    assert checkpoint_of(run, "last")["global_step"] == STEPS
    assert checkpoint_of(run, "best")["global_step"] == STEPS


def test_a_larger_budget_goes_on_in_the_same_run_as_if_there_had_been_none(fit, only_run, client, workdir):
    fit(Budget(max_nfe=evaluations(STEPS + 2)))
    first = only_run().info.run_id
    fit(Budget(max_nfe=1e9))
    run = only_run()
    assert run.info.run_id == first
    assert (run.info.status, run.data.tags["status"], run.data.tags["resumed"]) == (
        "FINISHED",
        "finished",
        "1",
    )
    assert names.STOPPED_BY not in run.data.tags
    assert names.STOP_REASON not in run.data.tags
    assert record_of(run)["stopped"] == {}
    fit(key="other")
    other = client.search_runs([run.info.experiment_id], "tags.run_key = 'other'")[0]
    for name in ("train/loss_step", "solver/nfe_forward_total"):
        # the moment at which the budget ended it keeps its values; all others are those of a whole fit
        found = [
            p for p in series(client, run, name) if (p in series(client, other, name)) or p[0] != STEPS + 1
        ]
        assert found == series(client, other, name), name
    wanted = checkpoint_of(other, "last")["state_dict"]
    assert all(torch.equal(v, wanted[k]) for k, v in checkpoint_of(run, "last")["state_dict"].items())


def test_a_budget_that_ends_with_an_epoch_leaves_it_whole(fit, only_run):
    fit(Budget(max_nfe=evaluations(2 * STEPS)))
    run = only_run()
    assert run.data.tags["status"] == "over budget"
    assert checkpoint_of(run, "last")["global_step"] == 2 * STEPS


def test_a_fit_that_ends_by_itself_is_not_over_budget(fit, only_run):
    fit(Budget(max_nfe=evaluations(3 * STEPS)))
    assert only_run().data.tags["status"] == "finished"


def test_without_a_whole_epoch_the_weights_of_the_moment_are_kept(fit, only_run):
    fit(Budget(max_nfe=evaluations(2)), test=True)
    run = only_run()
    assert checkpoint_of(run, "best")["global_step"] == 2
    assert "final/test_acc" in run.data.metrics
    fit()
    assert only_run().data.tags["status"] == "finished"


class Clock(Callback):
    """A clock that goes on by a sixteenth of a second at the end of every training step, and then only."""

    def __init__(self):
        self.now = 1.0

    def monotonic(self):
        return self.now

    def on_train_batch_end(self, *_):
        self.now += 1 / 16


def test_time_ends_a_fit_too_and_counts_what_earlier_processes_used(fit, only_run, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("integrand.tracking.callbacks.budget.time", clock)
    budget = (STEPS + 4) / 16
    assert fit(clock, Budget(max_seconds=budget), epochs=1000).global_step == STEPS + 4
    run = only_run()
    assert run.data.tags[names.STOPPED_BY] == "time"
    assert checkpoint_of(run, "last")["callbacks"]["Budget"]["seconds"] == STEPS / 16
    # the same budget has nothing left but the unfinished epoch
    assert fit(clock, Budget(max_seconds=budget), epochs=1000).global_step == STEPS + 4
    assert only_run().data.tags["resumed"] == "1"


@pytest.mark.parametrize("limits", [{"max_nfe": 0}, {"max_seconds": -1.0}])
def test_no_budget_at_all_is_a_mistake(limits):
    with pytest.raises(UsageError, match="trains nothing"):
        Budget(**limits)


def test_a_pruned_run_has_a_status_of_its_own(fit, only_run):
    from lightning.pytorch.callbacks import LambdaCallback

    def prune(trainer, pl_module):
        raise Pruned("pruned in epoch 1: val/acc was 0.1")

    with pytest.raises(SystemExit) as end:
        fit(LambdaCallback(on_validation_end=prune))
    assert end.value.code == 0, "the process ends well: nothing went wrong"
    run = only_run()
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "pruned")
    assert run.data.tags[names.STOPPED_BY] == "pruner"
    assert record_of(run)["stopped"]["reason"] == "pruned in epoch 1: val/acc was 0.1"


def test_trials_report_to_their_study_and_end_where_its_pruner_says(fit, only_run, workdir, monkeypatch):
    optuna = pytest.importorskip("optuna")
    from integrand.suites import study as studies
    from integrand.suites.pruning import ReportTrial

    url = f"sqlite:///{workdir}/optuna.db"
    study = optuna.create_study(storage=url, study_name="s", direction="maximize")
    study.set_user_attr("pruner", ["ThresholdPruner", {"lower": 1.1, "n_warmup_steps": 1}])
    study.ask()
    monkeypatch.setenv(studies.STORAGE_VARIABLE, url)
    with pytest.raises(Pruned, match="pruned in epoch 2: val/acc was"):
        fit(ReportTrial("s", 0, "val/acc"))
    assert sorted(study.trials[0].intermediate_values) == [0, 1]
    assert only_run().data.tags["status"] == "pruned"


def test_a_trial_without_its_study_trains_on(fit, only_run, monkeypatch):
    pytest.importorskip("optuna")
    from integrand.suites import study as studies
    from integrand.suites.pruning import ReportTrial

    monkeypatch.delenv(studies.STORAGE_VARIABLE, raising=False)
    fit(ReportTrial("s", 0, "val/acc"))
    assert only_run().data.tags["status"] == "finished"
