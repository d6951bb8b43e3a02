"""How a process ends: which exit code an exception deserves, and how much time is left."""

from __future__ import annotations

import errno
import signal
from collections.abc import Mapping

from ...errors import IntegrandError

SIGINT_CODE = 130
SIGTERM_CODE = 143
SAVED_CODE = 138
"""After SIGUSR1: saved because its time is up (`callbacks.Preemption`)."""
SIGNAL_SECONDS = 5.0
"""How long a run that was told to end may still send; what has not been sent stays in the spool."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What `OSError.errno` says of a full disk or a used up quota."""


class Pruned(SystemExit):
    """A sweep gives its trial up: the run ends at once, and the process well.

    Args:
        reason: Why, in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(0)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def status_word(status: str, stopped: Mapping[str, str]) -> str:
    """MLflow's status in the words of the tag `status`, which knows two more: `over budget` and `pruned`."""
    stopped_by = stopped.get("by", "")
    if status == "KILLED" and stopped_by == "pruner":
        return "pruned"
    return "over budget" if status == "FINISHED" and stopped_by in ("time", "nfe") else status.lower()


def exit_code(exception: BaseException) -> int | None:
    """The exit status of a process that ends with `exception`; None for a failure whose traceback is wanted.

    128 + signal number for an interrupt (130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP), the code that an
    Integrand error carries, that of a `SystemExit`. Lightning's own `SIGTERMException` is a
    `SystemExit` without a code, which Python would turn into success.
    """
    if isinstance(exception, IntegrandError):
        return exception.exit_code
    if isinstance(exception, KeyboardInterrupt):
        return SIGINT_CODE
    if isinstance(exception, SystemExit) and isinstance(exception.__context__, KeyboardInterrupt):
        return SIGINT_CODE  # Lightning turns a Ctrl-C into exit code 1
    if isinstance(exception, SystemExit):
        if isinstance(exception.code, int):
            return exception.code
        if exception.code is None:
            # by name, so that this module needs no Lightning
            return SIGTERM_CODE if type(exception).__name__ == "SIGTERMException" else 0
    return None


def died_of_signal(returncode: int) -> int | None:
    """The signal that ended a process, by its own hand (-n) or by a handler's exit code (128 + n)."""
    number = -returncode if returncode < 0 else returncode - 128
    return number if 0 < number < signal.NSIG else None


def describe_exit(returncode: int) -> str:
    """`exit code 1`, or `killed by SIGKILL`."""
    number = died_of_signal(returncode)
    if number is None:
        return f"exit code {returncode}"
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended by signal {number}"
