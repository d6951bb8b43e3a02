"""Runs that train nothing and belong to the run whose model they sampled or measured."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import TrackingError
from ...record import RunRecord
from ..processes import process
from . import names
from .opening import open_store
from .runs import read_record
from .uris import resolve_uri

_COPIED = (names.FAMILY, names.GROUP, names.TASK, names.DATA, names.MODEL_CLASS, names.SUITE)


class ChildRuns:
    """Child runs of one training run; they have a role, so that comparisons and `latest` leave them out.

    Args:
        run_id: The training run; nothing is recorded where it is empty or the store does not know it.
        role: `sampling` or `evaluation`.
        tracking_uri: The store; None takes the default.
    """

    def __init__(self, run_id: str, role: str, tracking_uri: str | None = None) -> None:
        self.role = role
        self.parent: Any = None
        self._client: Any = None
        if run_id:
            self._client = open_store(resolve_uri(tracking_uri))
            try:
                self.parent = self._client.get_run(run_id)
            except Exception:  # MLflow, SQLAlchemy and requests each raise their own
                self.parent = None

    def begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> str:
        """Open a child run; returns its id, empty where nothing is recorded."""
        if self.parent is None:
            return ""
        copied = {k: v for k, v in self.parent.data.tags.items() if k in _COPIED}
        own = {
            names.ROLE: self.role,
            names.PARENT_RUN: self.parent.info.run_id,
            names.STATUS: "running",
            names.SOLVER: str(params.get("sampler", "")),
            # lets a later process see that this one died
            **process.identity(),
        }
        try:
            run = self._client.create_run(
                self.parent.info.experiment_id, tags={**copied, **own, **(tags or {})}, run_name=name
            )
            for key, value in params.items():
                if value is not None:
                    self._client.log_param(run.info.run_id, key, value)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TrackingError(
                f"the {self.role} cannot be recorded: {reason}", "integrand doctor"
            ) from error
        return str(run.info.run_id)

    def end(
        self, run_id: str, metrics: Mapping[str, float], files: Mapping[str, bytes | Path], error: str = ""
    ) -> None:
        """Log what was found and close the run.

        Args:
            run_id: What `begin` returned.
            metrics: Its metrics.
            files: Artifacts by path, as content or as a file of that name.
            error: What went wrong; empty where nothing did.
        """
        if not run_id:
            return
        for key, value in metrics.items():
            self._client.log_metric(run_id, key, value)
        self.store(run_id, files)
        if error:
            self._client.set_tag(run_id, names.ERROR_MESSAGE, error)
        self._client.set_tag(run_id, names.STATUS, "failed" if error else "finished")
        self._client.set_terminated(run_id, "FAILED" if error else "FINISHED", int(time.time() * 1000))

    def store(self, run_id: str, files: Mapping[str, bytes | Path]) -> None:
        """Artifacts of a run of this store, by path."""
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files.items():
                path = content if isinstance(content, Path) else Path(scratch) / Path(name).name
                if isinstance(content, bytes):
                    path.write_bytes(content)
                folder = Path(name).parent.as_posix()
                self._client.log_artifact(run_id, str(path), None if folder == "." else folder)

    def record(self, evaluation: str, settings: Mapping[str, Any], **fields: Any) -> RunRecord:
        """The record of an evaluation: that of the training run, but for what was measured.

        Args:
            evaluation: Name of the evaluation.
            settings: Its settings; with them its configuration is another one than its siblings'.
            **fields: Further fields of `RunRecord`.
        """
        run_id = self.parent.info.run_id
        trained = read_record(self._client, run_id) or RunRecord(run_id, status=self.parent.info.status)
        text = json.dumps([trained.config_digest, evaluation, dict(settings)], sort_keys=True, default=str)
        epoch = trained.metrics.get("best/epoch")
        own: dict[str, Any] = {
            "evaluates": {"run_id": run_id, "epoch": None if epoch is None else int(epoch)},
            "evaluation": {"name": evaluation, "settings": dict(settings)},
            "config": {**trained.config, "evaluation": dict(settings)},
            "config_digest": hashlib.sha256(text.encode()).hexdigest(),
            **{
                "error": None,
                "stopped": {},
                "history": {},
                "figures": [],
                "metrics": {},
                "cost": {},
                "run_key": "",
            },
        }
        return replace(trained, **{**own, **fields})
