"""Errors meant for people: one line that says what is wrong and one that says what to do."""

from __future__ import annotations


class IntegrandError(Exception):
    """Base of every error that Integrand raises on purpose.

    The command line prints it as one line, without a traceback, and exits with `exit_code`.

    Args:
        message: What is wrong, with the offending value.
        remedy: What the reader can do about it, as a command or a setting where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} → {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # the default pickles only `args`, which would lose the remedy between processes
        return type(self), (self.message, self.remedy)


class UsageError(IntegrandError):
    """The command line or a configuration asks for something that does not exist or does not fit."""

    exit_code = 2


class DataError(IntegrandError):
    """A data set is missing, unreadable, or not what its digest says."""


class SpecError(IntegrandError):
    """A batch, field or network does not fit the declared shapes."""


class TrackingError(IntegrandError):
    """The tracking store or its artifact directory cannot be used."""


class FullDiskError(IntegrandError):
    """There is no space left for what a run has to write."""


class AlreadyRunning(IntegrandError):
    """Another process works on the same cell of a suite."""

    exit_code = 75  # EX_TEMPFAIL of sysexits(3): try later


class NonFiniteLossError(IntegrandError):
    """The loss became NaN or infinite."""
