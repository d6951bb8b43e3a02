"""Whole weights for what the callbacks do at the end of training."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from .described import family_of


class WholeWeights(Callback):
    """Where weights are split over processes, gathers them: figures are drawn by the first process alone."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather; the module lets go of them in its own hook, which comes after those of all callbacks."""
        family = family_of(pl_module)
        if family is not None:
            family.gather_weights()
