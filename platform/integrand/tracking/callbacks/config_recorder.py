"""Records the resolved configuration of a run."""

from __future__ import annotations

import warnings
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from ..provenance.configuration import as_params, config_digest, reproducible
from ..store import names
from .base import stage_name, tracker_of

UNWRITABLE = "Unable to serialize instance"
"""What jsonargparse writes in place of an object that it cannot name."""


class ConfigRecorder(SaveConfigCallback):
    """Stores the resolved configuration as `config/<stage>.yaml`, as parameters and in the record.

    Given back with `--config`, the file makes the same run again: it holds every default, and neither run
    id nor checkpoint. A stage that the run has had before, with another configuration, is stored as
    `<stage>-2.yaml`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # the log directory is not where the record of a run belongs
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record it for one stage; Lightning calls this on the first process only."""
        stage = stage_name(stage)
        tracker = tracker_of(trainer)
        if tracker is None or tracker.session is None:
            return
        config = self.reproducible()
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        tracker.config_text = text
        record = tracker.record
        first = not record.config
        if first or stage == "fit":
            record.config = config
            record.config_digest = config_digest(config)
            tracker.set_tags({names.CONFIG_DIGEST: record.config_digest})
        tracker.log_text(text, self._path(tracker.session.artifact_paths(names.CONFIG_DIR), stage))
        params = as_params(config)
        tracker.log_params(params)
        lost = [key for key, value in params.items() if value.startswith(UNWRITABLE)]
        if lost:
            warnings.warn(
                f"no configuration can hold the default of {', '.join(lost)}, so this run can neither be "
                "loaded nor repeated → set it as an option; a lambda may hold single numbers and words only",
                stacklevel=2,
            )

    def reproducible(self) -> dict[str, Any]:
        """The resolved configuration, without what names this one run."""
        return reproducible(yaml.safe_load(self.parser.dump(self.config, skip_none=False)))

    @staticmethod
    def _path(taken: set[str], stage: str) -> str:
        number = 1
        while (path := f"{names.CONFIG_DIR}/{stage}{'' if number == 1 else f'-{number}'}.yaml") in taken:
            number += 1
        return path
