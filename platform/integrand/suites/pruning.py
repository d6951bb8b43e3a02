"""In the process of a trial: tells the sweep how it goes, and ends where the sweep gives it up."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from integrand.tracking.processes.exits import Pruned

from . import study as studies

log = logging.getLogger(__name__)


class ReportTrial(Callback):
    """Reports the monitored value after every validation, and raises `Pruned` where the pruner says so.

    A storage that does not answer never disturbs the training: the trial then runs to its end.

    Args:
        study: Name of the study, in the storage that the environment names.
        trial: Number of the trial.
        monitor: The metric to report.
    """

    def __init__(self, study: str, trial: int, monitor: str) -> None:
        self.study = study
        self.trial = trial
        self.monitor = monitor
        self._trial: Any = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report this epoch.

        Raises:
            Pruned: The sweep gives the trial up.
        """
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or trainer.state.fn != "fit" or not isinstance(value, torch.Tensor):
            return
        prune = trainer.is_global_zero and self._report(trainer.current_epoch, float(value))
        if trainer.world_size > 1:
            prune = trainer.strategy.broadcast(prune)
        if prune:
            epoch = trainer.current_epoch + 1
            raise Pruned(f"pruned in epoch {epoch}: {self.monitor} was {float(value):.4g}")

    def _report(self, epoch: int, value: float) -> bool:
        """Whether to give up after this value."""
        try:
            trial = self._trial = self._trial or self._open()
            # a resumed trial comes by epochs again that it has reported
            if trial is None or epoch in trial.study.trials[self.trial].intermediate_values:
                return False
            trial.report(value, epoch)
            return bool(trial.should_prune())
        except Exception as error:  # SQLAlchemy and its drivers each raise their own
            log.warning("trial %d could not be reported to its sweep (%s)", self.trial, error)
            return False

    def _open(self) -> Any:
        url = os.environ.get(studies.STORAGE_VARIABLE)
        if not url:
            log.warning("trial %d runs outside its sweep and reports to none", self.trial)
            return None
        library = studies.optuna()
        found = library.load_study(study_name=self.study, storage=url)
        found.pruner = studies.make_pruner(library, studies.pruner_of(found))
        return studies.live_trial(found, found.trials[self.trial])
