"""`best/…` and `final/…`: values of one moment, which tables of runs can show."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from .base import TrackingCallback, step_of
from .budget import ends_in_mid_epoch
from .described import monitor_of


class BestFinal(TrackingCallback):
    """Records what validation gave at the best epoch, and the last value of every metric.

    `best/val_acc`, `best/val_loss`, … all belong to the one epoch at which the module's `monitor` was best,
    which is the epoch of the best checkpoint; `best/epoch` names it. `final/…` are the last values of
    training, validation and test metrics.
    """

    def __init__(self) -> None:
        self._score: float | None = None
        self._best: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep this epoch if it is the best so far."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        metrics = {k: _number(v) for k, v in trainer.callback_metrics.items()}
        name, mode = monitor_of(pl_module)
        score = metrics.get(name, math.nan)
        if self._score is not None and ends_in_mid_epoch(trainer):
            return  # the best checkpoint stays that of a whole epoch, and so do these values
        if self._is_better(score, mode):
            self._score = score
            self._best = {_flat(k): v for k, v in metrics.items() if k.startswith("val/")}
            self._best["epoch"] = float(trainer.current_epoch)

    def _is_better(self, score: float, mode: str) -> bool:
        if self._score is None:
            return not math.isnan(score)
        # no comparison with NaN holds
        return score > self._score if mode == "max" else score < self._score

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record both sets."""
        self._record(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the test metrics."""
        self._record(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Record what there is of a run that ends early."""
        self._record(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, so that a resumed fit goes on from it."""
        return {"score": self._score, "best": dict(self._best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best epoch so far."""
        self._score, self._best = state_dict["score"], dict(state_dict["best"])

    def _record(self, trainer: Trainer) -> None:
        tracker = self.tracker
        if tracker is None:
            return
        values = {f"best/{name}": value for name, value in self._best.items()}
        for name, value in tracker.history.last.items():
            if name.startswith(("train/", "val/", "test/", "validate/")) and not name.endswith(
                ("_step", "/lr")
            ):
                values[f"final/{_flat(name)}"] = value
        if values:
            tracker.log_metrics(values, step_of(trainer))


def _flat(name: str) -> str:
    return name.replace("/", "_")


def _number(value: Any) -> float:
    return float(value.item() if isinstance(value, torch.Tensor) else value)
