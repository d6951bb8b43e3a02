"""Progress for people: a Rich bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, RichProgressBar

from ..tracking.callbacks.base import tracker_of

_SHOWN = ("train/loss", "val/loss", "val/acc", "solver/nfe_forward", "solver/nfe_backward")


class EpochLines(Callback):
    """One line per epoch for logs and pipes, where a bar would be noise."""

    def __init__(self) -> None:
        self._began = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the metrics of the epoch that just ended, on rank 0."""
        if not trainer.is_global_zero:
            return
        values = {k: float(v) for k, v in trainer.callback_metrics.items()}
        if (tracker := tracker_of(trainer)) is not None:
            values |= {k: v for k, v in tracker.history.last.items() if k.startswith("solver/")}
        shown = "  ".join(f"{k} {values[k]:.4g}" for k in _SHOWN if k in values)
        seconds = time.monotonic() - self._began
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
        print(f"epoch {trainer.current_epoch + 1}/{total}  {shown}  {seconds:.1f} s", flush=True)


def progress_callbacks(enabled: Any) -> list[Callback]:
    """The progress display that fits where the output goes; none where `enable_progress_bar` is false."""
    if enabled is False:
        return []
    return [RichProgressBar(leave=True)] if sys.stdout.isatty() else [EpochLines()]
