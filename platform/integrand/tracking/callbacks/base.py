"""What the recording callbacks share."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ..logger import MLflowTracker
from ..store import names


class TrackingCallback(Callback):
    """A callback that records through the run's `MLflowTracker`, and does nothing where there is none."""

    tracker: MLflowTracker | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the tracker."""
        self.tracker = tracker_of(trainer)


def tracker_of(trainer: Trainer) -> MLflowTracker | None:
    """The first `MLflowTracker` among the trainer's loggers."""
    return next((logger for logger in trainer.loggers if isinstance(logger, MLflowTracker)), None)


def say_stopped(tracker: MLflowTracker, by: str, reason: str, limit: float | None = None) -> None:
    """Record why a run ends before its last epoch, and the limit it reached; see `RunRecord.stopped`."""
    tracker.record.stopped = {"by": by, "reason": reason}
    tags = {names.STOPPED_BY: by, names.STOP_REASON: reason}
    if limit is not None:
        tags[names.STOP_LIMIT] = tracker.record.stopped["limit"] = f"{limit:g}"
    tracker.set_tags(tags)


def stage_name(stage: Any) -> str:
    """`fit`, `validate`, `test` or `predict`; Lightning hands over an enumeration that prints otherwise."""
    return str(getattr(stage, "value", stage))


def step_of(trainer: Trainer) -> int:
    """Index of the newest optimiser step, counted from 0 as Lightning counts what it logs."""
    return max(trainer.global_step - 1, 0)


def is_due(trainer: Trainer, tracker: MLflowTracker) -> bool:
    """Whether values of this training step are to be recorded."""
    interval: int = tracker.step_interval or trainer.log_every_n_steps  # type: ignore[attr-defined]  # set late
    return interval > 0 and trainer.global_step % interval == 0


def loss_of(outputs: Any) -> torch.Tensor | None:
    """The loss of a training step from what Lightning hands to callbacks."""
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
    return loss if isinstance(loss, torch.Tensor) else None


def gathered(trainer: Trainer, values: list[float]) -> list[list[float]]:
    """`values` of every process; every process must call this."""
    if trainer.world_size == 1:
        return [values]
    device = trainer.strategy.root_device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    tensor = torch.tensor(values, dtype=dtype, device=device)
    rows = [torch.empty_like(tensor) for _ in range(trainer.world_size)]
    # Lightning's own all_gather is the differentiable one, which PyTorch has deprecated
    torch.distributed.all_gather(rows, tensor)
    return [[float(x) for x in row.tolist()] for row in rows]


def gathered_objects(trainer: Trainer, value: Any) -> list[Any]:
    """`value` of every process, by rank; every process must call this."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values
