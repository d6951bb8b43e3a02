"""Which exit code an exception deserves."""

from __future__ import annotations

from ..errors import IntegrandError

SIGINT_CODE = 130
SIGTERM_CODE = 143


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
    if isinstance(exception, SystemExit):
        if isinstance(exception.code, int):
            return exception.code
        if exception.code is None:
            # by name, so that this module needs no Lightning
            return SIGTERM_CODE if type(exception).__name__ == "SIGTERMException" else 0
    return None
