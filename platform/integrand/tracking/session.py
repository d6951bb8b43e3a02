"""One open run: its store, and the channel (spool and sender) through which it is written."""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import AlreadyRunning, TrackingError
from .processes.exits import FULL
from .processes.process import beat, identity
from .processes.reaper import reap
from .request import RunRequest
from .spool import folders
from .spool.delivery import Delivery
from .spool.operations import Operation
from .spool.reader import SpoolReader
from .spool.sender import Sender
from .spool.spool import Spool
from .store import names
from .store.opening import get_or_create_experiment, open_store
from .store.refusals import checked_run, explained, forbidden
from .store.runs import checkpoint, find_run
from .store.unfinished import refuse_second_writer, unfinished_run
from .store.uris import file_identity, redact, resolve_uri, sqlite_path

log = logging.getLogger(__name__)


class Session:
    """Opens or creates the run and keeps the channel to it.

    Args:
        request: Which run.

    Raises:
        TrackingError: Store, run, artifact folder or spool cannot be used.
    """

    def __init__(self, request: RunRequest) -> None:
        self.uri = resolve_uri(request.tracking_uri)
        self.client = open_store(self.uri)
        which = request.run_id or self._unfinished(request)
        self.resumed = which is not None
        run = self._create_run(request) if which is None else self._continue_run(request, which)
        self.run_id: str = run.info.run_id
        self.run_name: str = run.info.run_name
        self.experiment_id: str = run.info.experiment_id
        self.started: float = run.info.start_time / 1000
        self.params: dict[str, str] = dict(run.data.params)
        self.tags: dict[str, str] = dict(run.data.tags)
        self.experiment: str = self.client.get_experiment(self.experiment_id).name
        self.artifact_dir = checked_run(self.uri, run.info)
        path = sqlite_path(self.uri)
        self._database = None if path is None else (path, file_identity(path))
        self._flush_every = request.flush_every
        self._channel: tuple[Spool, Sender] | None = None
        self._closed = False
        try:
            self._check_artifact_dir()
            self._opened()
        except TrackingError as error:
            if not self.resumed:
                self._end_unopened(error)
            raise

    def _end_unopened(self, error: TrackingError) -> None:
        ending = {names.ERROR_TYPE: "TrackingError", names.ERROR_MESSAGE: str(error), names.STATUS: "failed"}
        with suppress(Exception):  # a store on the same full disk: its run is found dead later
            for key, value in ending.items():
                self.client.set_tag(self.run_id, key, value)
            self.client.set_terminated(self.run_id, "FAILED")

    @property
    def files_dir(self) -> Path:
        """Folder of this run on the local disk: its artifact folder, else one under `integrand-runs/`."""
        return self.artifact_dir or folders.checkpoint_dir(self.run_id)

    @property
    def checkpoint_dir(self) -> Path:
        """Where checkpoints go: straight into the artifacts if those are local, so that nothing is copied."""
        if self.artifact_dir is not None:
            return self.artifact_dir / names.CHECKPOINT_DIR
        return folders.checkpoint_dir(self.run_id)

    @property
    def spool(self) -> Spool:
        """The spool; opened again after `close`."""
        return self._opened()[0]

    @property
    def sender(self) -> Sender:
        """The sending thread; started again after `close`."""
        return self._opened()[1]

    def flush(self, timeout: float) -> bool:
        """Wait until the store has everything; False if it has not after `timeout` seconds."""
        spool, sender = self._opened()
        if not sender.flush(spool.whole, timeout):
            return False
        if spool.behind:
            # a full disk: what it did not take goes to the store from memory
            return self._sent_directly(spool.take_unwritten())
        return True

    def conclude(self, operations: list[Operation]) -> None:
        """Send the end of a run past what cannot be stored, where the disk of the artifacts is full."""
        _, sender = self._opened()
        error = sender.last_error
        if (isinstance(error, OSError) and error.errno in FULL) or "disk is full" in str(error):
            self._sent_directly(operations)

    def _sent_directly(self, operations: list[Operation]) -> bool:
        delivery = self._connect()
        try:
            delivery.send(operations)
        except Exception as error:
            log.warning("tracking: the end of run %s cannot be recorded (%s)", self.run_id, error)
            return False
        return True

    def close(self) -> None:
        """Stop the sender and close the spool; what has not been sent stays for `integrand sync`.

        The spool stays locked while a request is under way that the store may answer later: what another
        process sends meanwhile could be overtaken by it.
        """
        if self._channel is not None and not self._closed:
            spool, sender = self._channel
            self._closed = True
            sender.close(spool.close)

    def artifact_paths(self, folder: str) -> set[str]:
        """Paths of the artifacts that a continued run already has in `folder`."""
        if not self.resumed:
            return set()
        try:
            return {item.path for item in self.client.list_artifacts(self.run_id, folder)}
        except Exception as error:
            log.warning("tracking: the artifacts of run %s cannot be listed (%s)", self.run_id, error)
            return set()

    def recorded(self) -> dict[str, list[Any]]:
        """The points that the store has of every metric of a continued run."""
        run = self.client.get_run(self.run_id)
        return {key: list(self.client.get_metric_history(self.run_id, key)) for key in run.data.metrics}

    def _create_run(self, request: RunRequest) -> Any:
        artifact_dir = Path(request.artifact_dir or "mlartifacts")
        experiment = get_or_create_experiment(self.client, self.uri, request.experiment, artifact_dir)
        # MLflow draws names from the global generator, which is seeded: every run would have the same
        name = request.run_name or f"run-{uuid.uuid4().hex[:6]}"
        try:
            tags = {**request.tags, **identity(), names.STATUS: "running"}
            run = self.client.create_run(experiment.experiment_id, tags=tags, run_name=name)
        except Exception as error:
            problem = forbidden(f"experiment {request.experiment!r}", self.uri, error)
            raise problem or explained(self.uri, error) from error

        if request.resume and (key := tags.get(names.RUN_KEY)):
            # once more: another process may have begun since the first look
            refuse_second_writer(self.client, request.experiment, key, run)
        return run

    def _unfinished(self, request: RunRequest) -> str | None:
        key = request.tags.get(names.RUN_KEY)
        if not (request.resume and key):
            return None
        refuse_second_writer(self.client, request.experiment, key)
        run = unfinished_run(self.client, request.experiment, key)
        return None if run is None else str(run.info.run_id)

    def _continue_run(self, request: RunRequest, which: str) -> Any:
        # a prefix or `latest` is welcome here too
        run_id = find_run(which, self.uri, None, client=self.client).run_id
        mine = identity()
        try:
            for key, value in {**request.tags, **mine, names.STATUS: "running"}.items():
                self.client.set_tag(run_id, key, value)
        except Exception as error:
            if problem := forbidden(f"run {run_id[:8]}", self.uri, error):
                raise problem from error
            raise
        self.client.update_run(run_id, status="RUNNING")
        run = self.client.get_run(run_id)
        if any(run.data.tags.get(key) != mine[key] for key in (names.PROCESS_HOST, names.PROCESS_ID)):
            raise AlreadyRunning(f"another process has just gone on with run {run_id[:8]}", "wait for it")
        return run

    def _check_artifact_dir(self) -> None:
        if self.artifact_dir is None:
            return
        probe = self.artifact_dir / f".write-test-{os.getpid()}"
        try:
            self.artifact_dir.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise TrackingError(
                f"the artifact directory {self.artifact_dir} cannot be written ({error.strerror or error})",
                "make it writable, or start a new experiment (--trainer.logger.experiment NAME) with "
                "--trainer.logger.artifact_dir DIR: the place is fixed when an experiment is created",
            ) from error

    def _meta(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "run_name": self.run_name,
            "experiment": self.experiment,
            "tracking_uri": redact(self.uri),
            "artifact_dir": str(self.artifact_dir) if self.artifact_dir else None,
        }

    def _opened(self) -> tuple[Spool, Sender]:
        if self._channel is not None and (not self._closed or self._channel[1].go_on()):
            self._closed = False
            return self._channel
        spool = Spool(folders.spool_dir(self.run_id), self._meta())
        sender = Sender(
            SpoolReader(spool.directory), self._connect, self._flush_every, self._reap, self._beat
        )
        self._channel, self._closed = (spool, sender), False
        return self._channel

    def _connect(self) -> Delivery:
        return Delivery(self.client, self.run_id, self.artifact_dir, check=self._still_there)

    def _still_there(self) -> None:
        """A deleted database takes everything without a word, as long as its file is open."""
        if self._database is not None and file_identity(self._database[0]) != self._database[1]:
            raise TrackingError(f"the database {self._database[0]} has been deleted or replaced")

    def _beat(self) -> None:
        self.client.set_tag(self.run_id, names.PROCESS_BEAT, beat())

    def _reap(self) -> None:
        for run_id in reap(self.client, [self.experiment_id], keep=self.run_id):
            log.info("tracking: run %s was left RUNNING by a dead process; it is now KILLED", run_id)


def last_checkpoint(request: RunRequest, session: Session | None) -> Path | None:
    """The last checkpoint of the run that is gone on with, None where there is none.

    Args:
        request: Which run is wanted.
        session: The open run, None on other processes than the first.

    Raises:
        TrackingError: The store cannot be used.
        UsageError: The checkpoint is damaged, or another run's.
    """
    if session is not None:
        run_id = session.run_id if session.resumed else None
        client = session.client
    else:
        client = open_store(request.tracking_uri)
        key = request.tags.get(names.RUN_KEY) if request.resume else None
        run = unfinished_run(client, request.experiment, key) if key else None
        run_id = request.run_id if run is None else run.info.run_id
    if run_id is None:
        if request.resume:
            # asked for "in case there is one": Lightning need not warn that there is none
            warnings.filterwarnings("ignore", ".*no last checkpoint available.*")
        return None
    handle = find_run(run_id, resolve_uri(request.tracking_uri), client=client)
    try:
        path = checkpoint(handle, "last")
    except TrackingError:
        warnings.filterwarnings("ignore", ".*no last checkpoint available.*")
        return None  # it ended before its first epoch did
    return path
