"""Records what was sampled: one child run of the training run for each sampler and budget."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TrackingError
from ..tracking.processes import process
from ..tracking.store import names
from ..tracking.store.opening import open_store
from ..tracking.store.uris import resolve_uri

_COPIED = (names.FAMILY, names.GROUP, names.TASK, names.DATA, names.MODEL_CLASS, names.SUITE)
FOLDER = "samples"
"""Folder of the artifacts."""


class SamplingRuns:
    """Child runs with `role: sampling`, which comparisons and `latest` leave out.

    Args:
        run_id: The training run; nothing is recorded where it is empty or the store does not know it.
        tracking_uri: The store; None takes the default.
    """

    def __init__(self, run_id: str, tracking_uri: str | None = None) -> None:
        self.uri = resolve_uri(tracking_uri)
        self.parent: Any = None
        self._client: Any = None
        if run_id:
            self._client = open_store(self.uri)
            try:
                self.parent = self._client.get_run(run_id)
            except Exception:  # MLflow, SQLAlchemy and requests each raise their own
                self.parent = None

    def begin(self, name: str, params: Mapping[str, Any]) -> str:
        """Open a child run; returns its id, empty where nothing is recorded."""
        if self.parent is None:
            return ""
        tags = {k: v for k, v in self.parent.data.tags.items() if k in _COPIED}
        tags |= {
            names.ROLE: names.ROLE_SAMPLING,
            names.PARENT_RUN: self.parent.info.run_id,
            names.STATUS: "running",
            names.SOLVER: str(params.get("sampler", "")),
            # lets a later process see that this one died
            **process.identity(),
        }
        try:
            run = self._client.create_run(self.parent.info.experiment_id, tags=tags, run_name=name)
            for key, value in params.items():
                if value is not None:
                    self._client.log_param(run.info.run_id, key, value)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TrackingError(f"the samples cannot be recorded: {reason}", "integrand doctor") from error
        return str(run.info.run_id)

    def end(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes | Path],
        error: str = "",
    ) -> None:
        """Log what was found and close the run.

        Args:
            run_id: What `begin` returned.
            metrics: Its metrics.
            files: Artifacts by name, as content or as a file of that name.
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

    def store(self, run_id: str, files: Mapping[str, bytes | Path], folder: str = FOLDER) -> None:
        """Artifacts of a run of this store."""
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files.items():
                path = content if isinstance(content, Path) else Path(scratch) / name
                if isinstance(content, bytes):
                    path.write_bytes(content)
                self._client.log_artifact(run_id, str(path), folder)
