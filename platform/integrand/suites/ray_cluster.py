"""The Ray launcher: cells as tasks of a cluster, which gives them cores, GPUs and, if lost, another node."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Sized
from itertools import islice
from pathlib import Path
from typing import Any

from integrand.errors import UsageError

from .attempts import GRACE_SECONDS, with_last_error
from .code import code_digest
from .launcher import LOST_RETRIES, Observer, Outcome, Task
from .ray_task import Board, run_cell
from .stopping import StopRequest

_PASSED = ("MLFLOW_", "INTEGRAND_", "AWS_", "PYTHONPATH")
"""Variables of the driver that cells get, by how they begin: workers have the environment of their node."""


class RayLauncher:
    """Runs tasks on a Ray cluster that is there, from a machine that is part of it.

    A cell that fails is tried again on its node; one whose worker or node is lost elsewhere. Output comes
    back through an actor of this process into the files into which the local launcher writes. When this
    process is told to stop, or dies, its cells end.

    Args:
        address: Address of the cluster; None takes RAY_ADDRESS, else the cluster of this machine.
        cpus: Cores of a cell.
        gpus: GPUs of a cell, also a part of one; None takes 1 where the cluster has any.
        jobs: Cells at a time; None takes as many as there is room for.
        retries: New tries of a cell that failed.
        grace: Seconds that cells have to end after SIGTERM.

    Raises:
        UsageError: There is no Ray, no cluster, or no node on which a cell would have room.
    """

    adopts = False

    def __init__(
        self,
        address: str | None = None,
        cpus: int = 1,
        gpus: float | None = None,
        jobs: int | None = None,
        retries: int = 1,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._ray = _connected(address)
        self.cpus = cpus
        self.gpus = gpus if gpus is not None else float(self._ray.cluster_resources().get("GPU", 0) > 0)
        self.jobs = jobs
        self.retries = retries
        self.grace = grace
        self._stop = StopRequest()
        self._begun: set[str] = set()
        if not self.room():
            has = "; ".join(f"{n.get('CPU', 0):g} cores, {n.get('GPU', 0):g} GPUs" for n in self._nodes())
            raise UsageError(
                f"no node has {self.cpus} cores and {self.gpus:g} GPUs for a cell (nodes: {has})",
                "see --cpus and --gpus",
            )

    @property
    def stop_signal(self) -> int | None:
        """The signal that stopped the last `launch`, None where nothing did."""
        return self._stop.signal

    def room(self) -> int:
        """How many cells fit into the cluster at a time."""
        found = 0
        for node in self._nodes():
            fit = int(node.get("CPU", 0) // self.cpus)
            found += min(fit, int(node.get("GPU", 0) / self.gpus)) if self.gpus else fit
        return found

    def launch(self, tasks: Iterable[Task], observer: Observer) -> list[Outcome]:
        """Run every task; see `Launcher.launch`."""
        most = self._at_a_time(tasks)
        waiting, outcomes = iter(tasks), list[Outcome]()
        board, remote = self._board(), self._remote()
        self._begun = set()
        running: dict[Any, Task] = {}
        stopped: float | None = None
        try:
            with self._stop.watched():
                while True:
                    if self._stop.signal is not None and stopped is None:
                        stopped = time.monotonic()
                        observer.stopping(signal.Signals(self._stop.signal).name)
                        self._end(board, running)
                    if stopped is None:
                        for task in islice(waiting, most - len(running)):
                            running[remote.remote(board, _fields(task), self._settings())] = task
                    if not running:
                        return outcomes
                    ready, _ = self._ray.wait(list(running), num_returns=1, timeout=0.5)
                    self._show(board, running, observer)
                    for reference in ready:
                        outcome = self._outcome(reference, running[reference])
                        del running[reference]
                        outcomes.append(outcome)
                        observer.ended(outcome)
                    observer.tick()
                    if stopped is not None and self._is_out_of_patience(stopped):
                        self._kill(running)
                        return outcomes
        finally:
            self._ray.kill(board)

    def _at_a_time(self, tasks: Iterable[Task]) -> int:
        return self.jobs or (len(tasks) if isinstance(tasks, Sized) else self.room())

    def _is_out_of_patience(self, stopped: float) -> bool:
        """Whether tasks that were told to end at that time are to be killed."""
        return self._stop.count > 1 or time.monotonic() - stopped > self.grace + 10.0

    def _kill(self, running: Iterable[Any]) -> None:
        for reference in running:
            self._ray.cancel(reference, force=True)

    # ------------------------------------------------------------------ Ray

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _board(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        return self._ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()

    def _remote(self) -> Any:
        # an exception of run_cell is its own fault and would come again; a lost worker is none
        options = {"max_retries": LOST_RETRIES, "retry_exceptions": False}
        # "SPREAD": two cells on two nodes are faster than on one
        return self._ray.remote(
            num_cpus=self.cpus, num_gpus=self.gpus, scheduling_strategy="SPREAD", **options
        )(run_cell)

    def _settings(self) -> dict[str, Any]:
        return {
            "code": code_digest(),
            "cwd": str(Path.cwd()),
            "environment": self._environment(),
            "cpus": self.cpus,
            "retries": self.retries,
            "grace": self.grace,
        }

    def _environment(self) -> dict[str, str]:
        passed = {k: v for k, v in os.environ.items() if k.startswith(_PASSED)}
        # a cell that asked for no GPU would otherwise see all of its node
        return passed if self.gpus else {**passed, "CUDA_VISIBLE_DEVICES": ""}

    def _end(self, board: Any, running: dict[Any, Task]) -> None:
        """Cells that run end in order; those that wait never start."""
        board.stop.remote()
        for reference, task in running.items():
            if task.key not in self._begun:
                self._ray.cancel(reference)

    def _show(self, board: Any, running: dict[Any, Task], observer: Observer) -> None:
        tasks = {task.key: task for task in running.values()}
        for key, kind, value in self._ray.get(board.read.remote()):
            if key not in tasks:
                continue
            task = tasks[key]
            if kind == "output":
                with task.log.open("ab") as log:
                    log.write(value)
                continue
            start, host = value
            self._begun.add(key)
            if start == 1:
                task.log.parent.mkdir(parents=True, exist_ok=True)
                task.log.write_bytes(b"")
            else:
                observer.retried(task, f"its worker or node was lost; now on {host}")
            observer.started(task, start)

    def _outcome(self, reference: Any, task: Task) -> Outcome:
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            return Outcome(task, "interrupted", 0.0, 1, None, "cancelled")
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(task, "failed", 0.0, 1, None, f"the node cannot run it: {_last_line(error)}")
        except self._ray.exceptions.RayError as error:
            return Outcome(task, "failed", 0.0, LOST_RETRIES + 1, None, _last_line(error))
        outcome = Outcome(
            task, found["state"], found["seconds"], found["attempts"], found["returncode"], found["error"]
        )
        return with_last_error(outcome)


def _fields(task: Task) -> dict[str, Any]:
    return {"key": task.key, "label": task.label, "command": task.command, "limit": task.limit}


def _connected(address: str | None) -> Any:
    """Ray's module, connected to a cluster.

    Raises:
        UsageError: Ray is not installed, or the cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # what the next version does anyway, and without which it warns
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--launcher ray needs Ray", "pip install 'integrand[ray]'") from error
    if ray.is_initialized():
        return ray
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        ray.init(address=wanted, log_to_driver=False, configure_logging=False)
    except Exception as error:  # ConnectionError, RuntimeError, AuthenticationError, ValueError by version
        raise _why_unconnected(error, wanted) from error
    # what it prints of a lost worker or node, half a page, stands in one line where the cell is tried again;
    # there is no public switch for it: where this one is gone, all is printed
    with contextlib.suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = False
    return ray


def _why_unconnected(error: Exception, wanted: str) -> UsageError:
    text = f"{type(error).__name__} {error}"
    where = "on this machine" if wanted == "auto" else f"at {wanted}"
    if "ersion mismatch" in text:
        return UsageError(
            f"the Ray cluster {where} has other versions: {_last_line(error)}",
            "install the same Python and Ray on all machines",
        )
    if "uthenticat" in text or "token" in text.lower() or _listens(wanted):
        return UsageError(
            f"the Ray cluster {where} refuses this machine's token",
            "copy the head's ~/.ray/auth_token to this machine and set RAY_AUTH_MODE=token",
        )
    return UsageError(
        f"no Ray cluster {where} ({_last_line(error)})",
        "ray start --head here, ray start --address=HEAD:6379 on the others; see docs/scaling.md",
    )


def _listens(address: str) -> bool:
    """Whether something takes connections there: a cluster that cannot be joined refuses the token."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return False
    try:
        with socket.create_connection((host, int(port)), timeout=3.0):
            return True
    except OSError:
        return False


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
