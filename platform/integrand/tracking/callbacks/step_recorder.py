"""Loss and learning rate of single training steps."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from .base import TrackingCallback, is_due, loss_of, step_of


class StepRecorder(TrackingCallback):
    """Records `train/loss_step` at the step interval, and `train/lr` whenever it has changed."""

    def __init__(self) -> None:
        self._step = -1
        self._lr: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the steps of an earlier fit, but not the learning rate that a continued run has recorded."""
        self._step = -1
        self._lr = self.tracker.history.last.get("train/lr") if self.tracker is not None else None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record if the step is due; accumulated batches of one step count once."""
        tracker = self.tracker
        if tracker is None or not is_due(trainer, tracker):
            return
        step = step_of(trainer)
        if step == self._step:
            return
        self._step = step
        values: dict[str, float] = {}
        loss = loss_of(outputs)
        if loss is not None:
            # what Lightning hands over is divided by the number of accumulated batches
            values["train/loss_step"] = loss.item() * trainer.accumulate_grad_batches
        # a family that fits by other means has an optimiser of nothing
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if groups:
            lr = groups[0]["lr"]
            if lr != self._lr:
                self._lr = lr
                values["train/lr"] = float(lr)
        tracker.epoch = trainer.current_epoch
        tracker.log_metrics(values, step)
