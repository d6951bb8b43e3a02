"""Records the resolved configuration of a run."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback


class ConfigRecorder(SaveConfigCallback):
    """Stores the resolved configuration as artifact and as parameters."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record it for one stage."""
