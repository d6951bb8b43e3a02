"""What the solves cost and how they fared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from integrand.outcome import Outcome
from integrand.solvers import SolveStats

from .base import TrackingCallback, gathered, is_due, step_of
from .described import outcome_of

_OF_EVALUATIONS = ("nfe_forward", "accepted", "rejected", "failures", "min_step")
"""What is recorded of a validation or test."""


class Account:
    """The account of the batches of an epoch."""

    def __init__(self) -> None:
        self.batches = 0
        self.stats = SolveStats()

    def add(self, outcome: Outcome) -> None:
        """Take up the solves of one batch, which are complete."""
        if outcome.solves:
            self.batches += 1
            self.stats = SolveStats.total([self.stats, *outcome.solves])

    def merged(self, trainer: Trainer) -> Account:
        """The account over all processes: an evaluation on one process's batch counts one."""
        names = list(SolveStats.kept())
        mine = [getattr(self.stats, name) for name in names]
        # NaN stands for what was not told
        rows = gathered(trainer, [float(self.batches), *(math.nan if v is None else float(v) for v in mine)])
        merged = Account()
        merged.batches = int(sum(row[0] for row in rows))
        merged.stats = SolveStats.total(_account(dict(zip(names, row[1:], strict=True))) for row in rows)
        return merged

    def means(self) -> dict[str, float]:
        """Mean per batch of every count that the solvers told, and the extremes."""
        return self.stats.published(self.batches)


def _account(told: Mapping[str, float]) -> SolveStats:
    stats = SolveStats()
    for name, value in told.items():
        setattr(stats, name, None if math.isnan(value) else value)
    return stats


class SolverMonitor(TrackingCallback):
    """Records evaluations of the field, accepted and rejected steps, step sizes and failed solves.

    It reads the accounts in the outcome of a step, after the backward pass has filled in its part. From a
    stiffness of about 0.8 on, stability and not accuracy bounds the steps. `solver/…` are means per batch of
    a training epoch, `solver/val_…` and `solver/test_…` of an evaluation, `solver/…_step` belong to one
    training step, `solver/…_total` count since the run began.
    """

    def __init__(self) -> None:
        self._epoch = Account()
        self._evaluation = Account()
        self._total = {"nfe_forward": 0, "nfe_backward": 0}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the epoch's account."""
        self._epoch = Account()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take up one training batch."""
        outcome = outcome_of(outputs)
        if outcome is None or not outcome.solves:
            return
        self._epoch.add(outcome)
        tracker = self.tracker
        if tracker is not None and is_due(trainer, tracker):
            values = {
                f"solver/{name}_step": float(sum(getattr(s, name) for s in outcome.solves))
                for name in self._total
            }
            tracker.epoch = trainer.current_epoch
            tracker.log_metrics(values, step_of(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        account = self._epoch.merged(trainer)
        if self.tracker is None or not account.batches:
            return
        for name in self._total:
            self._total[name] += int(getattr(account.stats, name))
        values = {f"solver/{name}": value for name, value in account.means().items()}
        values |= {f"solver/{name}_total": float(value) for name, value in self._total.items()}
        self.tracker.epoch = trainer.current_epoch
        self.tracker.log_metrics(values, step_of(trainer))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the account of a validation."""
        self._evaluation = Account()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the account of a test."""
        self._evaluation = Account()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take up one validation batch."""
        self._evaluated(outputs)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take up one test batch."""
        self._evaluated(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation."""
        if not trainer.sanity_checking:
            self._record_evaluation(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the test."""
        self._record_evaluation(trainer, "test")

    def state_dict(self) -> dict[str, Any]:
        """The totals, so that a resumed fit goes on counting."""
        return {"total": dict(self._total)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the totals."""
        self._total = dict(state_dict["total"])

    def _evaluated(self, outputs: Any) -> None:
        outcome = outcome_of(outputs)
        if outcome is not None:
            self._evaluation.add(outcome)

    def _record_evaluation(self, trainer: Trainer, stage: str) -> None:
        account = self._evaluation.merged(trainer)
        if self.tracker is None or not account.batches:
            return
        values = {
            f"solver/{stage}_{name}": value
            for name, value in account.means().items()
            if name in _OF_EVALUATIONS
        }
        self.tracker.epoch = trainer.current_epoch
        self.tracker.log_metrics(values, step_of(trainer))
