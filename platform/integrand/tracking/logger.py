"""The Lightning logger: values go to a local spool first, and to MLflow in batches from there."""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import time
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from ..record import RunRecord
from .history import History, is_single
from .processes import slurm
from .processes.exits import status_word
from .request import RunRequest
from .session import Session, last_checkpoint
from .spool import folders, operations
from .store import names
from .store.uris import resolve_uri

log = logging.getLogger(__name__)

_BAD_NAME = re.compile(r"[^\w\-. :/]")


class MLflowTracker(Logger):
    """Records a run in MLflow without ever disturbing the training.

    Only opening the run can fail, with one clear error before training starts. From then on each value is
    appended to a local file and sent by a background thread in batches; if the store is away, training goes
    on, the thread tries again, and `integrand sync` sends what was left.

    Args:
        experiment: Name of the experiment; made if missing.
        run_name: Name of the run; by default family, data set, seed and a few random letters.
        run_id: Continue this run: its id, the first letters of it, or `latest`.
        tracking_uri: Tracking store; by default `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`.
        artifact_dir: Folder for artifacts of a new experiment; by default `mlartifacts`. A tracking server
            ignores it.
        tags: Further tags of the run.
        suite: Name of the suite that the run belongs to.
        run_key: Digest of the cell of that suite.
        parent_run_id: Run under which MLflow shows this one.
        resume: Go on with the unfinished run of this `run_key`, if there is one; with `--ckpt_path last` from
            its last checkpoint.
        step_interval: Record values of single steps every so many steps; by default the trainer's
            `log_every_n_steps`.
        flush_every: Seconds between batches.
        flush_points: Send before that if so many values wait.
        exit_seconds: How long the end of a run waits for a store that does not answer.
    """

    def __init__(
        self,
        experiment: str = "integrand",
        run_name: str | None = None,
        run_id: str | None = None,
        tracking_uri: str | None = None,
        artifact_dir: str | None = None,
        tags: dict[str, str] | None = None,
        suite: str = "",
        run_key: str = "",
        parent_run_id: str | None = None,
        resume: bool = False,
        step_interval: int | None = None,
        flush_every: float = 10.0,
        flush_points: int = 1000,
        exit_seconds: float = 30.0,
    ) -> None:
        super().__init__()
        job = "" if run_key or run_id else slurm.job_key()  # queued again, it goes on with its own run
        own = {names.SUITE: suite, names.RUN_KEY: run_key or job, names.PARENT_RUN: parent_run_id or ""}
        self._request = RunRequest(
            experiment=experiment,
            run_name=run_name,
            run_id=run_id,
            tracking_uri=tracking_uri,
            artifact_dir=artifact_dir,
            tags={**(tags or {}), **{key: value for key, value in own.items() if value}},
            flush_every=flush_every,
            resume=resume or (bool(job) and slurm.restarted()),
        )
        self.step_interval = step_interval
        self.suite = suite
        self.run_key = run_key
        self._flush_points = flush_points
        self._exit_seconds = exit_seconds
        self._session: Session | None = None
        self._failed = False
        self._adopted: tuple[str, Path, Path] | None = None
        self._names: dict[str, str] = {}
        self._stage = ""
        self.config_text = ""
        self._waiting = 0
        self._wants_name = run_name is None and run_id is None
        self._spool_warned = False
        self.epoch = 0
        self.status = ""
        self.history = History()
        self.record = RunRecord(run_id="")
        self._clock = 0.0

    # ---------------------------------------------------------------- identity

    @property
    def name(self) -> str:
        """Empty: Lightning's default paths are `save_dir/name/version`, and `save_dir` is this run's."""
        return ""

    @property
    def version(self) -> str | None:
        """The run id."""
        return self.run_id

    @property
    def run_id(self) -> str | None:
        """The MLflow run id; opens the run on the first process, None on others until `adopt`."""
        if self._adopted is not None:
            return self._adopted[0]
        session = self.session
        return session.run_id if session else self._request.run_id

    @property
    def tracking_uri(self) -> str:
        """The store that the run is in."""
        return resolve_uri(self._request.tracking_uri)

    @property
    def save_dir(self) -> str | None:
        """The run's folder on the local disk: its artifacts if those are local."""
        if self._adopted is not None:
            return str(self._adopted[1])
        session = self.session
        return str(session.files_dir) if session else None

    @property
    def checkpoint_dir(self) -> Path | None:
        """Where the run's checkpoints are written."""
        if self._adopted is not None:
            return self._adopted[2]
        session = self.session
        return session.checkpoint_dir if session else None

    def last_checkpoint(self) -> Path | None:
        """Where a continued run goes on from; every process finds it for itself."""
        return last_checkpoint(self._request, self.session)

    @property
    def experiment(self) -> Any:
        """The `MlflowClient`, None on other processes than the first. Access opens the run."""
        session = self.session
        return session.client if session else None

    @property
    def session(self) -> Session | None:
        """The open run, opened on first access; None on other processes, and after a failure to open it."""
        if self._session is None and not self._failed and _is_first_process():
            # the first error says what is wrong; what still runs after it must not try again
            self._failed = True
            self._open()
            self._failed = False
        return self._session

    @property
    def resumed(self) -> bool:
        """Whether this continues an earlier run."""
        return self._session.resumed if self._session else self._request.run_id is not None

    def adopt(self, identity: tuple[str, str, str] | None) -> None:
        """Take over (run id, folder, checkpoint folder) that the first process has broadcast."""
        if identity is not None and self._session is None:
            self._adopted = (identity[0], Path(identity[1]), Path(identity[2]))

    def identity(self) -> tuple[str, str, str] | None:
        """What `adopt` takes."""
        session = self.session
        return (session.run_id, str(session.files_dir), str(session.checkpoint_dir)) if session else None

    @property
    def stage(self) -> str:
        """Lightning's name of what runs: `fit`, `validate`, `test`, `predict`."""
        return self._stage

    @stage.setter
    def stage(self, stage: str) -> None:
        if stage != self._stage:
            self._stage = stage
            self._names.clear()

    # ---------------------------------------------------------------- recording

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append values of one step to the spool; infinities are kept as NaN, which charts can bear."""
        session = self.session
        if session is None:
            return
        now = time.time()
        step = 0 if step is None else int(step)
        seconds = now - self._clock
        values: dict[str, float] = {}
        for key, raw in metrics.items():
            name = self._names.get(key) or self._clean(key)
            if name == "epoch":
                continue
            if step <= self.history.floor.get(name, -1):
                continue
            if is_single(name):
                # MLflow calls the value of the highest step the latest, and a test knows no steps
                step = max(step, self.history.max_step)
            value = float(raw)
            if math.isinf(value):
                value = math.nan
            values[name] = value
            self.history.add(name, step, self.epoch, seconds, value)
        if not values:
            return
        self._append(session, operations.metrics(values, step, now))
        self._waiting += len(values)
        if self._waiting >= self._flush_points:
            self._waiting = 0
            session.sender.wake()

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: parameters come whole from the resolved configuration (`ConfigRecorder`)."""

    @rank_zero_only
    def log_params(self, params: Mapping[str, str]) -> None:
        """Record parameters that the run does not have yet; MLflow never changes one."""
        if (session := self.session) is None:
            return
        fresh = {key: value for key, value in params.items() if key not in session.params}
        if fresh:
            session.params.update(fresh)
            self._append(session, operations.params(fresh))

    @rank_zero_only
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run, as text of at most 5,000 characters each."""
        if session := self.session:
            self._append(session, operations.tags({key: str(value)[:5000] for key, value in tags.items()}))

    @rank_zero_only
    def drop_tags(self, keys: Iterable[str]) -> None:
        """Take away tags that a continued run has from before."""
        if (session := self.session) and (gone := [key for key in keys if key in session.tags]):
            self._append(session, operations.untag(gone))

    @rank_zero_only
    def log_text(self, text: str, path: str) -> None:
        """Store `text` as artifact `path`."""
        self.log_bytes(text.encode(), path)

    @rank_zero_only
    def log_bytes(self, content: bytes, path: str) -> None:
        """Store `content` as artifact `path`."""
        if (session := self.session) is None:
            return
        try:
            file = session.spool.new_file(Path(path).name)
            file.write_bytes(content)
        except OSError as error:
            log.warning("tracking: artifact %s is lost (%s)", path, error)
            return
        self._append(session, operations.artifact(path, file, move=True))

    @rank_zero_only
    def log_checkpoint(self, file: Path, path: str) -> None:
        """Store a file of `checkpoint_dir`, which stays where it is, as artifact `path`."""
        if session := self.session:
            self._append(session, operations.artifact(path, file.absolute(), move=False))

    @rank_zero_only
    def log_dataset(self, name: str, digest: str, source: str, profile: str, context: str) -> None:
        """Record a data set as an input of the run."""
        if session := self.session:
            self._append(session, operations.dataset(name, digest, source, profile, context))

    @rank_zero_only
    def suggest_name(self, run_name: str) -> None:
        """Name the run, unless the user named it or it is an older run continued."""
        if self._wants_name and (session := self.session) and not session.resumed:
            self._wants_name = False
            session.run_name = self.record.run_name = run_name
            self._append(session, operations.name(run_name))

    # ---------------------------------------------------------------- beginning and end

    @rank_zero_only
    def reopen(self) -> None:
        """The run goes on after it had ended: a test after a fit."""
        if self.status and (session := self.session):
            self.status = ""
            self.record.status, self.record.ended, self.record.error = "RUNNING", None, None
            atexit.register(self._at_exit, os.getpid())
            self._append(session, operations.tags({names.STATUS: "running"}))
            self._append(session, operations.status("RUNNING"))

    @rank_zero_only
    def end(self, status: str, timeout: float | None = None) -> None:
        """Give the run its final status and send everything, for at most `timeout` or `exit_seconds`.

        If the store does not take all of it, the rest stays in the spool and a warning says so.
        """
        session = self._session
        if session is None or self.status:
            return
        self.status = status
        tags = {names.STATUS: status_word(status, self.record.stopped)}
        for operation in (ending := [operations.tags(tags), operations.status(status)]):
            self._append(session, operation)
        if not session.flush(self._exit_seconds if timeout is None else timeout):
            log.warning(
                "tracking: the store has not taken all of run %s; `integrand sync` sends the rest from %s",
                *(session.run_id, session.spool.directory),
            )
            session.conclude(ending)
        session.close()
        atexit.unregister(self._at_exit)

    @rank_zero_only
    def flush(self, timeout: float | None = None) -> bool:
        """Send what waits; whether the store took it within `timeout` or `exit_seconds`."""
        session = self._session
        return session is None or session.flush(self._exit_seconds if timeout is None else timeout)

    def save(self) -> None:
        """Nothing to do: values are on disk as soon as they are logged."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Lightning's end of a stage: `success`, or `failed` for anything raised."""
        if status == "success":
            self.end("FINISHED")
        elif status == "failed":
            self.end("FAILED")

    # ---------------------------------------------------------------- inside

    def _open(self) -> None:
        session = self._session = Session(self._request)
        self._begin_record(session)
        atexit.register(self._at_exit, os.getpid())

    def _begin_record(self, session: Session) -> None:
        """Fill the record, and for a continued run take up its series and the steps it already has."""
        record = RunRecord(run_id=session.run_id)
        if session.resumed:
            from .store.runs import read_record

            # what the earlier process left in the spool belongs to what is already recorded
            session.flush(self._exit_seconds)
            record = read_record(session.client, session.run_id) or record
            self.history = History.of_run(record, session.recorded(), session.started)
        # the time between the end of the earlier process and now is nobody's
        self._clock = time.time() - self.history.seconds if session.resumed else session.started
        record.run_name, record.experiment = session.run_name, session.experiment
        record.status, record.started, record.ended, record.error = "RUNNING", session.started, None, None
        record.suite = self.suite or record.suite
        record.run_key = self.run_key or record.run_key
        self.record = record

    def _append(self, session: Session, operation: dict[str, Any]) -> None:
        spool = session.spool
        spool.append(operation)
        if spool.behind and not self._spool_warned:
            self._spool_warned = True
            log.warning(
                "tracking: the disk of %s takes no more; values are kept in memory", folders.spool_root()
            )

    def _clean(self, key: str) -> str:
        """`key` as MLflow takes it; a separate validation must not mix with the fit's."""
        name = _BAD_NAME.sub("_", key)[:250]
        if self._stage == "validate" and name.startswith("val/"):
            name = "validate/" + name.removeprefix("val/")
        self._names[key] = name
        return name

    def _at_exit(self, pid: int) -> None:
        # a forked worker inherits this registration but not the run; whoever leaves without ending has failed
        if os.getpid() == pid:
            self.end("FAILED")


def _is_first_process() -> bool:
    # an attribute of the function, which Lightning sets from the environment
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0
