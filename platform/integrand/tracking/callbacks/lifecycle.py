"""How a run begins and ends: names and tags, signals, exceptions, its final status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from integrand.datamodules.base import data_of

from ..logger import MLflowTracker
from ..processes.exits import SAVED_CODE, SIGNAL_SECONDS, Pruned, exit_code
from ..processes.lost import LostProcessError, is_lost
from ..processes.orphans import end_orphan
from ..spool import folders
from ..store import names
from ..store.notes import run_note
from .base import TrackingCallback, say_stopped, stage_name, tracker_of
from .described import family_of

log = logging.getLogger(__name__)

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupted(SIGTERMException):
    """A signal asked the process to end; the exit code is 128 + its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.signum).name}"


class Lifecycle(TrackingCallback):
    """Sees to it that a run never stays RUNNING: FINISHED, FAILED with its traceback, or KILLED by a signal.

    SIGTERM, SIGHUP and Ctrl-C end the loop at once and make the exit code 128 + the signal's number.
    Lightning's own SIGTERM handler broadcasts to all processes from inside the handler, which hangs if one
    of them waits elsewhere, ends with code 0, and waits for the end of a batch; it is replaced while a
    stage runs.
    """

    def __init__(self) -> None:
        self._before: dict[int, _Handler] = {}
        self._trainer: Trainer | None = None
        self._uri = ""

    # ------------------------------------------------------------------ beginning

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Name and tag the run, share its id with all processes, watch for signals."""
        super().setup(trainer, pl_module, stage)
        stage = stage_name(stage)
        tracker = self.tracker
        if tracker is None:
            return
        if trainer.world_size > 1:
            uri = tracker.session.uri if tracker.session is not None else ""
            identity, self._uri = trainer.strategy.broadcast((tracker.identity(), uri))
            tracker.adopt(identity)
        self._arm(trainer)
        tracker.reopen()
        if stage == "fit" and tracker.resumed:
            self._go_on(tracker)
        tracker.stage = stage
        self._describe(trainer, pl_module)

    @staticmethod
    def _go_on(tracker: MLflowTracker) -> None:
        """A fit is gone on with: count that, and forget what ended it last time."""
        tracker.record.stopped = {}
        if tracker.session is not None:
            tracker.set_tags({names.RESUMED: str(int(tracker.session.tags.get(names.RESUMED, "0")) + 1)})
            tracker.drop_tags(names.ENDINGS)

    def _describe(self, trainer: Trainer, pl_module: LightningModule) -> None:
        tracker = self.tracker
        if tracker is None or tracker.session is None:
            return
        record = tracker.record
        record.seed = _seed()
        self._describe_model(pl_module)
        self._describe_data(trainer)
        tags = {
            names.FAMILY: record.family,
            names.GROUP: record.group,
            names.TASK: record.task,
            names.DATA: record.data["name"],
            names.MODEL_CLASS: record.model_class,
            names.SOLVER: record.solver,
            names.GRADIENT: record.gradient,
            names.SEED: "" if record.seed is None else str(record.seed),
        }
        tracker.set_tags({key: value for key, value in tags.items() if value})
        if names.NOTE not in tracker.session.tags:
            # a description that the user wrote stays
            tracker.set_tags({names.NOTE: run_note(record, tracker.session.experiment_id)})
        parts = [record.family, record.data["name"], "" if record.seed is None else f"s{record.seed}"]
        tracker.suggest_name("-".join([*filter(None, parts), uuid.uuid4().hex[:6]]))

    def _describe_model(self, pl_module: LightningModule) -> None:
        assert self.tracker is not None
        record, family = self.tracker.record, family_of(pl_module)
        record.model_class = record.family = type(pl_module).__name__
        if family is not None:
            record.family = family.family or record.model_class
            record.group, record.task = family.group, family.task.name
            record.solver, record.gradient = family.describe_solver()

    def _describe_data(self, trainer: Trainer) -> None:
        assert self.tracker is not None
        data = data_of(trainer)
        if data is None:
            stranger = getattr(trainer, "datamodule", None)
            facts = {"name": type(stranger).__name__ if stranger else "", "digest": "", "spec": {}}
        else:
            facts = {"name": data.spec.name, "digest": data.digest, "spec": data.spec.to_dict()}
            # scales and columns that were inferred; the spec stands there already
            inferred = {key: value for key, value in data.description.items() if key != "spec"}
            facts |= {"inferred": inferred} if inferred else {}
        sizes = {} if data is None else data.sizes
        self.tracker.record.data = facts | {k: sizes.get(k) for k in ("n_train", "n_val", "n_test")}

    # ------------------------------------------------------------------ signals

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch for signals; Lightning has put its own handlers in place since `setup`."""
        self._arm(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise; and say so if an older run begins again from nothing."""
        self._arm(trainer)
        tracker = self.tracker
        if tracker is not None and tracker.history.floor and trainer.global_step == 0:
            log.warning(
                "run %s is continued without a checkpoint: steps that it already has are not recorded again "
                "(integrand fit --resume RUN_ID goes on from where it ended)",
                tracker.run_id,
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise, for `validate`."""
        if trainer.state.fn == "validate":
            self._arm(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise."""
        self._arm(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise."""
        self._arm(trainer)

    def _arm(self, trainer: Trainer) -> None:
        if self.tracker is None or threading.current_thread() is not threading.main_thread():
            return
        self._trainer = trainer
        for signum in _signals():
            current = signal.getsignal(signum)
            if current != self._on_signal:
                self._before.setdefault(signum, current)
                signal.signal(signum, self._on_signal)

    def disarm(self) -> None:
        """Put back the handlers that were there before."""
        if threading.current_thread() is threading.main_thread():
            for signum, handler in self._before.items():
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        self._trainer = None

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        for other in _signals():
            signal.signal(other, signal.SIG_IGN)
        launcher = self._trainer.strategy.launcher if self._trainer is not None else None
        kill = getattr(launcher, "kill", None)
        if kill is not None:
            # processes that Lightning started; elsewhere the scheduler signals each process itself
            kill(signal.SIGTERM)
        raise Interrupted(signum)

    # ------------------------------------------------------------------ end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say in the run what ended it."""
        # a data set that fails in `setup` ends the run before this callback's own
        tracker = self.tracker or tracker_of(trainer)
        if tracker is None:
            return
        interrupted = is_interrupt(exception)
        text = "".join(traceback.format_exception(exception))
        if tracker.session is None:
            if tracker.run_id:
                self._without_the_first(tracker.run_id, trainer.global_rank, exception, text)
            return
        record = tracker.record
        record.error = {
            "type": type(exception).__name__,
            "message": str(exception) or type(exception).__name__,
        }
        if not interrupted:
            tracker.log_text(text, names.TRACEBACK)
            if is_lost(exception):
                lost = LostProcessError()
                record.error = {"type": type(lost).__name__, "message": lost.message}
            self._of_the_others(tracker, exception)
        if isinstance(exception, Pruned):
            say_stopped(tracker, "pruner", str(exception))
        tracker.set_tags(
            {names.ERROR_TYPE: record.error["type"], names.ERROR_MESSAGE: record.error["message"]}
        )
        record.status = "KILLED" if interrupted else "FAILED"

    @staticmethod
    def _of_the_others(tracker: MLflowTracker, exception: BaseException) -> None:
        """Note what went wrong in other processes.

        The first process only sees that the connection was closed; this is why.
        """
        for rank, found in _words_left(tracker.record.run_id):
            tracker.log_text(found, f"error/traceback-rank-{rank}.txt")
            kind, _, message = found.strip().splitlines()[-1].partition(": ")
            tracker.record.error = {
                "type": kind.rpartition(".")[2],
                "message": f"{message or kind} (process {rank})",
            }
            exception.add_note(f"process {rank}: {kind.rpartition('.')[2]}: {message}")

    def _without_the_first(self, run_id: str, rank: int, exception: BaseException, text: str) -> None:
        """On another process: tell the first one what went wrong; end its run if it is gone itself."""
        interrupted = is_interrupt(exception)
        if not interrupted:
            _leave_word(run_id, rank, text)
        if self._uri and (interrupted or is_lost(exception)):
            # launchers signal the others when one is lost
            end_orphan(run_id, self._uri, wait=not interrupted)


class FinalStatus(TrackingCallback):
    """Gives an ended run its status, after all other callbacks have recorded what they had.

    Args:
        lifecycle: Watches for signals until then.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """FINISHED, before a late signal can hit."""
        if self.tracker is not None:
            self.tracker.end("FINISHED")
        self._lifecycle.disarm()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """FAILED or KILLED; a signal leaves little time."""
        tracker = self.tracker or tracker_of(trainer)
        interrupted = is_interrupt(exception)
        if tracker is not None:
            # told in good time it may send its checkpoints; told by SIGTERM it has seconds
            hurried = interrupted and exit_code(exception) != SAVED_CODE
            tracker.end("KILLED" if interrupted else "FAILED", SIGNAL_SECONDS if hurried else None)
        self._lifecycle.disarm()


def _leave_word(run_id: str, rank: int, text: str) -> None:
    """Tell the first process, through the run's spool, what went wrong here."""
    folder = folders.spool_dir(run_id)
    if folder.is_dir():
        (folder / f"rank-{rank}.txt").write_text(text, encoding="utf-8")


def _words_left(run_id: str) -> list[tuple[int, str]]:
    """What other processes of this machine left, by rank; taken away, lest a resumed run meets it."""
    found = []
    for path in sorted(folders.spool_dir(run_id).glob("rank-*.txt")):
        found.append((int(path.stem.removeprefix("rank-")), path.read_text(encoding="utf-8")))
        path.unlink()
    return found


def is_interrupt(exception: BaseException) -> bool:
    """Whether the user or the system ended the run, rather than an error."""
    if isinstance(exception, KeyboardInterrupt | SIGTERMException | Pruned):
        return True
    return isinstance(exception, SystemExit) and (exit_code(exception) or 0) > 128


def _signals() -> list[int]:
    found = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        # nohup ignores it on purpose
        found.append(signal.SIGHUP)
    if not _interactive():
        found.append(signal.SIGINT)
    return [int(signum) for signum in found]


def _interactive() -> bool:
    """Whether Ctrl-C must stay a KeyboardInterrupt: in a notebook or at a prompt."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def _seed() -> int | None:
    """The seed of the run, as Lightning keeps it."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return int(seed) if seed is not None and seed.lstrip("-").isdigit() else None
