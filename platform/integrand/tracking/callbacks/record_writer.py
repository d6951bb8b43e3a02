"""Writes `record.json`, from which every table and figure of a comparison can be rebuilt."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from integrand.checkpoints import KEY

from ... import quantities
from ..spool import folders
from ..store import names
from .base import TrackingCallback, tracker_of
from .described import monitor_of


class RecordWriter(TrackingCallback):
    """Keeps the record of a run up to date: at validations if that is cheap, at the end, and on an exception.

    A test after a fit updates the fit's record.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._cost = 0.0

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note which checkpoint is evaluated: comparisons pair evaluations of the same one."""
        tracker = self.tracker or tracker_of(trainer)
        if tracker is None or trainer.state.fn == "fit":
            return
        run_id = str(checkpoint.get(KEY, {}).get("run_id", ""))
        tracker.record.evaluates = {"run_id": run_id, "epoch": checkpoint.get("epoch")}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write if that takes less than a hundredth of the time since the last writing."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        now = time.monotonic()
        if now - self._last > max(10.0, 100 * self._cost):
            self._write(trainer, pl_module, "RUNNING")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the record of a stage that ended well."""
        self._write(trainer, pl_module, "FINISHED")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what there is; `Lifecycle` has put in the error and the status."""
        tracker = self.tracker or tracker_of(trainer)
        if tracker is not None:
            self._write(trainer, pl_module, tracker.record.status)

    def _write(self, trainer: Trainer, pl_module: LightningModule, status: str) -> None:
        tracker = self.tracker or tracker_of(trainer)
        if tracker is None or tracker.session is None:
            return
        begun = time.monotonic()
        record = tracker.record
        record.status = status
        record.ended = None if status == "RUNNING" else time.time()
        record.monitor = dict(zip(("name", "mode"), monitor_of(pl_module), strict=True))
        last = tracker.history.last
        record.metrics = {k: v for k, v in last.items() if not k.startswith("cost/")}
        record.cost.update(_costs(last))
        record.quantities = quantities.own(last)
        # single values have no curve
        record.history = {
            name: points
            for name, points in tracker.history.thinned().items()
            if not name.startswith(("best/", "final/", "test/"))
        }
        text = record.to_json()
        tracker.log_text(text, names.RECORD)
        self._keep_copy(record.run_id, text)
        self._last = time.monotonic()
        self._cost = self._last - begun

    @staticmethod
    def _keep_copy(run_id: str, text: str) -> None:
        path = folders.record_path(run_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        except OSError:
            # a courtesy beside the artifact
            return


def _costs(last: Mapping[str, float]) -> dict[str, float]:
    """What is known of `cost/…`."""
    return {
        k.removeprefix("cost/"): v for k, v in last.items() if k.startswith("cost/") and not math.isnan(v)
    }
