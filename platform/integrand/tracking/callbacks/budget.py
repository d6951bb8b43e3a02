"""Ends a run whose time or evaluations are used up."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from integrand.errors import UsageError

from .base import TrackingCallback, gathered, say_stopped
from .described import outcome_of


class Budget(TrackingCallback):
    """Ends the fit in order as soon as a budget is used up, and says so in the run.

    The run is FINISHED: it is validated, tested if that was asked for, and its record says what stopped it
    (`RunRecord.stopped`, tags `stopped_by`, `stop_reason` and `status: over budget`). A fit that ends in the
    middle of an epoch keeps the checkpoints of the last whole one, so that it can go on from there with a
    larger budget; only a fit that has none keeps the weights of that moment.

    Args:
        max_seconds: Wall time of the fit with its validations, without start-up and the test; processes
            before a resumption count. None sets no limit.
        max_nfe: Evaluations of the field in training, forward and backward, on all processes. None likewise.

    Raises:
        UsageError: A limit is not positive.
    """

    def __init__(self, max_seconds: float | None = None, max_nfe: float | None = None) -> None:
        for name, limit in (("max_seconds", max_seconds), ("max_nfe", max_nfe)):
            if limit is not None and not limit > 0:
                raise UsageError(f"a budget of {name} {limit} trains nothing", "take a positive number")
        self.max_seconds = max_seconds
        self.max_nfe = max_nfe
        self.partial = False
        self._nfe = 0.0
        self._seconds_before = 0.0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a checkpoint may have set it forward. A resumed fit may have nothing left."""
        self.partial = False
        self._started = time.monotonic()
        if trainer.current_epoch < (trainer.max_epochs or 0) or trainer.max_epochs == -1:
            self._check(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch and look at both limits."""
        outcome = outcome_of(outputs)
        if outcome is not None:
            self._nfe += sum(s.nfe_forward + s.nfe_backward for s in outcome.solves)
        last = batch_idx + 1 >= trainer.num_training_batches
        if last and _is_last_epoch(trainer):
            return  # it ends by itself
        if self._check(trainer):
            self.partial = not last

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look once more: a validation takes time too."""
        if not _is_last_epoch(trainer):
            self._check(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What has been used up."""
        return {"nfe": self._nfe, "seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._nfe, self._seconds_before = float(state_dict["nfe"]), float(state_dict["seconds"])

    def _seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._started if self._started else 0.0)

    def _check(self, trainer: Trainer) -> bool:
        """Whether a limit has been reached; then the fit is told to stop, all processes alike."""
        if trainer.should_stop:
            return False
        rows = gathered(trainer, [self._nfe, self._seconds()])
        nfe, seconds = sum(row[0] for row in rows), max(row[1] for row in rows)
        if self.max_seconds is not None and seconds >= self.max_seconds:
            by, limit, reason = "time", self.max_seconds, f"{seconds:.1f} s of {self.max_seconds:g} s used"
        elif self.max_nfe is not None and nfe >= self.max_nfe:
            by, limit, reason = "nfe", self.max_nfe, f"{nfe:.0f} of {self.max_nfe:g} evaluations used"
        else:
            return False
        trainer.should_stop = True
        if self.tracker is not None:
            epochs = "" if trainer.max_epochs in (None, -1) else f" of {trainer.max_epochs}"
            where = f"in epoch {trainer.current_epoch + 1}{epochs}, step {trainer.global_step}"
            say_stopped(self.tracker, by, f"{reason} {where}", limit)
        return True


def ends_in_mid_epoch(trainer: Trainer) -> bool:
    """Whether a budget ends the fit before the current epoch is whole."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return any(isinstance(c, Budget) and c.partial for c in callbacks)


def _is_last_epoch(trainer: Trainer) -> bool:
    return trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
