"""The few series that MLflow's UI shows first: quality, evaluations, cost."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from ..store import names
from .base import TrackingCallback, step_of
from .described import monitor_of


class Headline(TrackingCallback):
    """Records `basics/…` at the end of every epoch, under names that are the same for all families.

    - `quality`: the module's `monitor`.
    - `nfe`: forward evaluations of the field per training batch.
    - `cost_seconds`: seconds of training so far, without validation.
    - `total_nfe`: forward and backward evaluations in training so far; as the x axis of a chart of
      `quality` it shows quality against NFE.
    - `total_epochs`: epochs so far, for the x axis too.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch; `SolverMonitor` and `CostMonitor` have recorded theirs."""
        tracker = self.tracker
        if tracker is None:
            return
        last = tracker.history.last
        self._seconds += last.get("cost/epoch_seconds", 0.0)
        values = {names.COST: self._seconds, names.TOTAL_EPOCHS: trainer.current_epoch + 1.0}
        monitored = trainer.callback_metrics.get(monitor_of(pl_module)[0])
        if isinstance(monitored, torch.Tensor) and math.isfinite(quality := float(monitored)):
            values[names.QUALITY] = quality
        if "solver/nfe_forward" in last:
            values[names.NFE] = last["solver/nfe_forward"]
            values[names.TOTAL_NFE] = sum(
                last.get(f"solver/nfe_{way}_total", 0.0) for way in ("forward", "backward")
            )
        tracker.epoch = trainer.current_epoch
        tracker.log_metrics(values, step_of(trainer))

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far, so that a resumed fit goes on counting."""
        return {"seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._seconds = float(state_dict["seconds"])
