"""What is recorded of single steps."""

from types import SimpleNamespace

import pytest
import torch

from integrand.tracking.callbacks.step_recorder import StepRecorder


@pytest.mark.parametrize(
    ("groups", "expected"), [([{"lr": 0.1}], {"train/lr": 0.1}), ([], {})], ids=["adam", "none"]
)
def test_a_family_without_an_optimiser_has_a_loss_and_no_rate(groups, expected):
    recorded = []
    tracker = SimpleNamespace(
        step_interval=1, epoch=0, log_metrics=lambda values, step: recorded.append(values)
    )

    class Recorder(StepRecorder):
        tracker = None

    recorder = Recorder()
    recorder.tracker = tracker
    trainer = SimpleNamespace(
        global_step=1,
        accumulate_grad_batches=1,
        current_epoch=0,
        optimizers=[SimpleNamespace(param_groups=groups)],
    )
    recorder.on_train_batch_end(trainer, None, {"loss": torch.tensor(2.0)}, None, 0)
    assert recorded == [{"train/loss_step": 2.0, **expected}]
