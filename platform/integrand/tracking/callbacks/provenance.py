"""Records where a run comes from."""

from __future__ import annotations

import json

from lightning.pytorch import LightningModule, Trainer

from ..provenance.manifest import manifest
from ..store import names
from .base import TrackingCallback, stage_name


class Provenance(TrackingCallback):
    """Stores `provenance.json`, the installed packages, and the uncommitted changes as `provenance/…`.

    The manifest of the run's first stage stands in its record; later ones are stored beside it.
    """

    def __init__(self) -> None:
        self._done = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Collect and store."""
        super().setup(trainer, pl_module, stage)
        stage = stage_name(stage)
        tracker = self.tracker
        if self._done or tracker is None or tracker.session is None:
            return
        self._done = True
        record = tracker.record
        values, code, installed = manifest(record.seed, trainer.strategy.root_device)
        values["data_digest"] = record.data.get("digest", "")
        if digest := getattr(getattr(pl_module, "encoder", None), "digest", ""):
            # of the frozen network whose latents are modelled
            values["encoder_digest"] = digest
        values["world_size"] = trainer.world_size
        values["precision"] = str(trainer.precision)
        text = json.dumps(values, indent=1)
        if record.provenance:
            tracker.log_text(text, f"provenance/{stage}.json")
            return
        record.provenance = values
        tracker.log_text(text, names.PROVENANCE)
        tracker.log_text("\n".join(installed) + "\n", "provenance/environment.txt")
        if code.diff:
            tracker.log_text(code.diff + "\n", "provenance/changes.diff")
        tags = {"mlflow.source.name": "integrand", "mlflow.source.git.commit": values["git_commit"]}
        tracker.set_tags({key: value for key, value in tags.items() if value})
