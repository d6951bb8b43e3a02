"""A process of a distributed fit that is gone: what the others see of it, and what that means."""

from __future__ import annotations

import re

from ...errors import IntegrandError

# gloo, NCCL and the store through which processes find each other, in torch 2.x
_SIGNS = re.compile(
    r"connection (?:reset|closed) by (?:remote )?peer|remote process exited|failed to recv|broken pipe"
    r"|socket closed|application timeout caused pair closure|timed out waiting .*(?:recv|send|clients)",
    re.IGNORECASE,
)


class LostProcessError(IntegrandError):
    """Another process of the same fit ended without a word."""

    def __init__(self, message: str = "", remedy: str = "") -> None:
        super().__init__(
            message or "another process of this fit was lost: its connection is closed",
            remedy
            or "its own output says why; if it says nothing it was killed, often for want of memory."
            " integrand fit --resume goes on from the last checkpoint",
        )


def is_lost(error: BaseException) -> bool:
    """Whether an error is what is seen of another process that is gone, rather than a fault here."""
    return isinstance(error, RuntimeError) and bool(_SIGNS.search(str(error)))


def what_was_lost(error: BaseException) -> LostProcessError:
    """The error to end with after one that `is_lost`, with the reason where the other process left it."""
    reasons = getattr(error, "__notes__", [])
    if not reasons:
        return LostProcessError()
    return LostProcessError(
        f"another process of this fit failed: {reasons[0]}",
        "its traceback is above, and in the run as error/traceback-rank-N.txt",
    )
