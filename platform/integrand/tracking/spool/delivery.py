"""Sends spooled operations to MLflow; the live sender and `integrand sync` both use it."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import folders
from .operations import Operation, is_inside

# REST accepts 1000 metrics, 100 parameters and 100 tags per request
MAX_METRICS = 1000
MAX_PARAMS = 100

_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}


class Delivery:
    """Writes operations of one run into its store.

    Args:
        client: An `MlflowClient`, or anything with the methods used here.
        run_id: The run.
        artifact_dir: Local folder of the run's artifacts; None if the store keeps them elsewhere.
        spool: The folder of the spool; None takes the run's own.
        check: Called before every `send`; raises if the store is no longer the one that was opened.
    """

    def __init__(
        self,
        client: Any,
        run_id: str,
        artifact_dir: Path | None,
        spool: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._check = check
        self._client = client
        self._run_id = run_id
        self._artifact_dir = artifact_dir
        self._spool = spool or folders.spool_dir(run_id)
        self.refused: list[str] = []

    def send(self, operations: list[Operation], go_on: Callable[[], bool] = lambda: True) -> bool:
        """Send in order; consecutive metric operations go together.

        An operation that the store refuses for good (an invalid name, a changed parameter) is noted in
        `refused` and skipped, so that it cannot hold up what follows.

        Args:
            operations: What to send.
            go_on: Asked before every request.

        Returns:
            Whether all was sent; False if `go_on` said no.

        Raises:
            Exception: Whatever the client raised because the store cannot be reached now.
        """
        self._check()
        batch: list[Operation] = []
        size = 0
        for operation in operations:
            if not go_on():
                return False
            if operation.get("op") == "metrics":
                count = len(operation["v"])
                if batch and size + count > MAX_METRICS:
                    self._send_metrics(batch)
                    batch, size = [], 0
                batch.append(operation)
                size += count
                continue
            self._send_metrics(batch)
            batch, size = [], 0
            self._guarded(operation)
        self._send_metrics(batch)
        return True

    def _send_metrics(self, operations: list[Operation]) -> None:
        if not operations:
            return
        try:
            self._log_metrics(operations)
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(operations) == 1:
                self._note(operations[0], error)
                return
            # find the bad ones, keep the good ones
            half = len(operations) // 2
            self._send_metrics(operations[:half])
            self._send_metrics(operations[half:])

    def _log_metrics(self, operations: list[Operation]) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(name, value, operation["t"], operation["s"])
            for operation in operations
            for name, value in operation["v"].items()
        ]
        for start in range(0, len(points), MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=points[start : start + MAX_METRICS])

    def _guarded(self, operation: Operation) -> None:
        try:
            getattr(self, f"_do_{operation.get('op')}", self._do_unknown)(operation)
        except Exception as error:
            if not is_refusal(error):
                raise
            self._note(operation, error)

    def _note(self, operation: Operation, error: Exception) -> None:
        self.refused.append(f"{json.dumps(operation)[:200]}: {error}")

    def _do_unknown(self, operation: Operation) -> None:
        self.refused.append(f"unknown operation {json.dumps(operation)[:200]}")

    def _do_params(self, operation: Operation) -> None:
        from mlflow.entities import Param

        items = [Param(key, value) for key, value in operation["v"].items()]
        for start in range(0, len(items), MAX_PARAMS):
            self._client.log_batch(self._run_id, params=items[start : start + MAX_PARAMS])

    def _do_tags(self, operation: Operation) -> None:
        from mlflow.entities import RunTag

        items = [RunTag(key, value) for key, value in operation["v"].items()]
        for start in range(0, len(items), MAX_PARAMS):
            self._client.log_batch(self._run_id, tags=items[start : start + MAX_PARAMS])

    def _do_untag(self, operation: Operation) -> None:
        for key in operation["v"]:
            try:
                self._client.delete_tag(self._run_id, key)
            except Exception as error:
                # gone already: the operation was sent before a crash that came before the note of it
                if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def _do_name(self, operation: Operation) -> None:
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        # not update_run: it reads the status and writes it back, over that of a run ended in between
        self._client.set_tag(self._run_id, MLFLOW_RUN_NAME, operation["v"])

    def _do_status(self, operation: Operation) -> None:
        if operation["v"] == "RUNNING":
            self._client.update_run(self._run_id, status="RUNNING")
        else:
            self._client.set_terminated(self._run_id, operation["v"], operation["t"])

    def _do_dataset(self, operation: Operation) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            operation["name"], operation["digest"], "local", operation["source"], profile=operation["profile"]
        )
        context = InputTag("mlflow.data.context", operation["context"])
        self._client.log_inputs(self._run_id, datasets=[DatasetInput(data, [context])])

    def _do_artifact(self, operation: Operation) -> None:
        source, path = self._source(operation), str(operation["path"])
        if source is None or not is_inside(path):
            self.refused.append(
                f"artifact {path!r} from {operation['source']!r}: not in the run's own folders"
            )
        elif not source.is_file():
            self._miss(path)
        elif self._artifact_dir is not None:
            _place(source, self._artifact_dir / path, move=operation["move"])
        else:
            folder = Path(path).parent.as_posix()
            self._client.log_artifact(self._run_id, str(source), None if folder == "." else folder)
            if operation["move"]:
                source.unlink(missing_ok=True)
        if operation["move"] and source is not None:
            with suppress(OSError):
                source.parent.rmdir()

    def _source(self, operation: Operation) -> Path | None:
        """Where the content lies, None where that is no place of this run.

        A file of the spool is found wherever the spool has been moved to.
        """
        given = Path(operation["source"])
        if operation["move"]:
            return self._spool.joinpath("files", *given.parts[-2:]) if ".." not in given.parts[-2:] else None
        own = folders.checkpoint_dir(self._run_id)
        return given if given.resolve().is_relative_to(own.resolve()) else None

    def _miss(self, path: str) -> None:
        """A content that is gone was sent before a crash that came before the note of it, or it is lost."""
        if self._artifact_dir is None:
            folder = Path(path).parent.as_posix()
            found = self._client.list_artifacts(self._run_id, None if folder == "." else folder)
            there = path in {item.path for item in found}
        else:
            target = self._artifact_dir / path
            if (part := _part(target)).is_file() and not target.exists():
                part.replace(target)  # whole: earlier versions took the source away before this step
            there = target.exists()
        if not there:
            self.refused.append(f"artifact {path!r} is lost: its content is gone")


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _place(source: Path, target: Path, *, move: bool) -> None:
    """Bring a file to its place; whenever this is killed, one of the two is whole."""
    if source == target:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if move:
        try:
            source.replace(target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    # through a neighbour and a rename, so that a reader never sees half a file
    part = _part(target)
    shutil.copyfile(source, part)
    part.replace(target)
    if move:
        source.unlink()


def is_refusal(error: BaseException) -> bool:
    """Whether the store has understood the request and will never accept it."""
    return getattr(error, "error_code", None) in _REFUSALS
