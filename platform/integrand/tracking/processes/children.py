"""Watches the processes that a fit on several devices has started; ends its run if one of them is lost."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from subprocess import Popen
from typing import Any

from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ..logger import MLflowTracker
from ..store import names
from .exits import SIGNAL_SECONDS, describe_exit
from .lost import LostProcessError

GRACE = 60.0
"""How long this process may take to see by itself that another is gone: its next exchange fails."""


def watch_children(trainer: Trainer) -> None:
    """Let lost processes end the run FAILED, where this process is going to start the others.

    Lightning's own observer kills this process within five seconds, before the run has an end.

    Args:
        trainer: A trainer that has not begun.
    """
    launcher = trainer.strategy.launcher
    if type(launcher) is _SubprocessScriptLauncher:
        trainer.strategy._launcher = _Launcher(launcher, trainer)


class _Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher with another observer."""

    def __init__(self, launcher: _SubprocessScriptLauncher, trainer: Trainer) -> None:
        super().__init__(launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)
        self._trainer = trainer

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other processes and call the function, as Lightning does."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            ChildObserver(self.procs, lambda error: fail(self._trainer, error)).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


class ChildObserver(threading.Thread):
    """Waits for a child that ends badly; if this process does not end soon after, ends it.

    Args:
        children: The processes, by rank from 1 on.
        end: Called with what happened; does not return.
        grace: Seconds for this process to end by itself.
        pause: Seconds between two looks.
    """

    def __init__(
        self,
        children: Sequence[Popen[Any]],
        end: Callable[[LostProcessError], None],
        grace: float = GRACE,
        pause: float = 0.5,
    ) -> None:
        super().__init__(daemon=True, name="child-observer")
        self._children, self._end, self._grace, self._pause = children, end, grace, pause

    def run(self) -> None:
        """Look until all have ended well, or one has not and the time of grace is over."""
        while True:
            codes = [child.poll() for child in self._children]
            if all(code == 0 for code in codes):
                return
            bad = [(rank, code) for rank, code in enumerate(codes, start=1) if code]
            if bad:
                break
            time.sleep(self._pause)
        time.sleep(self._grace)
        for child in self._children:
            if child.poll() is None:
                child.kill()
        rank, code = bad[0]
        self._end(LostProcessError(f"process {rank} of this fit was lost: {describe_exit(code)}"))


def fail(trainer: Trainer, error: LostProcessError) -> None:
    """End the run FAILED and this process with it: it hangs where no exception reaches it."""
    print(f"integrand: error: {error}", file=sys.stderr, flush=True)
    tracker = trainer.logger
    try:
        if isinstance(tracker, MLflowTracker) and tracker.session is not None:
            found = {"type": type(error).__name__, "message": error.message}
            tracker.record.error, tracker.record.status = found, "FAILED"
            tracker.set_tags({names.ERROR_TYPE: found["type"], names.ERROR_MESSAGE: found["message"]})
            tracker.end("FAILED", SIGNAL_SECONDS)
    finally:
        os._exit(error.exit_code)
