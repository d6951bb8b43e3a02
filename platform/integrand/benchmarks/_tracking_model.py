"""What the tracking benchmark trains: a network that says it solved something, with a stopwatch."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from integrand.outcome import Outcome
from integrand.solvers import SolveStats

from ..tracking import MLflowTracker


class StandIn(LightningModule):
    """A small classifier that reports one solve per batch, as a family of one solve does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (batch, 4)."""
        logits: Tensor = self.net(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """One batch, with the metrics that every family logs."""
        outcome = self._step(batch, "train")
        return {"loss": outcome.loss, "outcome": outcome}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Likewise."""
        return {"outcome": self._step(batch, "val")}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent: the cheapest, so that the loop hides nothing."""
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def _step(self, batch: tuple[Tensor, Tensor], stage: str) -> Outcome:
        x, y = batch
        logits = self(x)
        loss = nn.functional.cross_entropy(logits, y)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=len(y))
        account = SolveStats(20, 0, 19, accepted=3, rejected=0, min_step=0.1, max_step=0.5)
        return Outcome({"loss": loss}, len(y), {}, logits.detach(), y, [account], x)


class Probe(Callback):
    """CPU time of the steps `first` to `last`, sending included, and of the epoch's end after them.

    Args:
        first: Steps before it warm up.
        last: Number of the last step.
        tracker: Its points are sent before the clock stops.
    """

    def __init__(self, first: int, last: int, tracker: MLflowTracker | None) -> None:
        self._first, self._last, self._tracker = first, last, tracker
        self._start = self._end = 0.0
        self.seconds = self.epoch_end = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start."""
        if trainer.global_step == self._first:
            self._start = time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop, when the store has everything."""
        if trainer.global_step == self._last:
            if self._tracker is not None:
                self._tracker.flush()
            self._end = time.process_time()
            self.seconds = self._end - self._start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation, checkpoints and the epoch's metrics lie between the last step and the next epoch."""
        if trainer.current_epoch == 1:
            self.epoch_end = time.process_time() - self._end
