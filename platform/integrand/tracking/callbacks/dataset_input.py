"""Shows the data set of a run where MLflow shows data sets."""

from __future__ import annotations

import json

from lightning.pytorch import LightningModule, Trainer

from .base import TrackingCallback, stage_name

_CONTEXT = {"fit": "train", "validate": "val", "test": "test"}


class DatasetInput(TrackingCallback):
    """Records name, digest and shape of the data set as an input of the run; hashes nothing itself."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record it for this stage."""
        super().setup(trainer, pl_module, stage)
        stage = stage_name(stage)
        tracker = self.tracker
        if tracker is None or tracker.session is None or stage not in _CONTEXT:
            return
        data = tracker.record.data
        name, digest = data.get("name", ""), str(data.get("digest", ""))
        if not name:
            return
        profile = json.dumps({key: data[key] for key in ("n_train", "n_val", "n_test") if data.get(key)})
        # MLflow allows 36 characters
        short = digest.removeprefix("sha256:")[:16] or "unknown"
        tracker.log_dataset(name, short, json.dumps({"digest": digest}), profile, _CONTEXT[stage])
