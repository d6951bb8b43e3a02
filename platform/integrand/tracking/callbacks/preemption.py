"""A signal says that the time of the process is nearly up: save, end in order, and be gone on with later."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from .base import TrackingCallback, gathered, stage_name
from .checkpoints import LastCheckpoint
from .lifecycle import Interrupted

log = logging.getLogger(__name__)

SIGNAL = getattr(signal, "SIGUSR1", None)


class Preemption(TrackingCallback):
    """Ends a fit at SIGUSR1 so that it can be gone on with: SLURM's `--signal=USR1@90` sends it in time.

    The fit ends after the batch in hand, on all processes alike; its run is KILLED, the exit code 138. The
    checkpoint is that of the last whole epoch, from which a fit goes on exactly, unless the process has
    completed none or much has been computed since: then one is written in mid-epoch, from which the rest of
    the epoch sees its data in another order. Lightning's own handler of the signal, which writes into the
    working directory from inside the handler, is not used.

    Args:
        mid_epoch_seconds: How much computing since the last whole epoch is worth a checkpoint in mid-epoch.
    """

    def __init__(self, mid_epoch_seconds: float = 60.0) -> None:
        self.mid_epoch_seconds = mid_epoch_seconds
        self._asked = False
        self._trainer: Trainer | None = None
        self._whole: float | None = None
        """When the last epoch of this process was whole, None while none was."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch for the signal before Lightning does, which then leaves it alone."""
        super().setup(trainer, pl_module, stage)
        if self.tracker is None or SIGNAL is None or stage_name(stage) == "predict":
            return
        if threading.current_thread() is threading.main_thread():
            self._trainer = trainer
            signal.signal(SIGNAL, self._on_signal)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Between two epochs nothing needs to be saved."""
        if self._whole is not None and self._agreed(trainer):
            self._leave(trainer, save=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Its checkpoint is written now."""
        self._whole = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave if it was asked for; processes ask each other now and then."""
        if batch_idx + 1 >= trainer.num_training_batches:
            return  # the epoch is about to be whole
        interval = max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]  # set late
        if trainer.world_size > 1 and (batch_idx + 1) % interval:
            return
        if self._agreed(trainer):
            since = None if self._whole is None else time.monotonic() - self._whole
            self._leave(trainer, save=since is None or since > self.mid_epoch_seconds)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A signal to a run that has ended ends the process."""
        self._trainer = None

    def _agreed(self, trainer: Trainer) -> bool:
        """Whether any process has been told; every process must ask at the same step."""
        if trainer.world_size == 1:
            return self._asked
        if "SLURM_JOB_ID" not in os.environ:
            return False  # nobody sends it, and asking is not free
        return any(row[0] for row in gathered(trainer, [float(self._asked)]))

    def _leave(self, trainer: Trainer, save: bool) -> None:
        if save:
            folder = self._folder(trainer)
            if folder is not None:
                target = folder / f"{LastCheckpoint.CHECKPOINT_NAME_LAST}.ckpt"
                part = target.with_suffix(".part")
                trainer.save_checkpoint(part)
                if trainer.is_global_zero:
                    part.replace(target)
        log.info("the time of this process is up: it ends, and can be gone on with")
        raise Interrupted(int(SIGNAL or 0))

    @staticmethod
    def _folder(trainer: Trainer) -> Path | None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        found = next((c for c in callbacks if isinstance(c, LastCheckpoint)), None)
        return None if found is None or found.dirpath is None else Path(found.dirpath)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        trainer = self._trainer
        if trainer is None or trainer.state.fn != "fit":
            # a test is done again, from the checkpoints that are there
            raise Interrupted(signum)
        self._asked = True
